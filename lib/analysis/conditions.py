"""Reads and compares the studies beyond the paper: every loss, network, part and share over several seeds.

A condition is what runs of a study share except for loss and seed: all other parameters. Losses are compared within
conditions, on the same seeds and test images; `intervals` explains the statistics.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import InputError, outputs
from lib.analysis import intervals, names, stats
from lib.analysis.intervals import Effect
from lib.analysis.pairs import collapsed
from lib.config import PAPER, STARTED
from lib.data import datasets
from lib.outputs import Study
from lib.record import Run

BUDGET = ("learning_rate", "epochs")
IGNORED = ("loss", "seed", "tag", "data", "threads")  # parameters that do not make a condition
# Profiles with a grid.
STUDIES = (
    "photographs",
    "paper-photographs",
    "losses",
    "synthetic",
    "resampled",
    "networks",
    "sparsity",
    "parts",
    "rates",
    "ablation",
)
PAIR = PAPER["loss"]  # IoU loss and BCE


@dataclass(frozen=True)
class Condition:
    """The runs of one condition, `runs[loss][seed]`; `name` has the parameters that vary in its study.

    `at_any_rate` is the name without learning rate and number of epochs.
    """

    name: str
    params: dict
    runs: dict[str, dict[int, Run]]
    at_any_rate: str = ""

    def seeds(self, *losses: str) -> list[int]:
        """Seeds for which all of these losses have a run."""
        return sorted(set.intersection(*(set(self.runs.get(loss, ())) for loss in losses)))

    def scores(self, loss: str, column: str, seeds: Iterable[int]) -> np.ndarray:
        """A per-image score of one loss, (seeds, images) float64.

        Raises:
            InputError: a run has no such score, or was tested on other images than the others (of its seed, where every
                seed has images of its own), or in another order.
        """
        for seed in seeds:
            run = self.runs[loss][seed]
            if column not in run.per_image:
                raise InputError(
                    f"{run.folder / 'per_image.csv'}: has no column {column}, an older version wrote it; "
                    "run it again with `python -m lib.study run`"
                )
            of_seed = next(runs[seed] for runs in self.runs.values() if seed in runs)
            check_images(run, of_seed if self.is_resampled else self.first)
        return np.stack([self.runs[loss][seed].per_image[column] for seed in seeds])

    @property
    def first(self) -> Run:
        """The first of its runs."""
        return next(iter(next(iter(self.runs.values())).values()))

    def ids(self) -> np.ndarray:
        """The test images, (images,) str; those of the first seed if they differ."""
        return self.first.per_image["id"]

    def collapsed(self, loss: str) -> int:
        """Number of runs of this loss that predict the same class for every pixel of every test image."""
        return sum(bool(collapsed(run)) for run in self.runs[loss].values())

    @property
    def is_resampled(self) -> bool:
        """Whether every seed has other training and test images."""
        return self.params.get("split") == "random"

    @property
    def positive_share(self) -> float:
        """Share of positive pixels in the test part, to six digits; the mean over seeds if each seed has its own.

        NaN where a record does not have it.
        """
        runs = next(iter(self.runs.values())).values()
        return round(float(np.mean([run.record["data"].get("positive_share", np.nan) for run in runs])), 6)


def check_images(one: Run, other: Run) -> None:
    """Raises InputError unless two runs were tested on the same images in the same order."""
    if one.per_image["id"].tolist() != other.per_image["id"].tolist():
        raise InputError(
            f"{one.folder}: was tested on other images than {other.run_id}, or in another order, so their scores "
            "cannot be compared image by image; run both again with `python -m lib.study run`"
        )


def read(study_dir: str | Path = "") -> dict[str, Study]:
    """The studies beyond the paper by name, each of one's own or as published: the one with more finished runs.

    Args:
        study_dir: read only this study.
    Raises:
        InputError: no finished run in `study_dir`, or in any of `STUDIES`.
    """
    if study_dir:
        folder = outputs.folder_of(study_dir)
        return {folder.name: outputs.read_study(folder)}
    roots = outputs.roots()
    finished = {name: [outputs.count_finished(root / name) for root in roots] for name in STUDIES}
    found = {
        name: outputs.read_study(roots[int(np.argmax(counts))] / name)
        for name, counts in finished.items()
        if any(counts)
    }
    if not found:
        raise InputError(
            f"outputs/: holds none of the studies {', '.join(STUDIES)}; run one with "
            "`python -m lib.study run --profile losses --data ROOT`"
        )
    return found


def is_beyond(study: Study) -> bool:
    """Whether a study is one of `STUDIES`, or has runs that are not among the paper's 32 (with any seed)."""
    return study.folder.name in STUDIES or any(
        run.tag
        and not run.tag.startswith("seed")
        or run.loss not in PAPER["loss"]
        or run.cell.model not in PAPER["model"]
        for run in study.values()
    )


