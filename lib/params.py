"""Reads parameters: YAML files, profiles and the parameters cell of a notebook -> checked configurations."""

import ast
import fnmatch
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import yaml

from lib import PROJECT, InputError, outputs_folder, reason
from lib.config import NAMED, Config, resolve

PARAMS = PROJECT / "params"
MOST = 100_000  # largest number of runs of a grid


def configurations(
    profile: str, only: str = "*", overrides: dict | None = None, seeds: int | None = None
) -> list[Config]:
    """The runs of a study, in the best order to start them.

    They are the 32 files of `params/`, each applied over the profile. If the profile has a `grid` (a mapping from
    parameters to lists of values, or a list of such mappings), they are all combinations of these values. Parameters
    of the grid that are not in the run id otherwise become its tag, for example "part=eyes-seed2".

    Args:
        profile: name of a file in `params/profiles/`, without its extension.
        only: keep the run ids that match this pattern, for example "*-lfw-big-*".
        overrides: parameters that override both, for example {"seed": 1}.
        seeds: repeat every run with the seeds from 0 to below this number; default: the grid's seeds, else one run.
    Raises:
        InputError: an unknown profile, a pattern that matches no run, or a bad parameter (with its file).
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
                    raise InputError(f"two runs would have the id {config.run_id}; remove one of them from the grid")
        except InputError as error:
            raise InputError(f"{path.name} with profile {profile}: {error}") from error
    chosen = [config for config in configs.values() if fnmatch.fnmatch(config.run_id, only)]
    if not chosen:
        raise InputError(f"--only: no run id matches {only!r}; `python -m lib.study plan` lists them")
    # Data set and model change fastest, so that the first runs fill different caches. Seeds change slowest, so that a
    # study that was stopped has complete seeds.
    return sorted(chosen, key=lambda c: (c.seed, c.size, c.hair, c.tag, c.loss, c.model, c.dataset))


def combinations(grid: dict | list, path: Path) -> list[dict]:
    """All combinations of a profile's `grid`: the parameters of each run. Raises an InputError that names `path`."""
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
    """The rest of a run id after model, data set, size, hair and loss, for example "learning_rate=0.001-seed2"."""
    words = [f"{name}={value}".lower() for name, value in run.items() if name not in (*NAMED, "seed")]
    return "-".join([*words, f"seed{run['seed']}"] if run.get("seed") else words)


MAX_YAML = 100_000  # largest size of a parameter file, in bytes


class Strict(yaml.SafeLoader):
    """PyYAML's safe loader, but without names given twice and numbers in base 60 (YAML reads 1:30 as 90)."""

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            names = Counter((key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            for (_, name), count in names.most_common(1):
                if count > 1:
                    raise ValueError(f"{name[:100]} is given twice: keep one")
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        if ":" in node.value:
            raise ValueError(
                f"{node.value[:100]} is a number in base 60 in YAML: write it with digits only, or in quotes"
            )
        return yaml.SafeLoader.yaml_constructors[node.tag](self, node)


for _kind in ("int", "float"):
    Strict.add_constructor(f"tag:yaml.org,2002:{_kind}", Strict.construct_number)


def read_yaml(path: Path) -> dict:
    """Parameters of a YAML file (safe loader, no aliases), as a mapping. Raises InputError for anything else."""
    try:
        if Path(path).stat().st_size > MAX_YAML or not Path(path).is_file():
            raise ValueError(f"it is not a file of at most {MAX_YAML:,} bytes")
        text = Path(path).read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > 20:  # a few aliases can expand to terabytes
                raise ValueError("it has an alias or is nested too deeply: write plain values")
        content = Strict(text).get_single_data()
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such parameter file; params/ lists them") from error
    except Exception as error:  # of any text: PyYAML raises many types
        raise InputError(f"{path}: cannot be read as YAML ({reason(error)}); correct the file") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path}: holds no parameters; write one `name: value` on each line")
    return content


# What the notebook's cells make of its configuration.
MADE = ("config", "folder", "task", "network", "record", "run")


def from_notebook(namespace: dict) -> Config:
    """The configuration from a notebook's parameters cells.

    What an earlier configuration left in the notebook (`MADE`) is forgotten first, also if this one is refused: so no
    later cell goes on with it.

    An empty `out_dir` becomes `by-hand` in the folder of studies.

    Args:
        namespace: the notebook's `globals()`. Its parameters cells are the cell with lines such as `epochs: int = 8`,
            as it was run last, and those that papermill injects after it, which start with `# Parameters`.
    Raises:
        InputError: a name in a parameters cell that is no parameter or is given twice there, or a bad value.
    """
    own = {field.name for field in fields(Config)} | {"out_dir"}
    namespace["out_dir"] = namespace.get("out_dir") or str(outputs_folder() / "by-hand")
    for name in MADE:
        namespace.pop(name, None)
    foreign = {}
    for names in _parameter_cells(namespace.get("In", ()), own):
        for name, count in Counter(names).items():
            if name in own and count > 1:
                raise InputError(f"parameter {name}: is given {count} times in the parameters cell; keep one line")
        foreign |= {name: namespace.get(name) for name in names if name not in own}
    return resolve(foreign, {name: namespace[name] for name in own - {"out_dir"} if name in namespace})


def _parameter_cells(executed: Sequence[str], own: set[str]) -> list[list[str]]:
    """The names that each parameters cell assigns: of the last one written by hand and those injected after it."""
    found = []
    for cell in executed:
        try:
            statements = ast.parse(cell).body
        except (SyntaxError, ValueError):  # magics, other languages
            continue
        names, typed = [], []
        for node in statements:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if _is_typed(node) else []
            assigned = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            names += assigned
            typed += assigned if _is_typed(node) else []
        if own & set(typed):
            found = [names]
        elif cell.startswith("# Parameters\n"):
            found.append(names)
    return found


def _is_typed(node: ast.stmt) -> bool:
    """Whether a statement is `name: type = value`."""
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
