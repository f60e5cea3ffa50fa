"""The runs that a profile stands for: the 32 files of `params/` over it, or the grid that it spans."""

import fnmatch
import itertools
import math
from pathlib import Path

from lib import InputError
from lib.config import PROJECT, Config, read_yaml, resolve
from lib.results import PARAMS as NAMED

PARAMS = PROJECT / "params"
MOST = 100_000  # runs of a grid


def configurations(profile: str, only: str = "*", overrides: dict | None = None,
                   seeds: int | None = None) -> list[Config]:
    """The runs of a study, in the order in which they best start.

    They are the 32 files of `params/`, each over the profile; or, where the profile has a `grid` (a mapping from
    parameters to lists of values, or a list of such mappings), all combinations of these values. What tells a run
    apart from others and is not in its run id otherwise becomes its tag: "part=eyes-seed2".

    Args:
        profile: a file of `params/profiles/` without its ending.
        only: keep the run ids that match this pattern, for example "*-lfw-big-*".
        overrides: parameters that win over both, for example {"seed": 1}.
        seeds: repeat every run with the seeds 0, 1, ... below this number; default: the grid's, else one run.
    Raises:
        InputError: an unknown profile, a pattern that matches no run, or a bad parameter (file named).
    """
    profiles = sorted(path.stem for path in (PARAMS / "profiles").glob("*.yaml"))
    if profile not in profiles:
        raise InputError(f"--profile: there is no profile {profile!r}; use one of {', '.join(profiles)}")
    base = read_yaml(PARAMS / "profiles" / f"{profile}.yaml")
    grid = base.pop("grid", None)
    if grid is None:
        runs = [(path, read_yaml(path)) for path in sorted(PARAMS.glob("*.yaml"))]
    else:
        path = PARAMS / "profiles" / f"{profile}.yaml"
        runs = [(path, run) for run in combinations(grid, path)]
    configs = {}
    for path, run in runs:
        try:
            config = resolve(base, run, overrides or {})
            if grid is None and config.run_id != path.stem:
                raise InputError(f"has the parameters of {config.run_id}; correct them or rename the file")
            for seed in [config.seed] if seeds is None else range(seeds):
                chosen = {**run, "seed": seed} if seeds or "seed" in run else run
                config = resolve(base, chosen, overrides or {}, {"seed": seed, "tag": tag(chosen)})
                if configs.setdefault(config.run_id, config) != config:
                    raise InputError(f"two runs would be called {config.run_id}; take one out of the grid")
        except InputError as error:
            raise InputError(f"{path.name} with profile {profile}: {error}") from error
    chosen = [config for config in configs.values() if fnmatch.fnmatch(config.run_id, only)]
    if not chosen:
        raise InputError(f"--only: no run id matches {only!r}; `python -m lib.study plan` lists them")
    # Data set and model change fastest, so that the first runs each prepare another cache; seeds slowest, so that a
    # study that was stopped has all of its runs from fewer seeds.
    return sorted(chosen, key=lambda c: (c.seed, c.size, c.hair, c.tag, c.loss, c.model, c.dataset))


def combinations(grid: dict | list, path: Path) -> list[dict]:
    """All combinations of a profile's `grid`, as parameters of one run each. Raises InputError naming `path`."""
    runs = []
    if not grid:
        raise InputError(f"{path.name}: grid is empty; give a list of values for each parameter, as loss: [iou, bce]")
    for part in grid if isinstance(grid, list) else [grid]:
        if not isinstance(part, dict) or not all(isinstance(values, list) and values for values in part.values()):
            raise InputError(f"{path.name}: grid must give a list of values for each parameter, as loss: [iou, bce]")
        if len(runs) + math.prod(map(len, part.values())) > MOST:
            raise InputError(f"{path.name}: grid spans more than {MOST:,} runs; take values out of it")
        runs += [dict(zip(part, values)) for values in itertools.product(*part.values())]
    return runs


def tag(run: dict) -> str:
    """What a run's id has to say beside its model, data set, size, hair and loss: "learning_rate=0.001-seed2"."""
    words = [f"{name}={value}".lower() for name, value in run.items() if name not in (*NAMED, "seed")]
    return "-".join([*words, f"seed{run['seed']}"] if run.get("seed") else words)