def conditions(study: Study) -> list[Condition]:
    """The conditions of a study, in the order of their first runs.

    Raises:
        InputError: two runs of one condition, loss and seed.
    """
    every = [run.record["params"] for run in study.values()]
    every = [params | {name: value for name, value in STARTED.items() if name not in params} for params in every]
    every = [{name: value for name, value in params.items() if name not in IGNORED} for params in every]
    names_of_all = dict.fromkeys(name for params in every for name in params)
    varying = [name for name in names_of_all if len({str(params.get(name)) for params in every}) > 1]
    grouped, found = defaultdict(lambda: defaultdict(dict)), {}
    for run, params in zip(study.values(), every):
        name = _name(params, varying)
        if earlier := grouped[name][run.loss].get(run.record["seed"]):
            raise InputError(
                f"{study.folder}: the runs {earlier.run_id} and {run.run_id} have the same condition, loss and "
                f"seed {run.record['seed']}; keep one of them, or give them different seeds"
            )
        grouped[name][run.loss][run.record["seed"]] = run
        found[name] = params
    return [
        Condition(
            name,
            found[name],
            {loss: dict(seeds) for loss, seeds in runs.items()},
            _name(found[name], [key for key in varying if key not in BUDGET]),
        )
        for name, runs in grouped.items()
    ]


def _name(params, varying):
    return ", ".join(_word(key, params.get(key)) for key in varying) or "all runs"


def _word(name, value):
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if name == "part":
        return value or "face"
    if isinstance(value, str):
        known = names.NETWORKS | names.DATASETS | {f"val_{score}": words for score, words in names.SCORES.items()}
        return names.VALUES.get(name, "{}").format(known.get(value, value.removeprefix("val_")))
    if value is None:
        return f"{words} not recorded"
    return f"{words} {value:g}" if float(f"{value:g}") == value else f"{words} {value!r}"


def compare(found: Iterable[Condition], loss: str, column: str) -> Effect | None:
    """A per-image score of `loss` minus that of BCE, over all these conditions.

    Returns:
        `Effect` of `intervals.crossed_t`; if splits are random, of `stats.nadeau_bengio` on the seeds that all
        conditions have, for the mean over conditions. None if no condition has both losses, or if the splits' numbers
        of images are not recorded.
    """
    found = [condition for condition in found if condition.seeds(loss, "bce")]
    if any(condition.is_resampled for condition in found):
        seeds = set.intersection(*(set(condition.seeds(loss, "bce")) for condition in found))
        means = [
            [
                condition.scores(loss, column, [seed]).mean() - condition.scores("bce", column, [seed]).mean()
                for condition in found
            ]
            for seed in sorted(seeds)
        ]
        counts = next(iter(found[0].runs[loss].values())).record["data"]["counts"]
        sizes = [counts.get(part, 0) for part in ("train", "test")]
        return stats.nadeau_bengio(np.mean(means, 1), *sizes) if means and min(sizes) >= 1 else None
    seeds = [condition.seeds(loss, "bce") for condition in found]
    differences = [
        condition.scores(loss, column, each) - condition.scores("bce", column, each)
        for condition, each in zip(found, seeds)
    ]
    clusters = [datasets.people(condition.ids()) for condition in found]
    return intervals.crossed_t(differences, clusters, seeds=seeds) if found else None
