"""What masks gain from IoU loss under three stopping rules, and the IoU that accuracies imply.

The rules of the decision were fixed before the runs that they judge, in `outputs/published/photographs/PLAN.md`.
"""

from itertools import product

import numpy as np

from lib.analysis import names, paper, stats
from lib.analysis.conditions import PAIR, Condition, conditions
from lib.analysis.intervals import crossed_t
from lib.analysis.pairs import collapsed, data_note, is_capped
from lib.analysis.stats import MARGIN, Effect
from lib.analysis.tables import Table
from lib.data import datasets
from lib.outputs import Study

# The weights that a rule keeps, by the end of the names of its scores (`training.RULES`).
RULES = {"": "best validation IoU", "_best_loss": "lowest validation loss", "_last": "last epoch"}
CO_PRIMARY = ("", "_best_loss")  # rules that are decided on
GAIN, LIMIT = 0.010, 0.015  # IoU
PLANNED = ("photographs", "paper-photographs")  # studies whose plan has these rules; no other is decided by them
PREDICTED = {"iou": (-0.010, 0.010), "bce": (-0.051, -0.009)}  # IoU′ minus implied IoU


def decision(effect: Effect, wide: Effect) -> str:
    """What the plan's rules say of a difference in IoU at 0.5, with its 95 % interval, and its 90 % interval `wide`.

    Lower bound above `GAIN`: masks gain. Upper bound below `LIMIT`: not a gain as large as the paper's. 90 % interval
    within `MARGIN` of 0: equivalent. None of them: undecided. More than one can hold. The intervals are not corrected
    for the number of comparisons.
    """
    if not np.isfinite([effect.low, effect.high]).all():
        return "not decided: one seed"
    found = {
        "masks gain": effect.low > GAIN,
        "the paper's gain is not one of masks": effect.high < LIMIT,
        "equivalent": wide.low > -MARGIN and wide.high < MARGIN,
    }
    return ", ".join(text for text, holds in found.items() if holds) or "undecided"


def has_rules(study: Study) -> bool:
    """Whether every run of a study has scores under the three rules, and its conditions have a seed in common."""
    return all(f"iou{rule}" in run.per_image for run in study.values() for rule in RULES) and bool(complete(study)[1])


def complete(study: Study) -> tuple[list[Condition], list[int]]:
    """The conditions with both losses, and the seeds that all of them have with both."""
    found = [condition for condition in conditions(study) if condition.seeds(*PAIR)]
    seeds = [set(condition.seeds(*PAIR)) for condition in found]
    return found, sorted(set.intersection(*seeds)) if seeds else []


def stopping_table(study: Study) -> Table:
    """IoU loss against BCE under each rule, by IoU at 0.5 and IoU′, over all conditions on the seeds that all have."""
    found, seeds = complete(study)
    runs = [condition.runs[loss][seed] for condition in found for loss in PAIR for seed in seeds]
    bad = sum(bool(is_capped(run) or collapsed(run)) for run in runs)
    rows = []
    for score in ("iou", "iou_soft"):
        for rule, name in RULES.items():
            effect, wide, means = _compare(found, seeds, score + rule)
            says = None
            if score == "iou" and rule in CO_PRIMARY and study.folder.name in PLANNED:
                says = "not answered" if bad > len(runs) / 10 else decision(effect, wide)
            rows.append([names.SCORES[score], name, len(found), len(seeds), *means, *effect[:4], None, says])
    tested = [number for number, row in enumerate(rows) if row[-1] is not None]
    for number, p in zip(tested, stats.holm([rows[number][9] for number in tested]) if tested else ()):
        rows[number][-2] = float(p)
    rule = (
        f"Decision, fixed before the runs: masks gain if the interval lies above {GAIN:.3f}; the paper's gain is not "
        f"one of masks if it lies below {LIMIT:.3f}; equivalent if the 90 % interval lies within ±{MARGIN:.3f}; not "
        f"answered if more than a tenth of the runs met the limit of epochs or collapsed ({bad} of {len(runs)} did). "
    )
    columns = ["score", "weights", "conditions", "seeds", "IoU loss", "BCE", "difference", "low", "high", "p"]
    return Table(
        "IoU loss against BCE under three stopping rules",
        [*columns, "p (Holm)", "decision"],
        rows,
        "Each training is scored with the weights that three rules keep. Means over conditions with equal weights, on "
        "the seeds that all of them have; 95 % intervals take seeds and people as drawn at random "
        f"(intervals.crossed_t). {rule if tested else ''}{data_note(list(study.values()))}",
    )


