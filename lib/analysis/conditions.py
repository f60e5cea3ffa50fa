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
from lib.analysis import mixed_model as mixed
from lib.analysis.intervals import Effect
from lib.analysis.pairs import collapsed, data_note, is_capped
from lib.analysis.stats import MARGIN
from lib.analysis.tables import Table
from lib.config import PAPER, STARTED
from lib.data import datasets
from lib.outputs import Study
from lib.params import configurations
from lib.record import Run

# Scores that are compared, columns of `per_image`.
SCORES = ("iou", "iou_tuned", "iou_soft", "boundary_iou", "accuracy")
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
NOTE = (
    "Differences are over the same seeds and test images; 95 % intervals take seeds and people as "
    "drawn at random (intervals.crossed_t) and the training images as fixed."
)
NOTE_ONE_SEED = (
    "A condition in which the losses share a single seed has no interval: run it with more, "
    "`python -m lib.study run --seeds 5`."
)
NOTE_RESAMPLED = (
    "Every seed has training and test images of its own; 95 % intervals take splits as drawn at random and "
    "correct for the images that they share (stats.nadeau_bengio)."
)


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


def overview_table(studies: dict[str, Study]) -> Table:
    """Overview of the studies: finished and planned runs, and how many may not have converged."""
    rows = []
    for name, study in studies.items():
        found, runs = conditions(study), study.values()
        planned = len(configurations(name)) if name in STUDIES else None
        rows.append(
            [
                name,
                len(study),
                planned,
                len(found),
                len({run.loss for run in runs}),
                len({run.record["seed"] for run in runs}),
                sum(map(is_capped, runs)),
                sum(each.collapsed(loss) for each in found for loss in each.runs),
                study.folder.parent.name,
            ]
        )
    return Table(
        "The studies read here",
        ["study", "runs", "planned", "conditions", "losses", "seeds", "at the limit of epochs", "collapsed", "folder"],
        rows,
        "Runs at the limit of epochs may not have converged; collapsed ones call every pixel the same.",
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


def losses_table(study: Study, column: str = "iou", reference: str = "bce") -> Table:
    """Every loss against the reference in every condition (`intervals.compare_losses`), the best loss first.

    The losses of a condition are compared on the seeds that all of them have. There is no row for a condition with one
    loss, or with test images that differ between seeds (see `conditions_table` for these).
    """
    rows, left = [], []
    for condition in conditions(study):
        seeds = condition.seeds(*condition.runs)
        if not seeds:
            left.append(f"{condition.name} (no seed has all losses)")
        if reference not in condition.runs or len(condition.runs) < 2 or not seeds or condition.is_resampled:
            continue
        scores = {loss: [condition.scores(loss, column, seeds)] for loss in condition.runs}
        found = {
            each.loss: [*each.effect[:3], each.p_holm, each.better[0] if len(seeds) > 1 else None, each.verdict]
            for each in intervals.compare_losses(scores, [datasets.people(condition.ids())], reference, MARGIN)
        }
        named = [
            [
                condition.name,
                names.LOSSES.get(loss, loss),
                len(seeds),
                float(values.mean()),
                *found.get(loss, [None] * 6),
            ]
            for loss, (values,) in scores.items()
        ]
        rows += sorted(named, key=lambda row: -row[3])
    columns = [
        "condition",
        "loss",
        "seeds",
        names.SCORES[column],
        f"minus {names.LOSSES[reference]}",
        "low",
        "high",
        "p (Holm)",
        "P(better run)",
        f"margin ±{MARGIN}",
    ]
    return Table(
        f"Every loss against {names.LOSSES[reference]}: {names.SCORES[column]}",
        columns,
        rows,
        f"{_note([study])} The last column is a test of equivalence, not corrected for the number of losses; its "
        f"margin was set before the first of these studies was published. {_left_out(left)}"
        f"{data_note(list(study.values()))}",
    )


def conditions_table(study: Study) -> Table:
    """IoU loss against BCE in every condition, with the share of positive pixels."""
    rows, left = [], []
    for condition in conditions(study):
        seeds, effect = condition.seeds(*PAIR), compare([condition], "iou", "iou")
        if effect is None:
            why = "its numbers of images are not recorded" if seeds else "no seed has both losses"
            left.append(f"{condition.name} ({why})")
        else:
            scores = [float(condition.scores(each, "iou", seeds).mean()) for each in PAIR]
            rows.append(
                [
                    condition.name,
                    condition.positive_share,
                    len(seeds),
                    len(condition.ids()),
                    *scores,
                    effect.difference,
                    effect.low,
                    effect.high,
                    effect.p,
                    *(condition.collapsed(each) for each in PAIR),
                ]
            )
    columns = [
        "condition",
        "positive share",
        "seeds",
        "images",
        "IoU",
        "BCE",
        "difference",
        "low",
        "high",
        "p",
        "collapsed: IoU",
        "collapsed: BCE",
    ]
    return Table(
        "IoU loss against BCE by condition: IoU at 0.5",
        columns,
        rows,
        f"{_note([study], *PAIR)} P-values are not corrected for the number of conditions. A collapsed run calls every "
        f"pixel the same. {_left_out(left)}{data_note(list(study.values()))}",
    )


def _left_out(conditions):
    """The sentence about conditions that have no row, each with its reason."""
    return f"Left out: {'; '.join(dict.fromkeys(conditions))}. " if conditions else ""


def metric_table(studies: dict[str, Study]) -> Table:
    """Loss or metric? A comparison by every score that all runs have, over all conditions of each study."""
    rows = []
    for name, study in studies.items():
        found = [each for each in conditions(study) if each.seeds(*PAIR)]
        runs = [run for each in found for loss in PAIR for run in each.runs[loss].values()]
        for column in SCORES:
            if all(column in run.per_image for run in runs) and (effect := compare(found, "iou", column)):
                pairs = sum(len(condition.seeds(*PAIR)) for condition in found)
                rows.append(
                    [
                        name,
                        names.SCORES[column],
                        len(found),
                        pairs,
                        effect.difference,
                        effect.low,
                        effect.high,
                        effect.p,
                    ]
                )
    return Table(
        "IoU loss against BCE, by score",
        ["study", "score", "conditions", "pairs of runs", "difference", "low", "high", "p"],
        rows,
        _note(studies.values(), *PAIR),
    )


def _note(studies, *losses):
    """What is random in the intervals of these studies, and why some are missing."""
    found = [condition for study in studies for condition in conditions(study)]
    resampled = {condition.is_resampled for condition in found}
    single = any(len(condition.seeds(*losses or condition.runs)) == 1 for condition in found)
    return " ".join(
        note
        for note, holds in ((NOTE, False in resampled), (NOTE_RESAMPLED, True in resampled), (NOTE_ONE_SEED, single))
        if holds
    )


def best_rates_table(study: Study) -> Table:
    """Every loss at its best learning rate on the validation part, compared with BCE at its own.

    The rule is the same for all losses: the rate with the highest `val_iou` at the best epoch, averaged over seeds.
    Other parameters that vary in the study, except the number of epochs, make separate rows.
    """
    by_loss = defaultdict(dict)  # (condition at any rate, loss) -> learning rate -> (validation IoU, condition)
    left = []
    for condition in conditions(study):
        rate = condition.params.get("learning_rate")
        for loss, runs in condition.runs.items():
            kept = [run.history.get("val_iou", ())[run.record["best_epoch"] - 1 :][:1] for run in runs.values()]
            if rate is None or not all(map(len, kept)):
                why = "its learning rate is not recorded" if rate is None else "a history ends before its best epoch"
                left.append(f"{condition.name} ({why})")
                continue
            rates = by_loss[condition.at_any_rate, loss]
            if rate in rates:
                raise InputError(
                    f"{study.folder}: has several conditions at learning rate {rate:g} with {names.LOSSES[loss]}; "
                    "compare rates in a study with one number of epochs for each"
                )
            rates[rate] = (float(np.mean(kept)), condition)
    chosen = {loss: max(rates.items(), key=lambda item: item[1][0]) for loss, rates in by_loss.items()}
    if chosen and not any(loss == "bce" for _, loss in chosen):
        raise InputError(f"{study.folder}: has no run with BCE to compare with; run the rest of the study")
    rows = []
    for (where, loss), (rate, (validated, condition)) in chosen.items():
        other = chosen[where, "bce"][1][1] if (where, "bce") in chosen else None
        seeds = sorted(set(condition.runs[loss]) & set(other.runs["bce"])) if other else []
        if not seeds:
            left.append(f"{where} ({names.LOSSES.get(loss, loss)} has no seed in common with BCE)")
            continue
        row = [where, names.LOSSES.get(loss, loss), len(by_loss[where, loss]), rate, len(seeds), validated]
        scores = {column: condition.scores(loss, column, seeds) for column in ("iou", "iou_soft")}
        row += [float(values.mean()) for values in scores.values()]
        if loss != "bce":
            check_images(condition.first, other.first)
            d = scores["iou"] - other.scores("bce", "iou", seeds)
            effect = intervals.crossed_t([d], [datasets.people(condition.ids())])
            row += [effect.difference, effect.low, effect.high, effect.p]
        rows.append(row + [None] * (12 - len(row)))
    columns = [
        "condition",
        "loss",
        "rates tried",
        "best rate",
        "seeds",
        "validation IoU",
        "IoU at 0.5",
        "IoU′",
        "IoU minus BCE",
        "low",
        "high",
        "p",
    ]
    return Table(
        "Every loss at its own best learning rate",
        columns,
        sorted(rows, key=lambda row: (row[0], -row[6])),
        f"{_note([study])} {_left_out(left)}{data_note(list(study.values()))}",
    )


def mixed_model(studies: Iterable[Study]) -> mixed.Mixed:
    """A mixed model of IoU at 0.5, IoU loss against BCE, over all conditions, with effects by network."""
    rows = [
        (
            float(condition.scores(each, "iou", [seed]).mean()),
            each == "iou",
            f"{number} {condition.name}",
            seed,
            condition.params["model"],
        )
        for number, study in enumerate(studies)
        for condition in conditions(study)
        for seed in condition.seeds(*PAIR)
        for each in PAIR
    ]
    if not rows:
        raise InputError("these studies have no seed with both IoU and BCE; run the rest of them")
    return mixed.mixed_model(*map(np.array, zip(*rows)))


def tables(name: str, study: Study) -> dict[str, Table]:
    """The tables of one study by their file names; those of several losses or learning rates where it has them."""
    found = {"conditions": conditions_table(study), "scores": metric_table({name: study})}
    if len({run.loss for run in study.values()}) > 2:
        found |= {"losses": losses_table(study), "losses-iou-soft": losses_table(study, "iou_soft")}
    rates = [(each.at_any_rate, each.params.get("learning_rate")) for each in conditions(study)]
    if len({rate for _, rate in rates}) > 1 and len(set(rates)) == len(rates):
        found["best-rates"] = best_rates_table(study)
    return found
