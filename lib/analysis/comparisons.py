"""Tables of the comparisons over conditions: losses, scores, networks, learning rates; and a mixed model over all.

`conditions` says what is compared, `intervals` how.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from lib import InputError
from lib.analysis import intervals, names
from lib.analysis import mixed_model as mixed
from lib.analysis.conditions import PAIR, STUDIES, check_images, compare, conditions
from lib.analysis.pairs import data_note, is_capped
from lib.analysis.stats import MARGIN
from lib.analysis.tables import Table
from lib.data import datasets
from lib.outputs import Study
from lib.params import configurations

# Scores that are compared, columns of `per_image`.
SCORES = ("iou", "iou_tuned", "iou_soft", "boundary_iou", "accuracy")
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