def _compare(found, seeds, column):
    """(difference with its 95 % interval, with its 90 % interval, (mean of IoU loss, mean of BCE)) of a score."""
    scores = [[condition.scores(loss, column, seeds) for loss in PAIR] for condition in found]
    differences = [iou - bce for iou, bce in scores]
    clusters = [datasets.people(condition.ids()) for condition in found]
    effects = [crossed_t(differences, clusters, level, [seeds] * len(found)) for level in (0.95, 0.90)]
    return *effects, [float(np.mean([pair[side].mean() for pair in scores])) for side in (0, 1)]


def implied_table(study: Study) -> Table:
    """IoU minus implied IoU (`paper.implied_iou`) of each loss in each condition, on the seeds that all have."""
    found, seeds = complete(study)
    rows, left = [], [each.name for each in found if not 0 < each.positive_share <= 1]
    for condition, loss in product((each for each in found if each.name not in left), PAIR):
        accuracy, iou, soft = (
            condition.scores(loss, score, seeds).mean(1) for score in ("accuracy", "iou", "iou_soft")
        )
        implied = np.array([paper.implied_iou(each, condition.positive_share) for each in accuracy])
        gaps = [float((each - implied).mean()) for each in (iou, soft)]
        low, high = PREDICTED[loss]
        values = [float(each.mean()) for each in (accuracy, implied, iou, soft)]
        holds = "yes" if low <= gaps[1] <= high else "no"
        rows.append([condition.name, names.LOSSES[loss], len(seeds), *values, *gaps, holds])
    ranges = [f"{low:+.3f} to {high:+.3f} after {names.LOSSES[loss]}" for loss, (low, high) in PREDICTED.items()]
    columns = ["condition", "loss", "seeds", "accuracy", "implied IoU", "IoU at 0.5", "IoU′"]
    columns += ["IoU at 0.5 minus implied", "IoU′ minus implied", "IoU′ as predicted"]
    return Table(
        "Is it the metric? IoU against the IoU that the accuracy implies",
        columns,
        rows,
        "Implied IoU is that of masks with this accuracy whose errors are half misses and half false alarms. Predicted "
        f"from the paper's rows: IoU′ minus implied IoU is {' and '.join(ranges)}. "
        + f"Left out, as their share of positive pixels is not recorded: {'; '.join(left)}. " * bool(left)
        + f"{data_note(list(study.values()))}",
    )


def tables(study: Study) -> dict[str, Table]:
    """Both tables by their file names; none of a study whose runs have no scores under the three rules."""
    return {"stopping": stopping_table(study), "implied": implied_table(study)} if has_rules(study) else {}


def sentence(study: Study) -> str:
    """What the table says, in words; "" where it is empty."""
    if not has_rules(study):
        return ""
    rows = stopping_table(study).frame()
    parts = []
    for score, each in rows.groupby("score", sort=False):
        ends = []
        for row in each.itertuples():
            interval = f" ({row.low:+.3f} to {row.high:+.3f})" if np.isfinite(row.low) else ""
            said = f": **{row.decision}**" if isinstance(row.decision, str) else ""
            ends.append(f"{row.difference:+.3f}{interval} with the weights of the {row.weights}{said}")
        parts.append(f"By {score}: {'; '.join(ends)}.")
    first = rows.iloc[0]
    return (
        f"IoU loss minus BCE, conditions: {first.conditions}, seeds: {first.seeds}"
        f"{', 95 % intervals' if np.isfinite(first.low) else ''}. {' '.join(parts)}"
    )


def intervals(study: Study) -> list[tuple[str, float, float, float]]:
    """(score and rule, difference, low, high) of each row of `stopping_table`; empty without intervals."""
    rows = stopping_table(study).frame() if has_rules(study) else None
    if rows is None or rows.low.isna().any():
        return []
    return list(zip(rows.score + ", " + rows.weights, rows.difference, rows.low, rows.high))
