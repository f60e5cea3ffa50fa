"""How the score layer starts, at zero or at random: what the two starts do, in studies that have runs of both."""

import numpy as np

from lib.analysis import intervals, names, pairs
from lib.analysis.conditions import Condition, check_images, conditions
from lib.analysis.tables import Table
from lib.data import datasets
from lib.outputs import Study

STARTS = ("zeros", "glorot")


def starts_table(study: Study) -> Table:
    """Each loss in each condition after both starts, on the seeds that have both.

    Collapsed runs call every pixel of every test image the same. Dead units are those of the 7x7 convolution whose
    output is 0 at every position of every validation image, as a share. The interval of the difference in IoU at 0.5,
    zeros minus glorot, is that of `intervals.crossed_t`.
    """
    rows = []
    for name, found in _by_start(study):
        for loss in found["zeros"].runs:
            seeds = sorted(set.intersection(*(set(found[start].runs.get(loss, ())) for start in STARTS)))
            if not seeds:
                continue
            check_images(*(found[start].first for start in STARTS))
            scores = [found[start].scores(loss, "iou", seeds) for start in STARTS]
            effect = intervals.crossed_t([scores[0] - scores[1]], [datasets.people(found["zeros"].ids())])
            row = [
                name,
                names.LOSSES.get(loss, loss),
                len(seeds),
                *(float(each.mean()) for each in scores),
                *effect[:3],
            ]
            runs = [[found[start].runs[loss][seed] for seed in seeds] for start in STARTS]
            row += [sum(bool(pairs.collapsed(run)) for run in each) for each in runs]
            for epoch in ("first_epoch", "best_epoch"):
                row += [
                    _mean(run.record.get("dead_units", {}).get(epoch, {}).get("fc6") for run in each) for each in runs
                ]
            row += [_mean(next(iter(run.history.get("val_iou", ())), None) for run in each) for each in runs]
            rows.append(row)
    columns = ["condition", "loss", "seeds", "IoU at 0.5: zeros", "IoU at 0.5: glorot", "difference", "low", "high"]
    for what in ("collapsed", "dead after epoch 1", "dead at the best epoch", "validation IoU after epoch 1"):
        columns += [f"{what}: {start}" for start in STARTS]
    return Table(
        "Score layer that starts at zero against a random start", columns, rows,
        "Differences in IoU are zeros minus glorot, on the same seeds and test images; 95 % intervals take seeds and "
        "people as drawn at random (intervals.crossed_t), and p-values are not given, as there are many rows. Dead "
        f"units: share of the 7x7 convolution's. {pairs.data_note(list(study.values()))}",
    )  # fmt: skip


def has_both(study: Study) -> bool:
    """Whether a study has runs of both starts that differ in nothing else but seed and loss."""
    return bool(_by_start(study))


def _by_start(study: Study) -> list[tuple[str, dict[str, Condition]]]:
    """Conditions that differ in the start alone: their common name, and the condition of each start."""
    found = {}
    for condition in conditions(study):
        rest = {name: value for name, value in condition.params.items() if name != "score_start"}
        start = condition.params.get("score_start", "glorot")
        found.setdefault(str(sorted(rest.items())), {})[start] = condition
    word = names.VALUES["score_start"].format("zeros")
    return [
        (", ".join(part for part in each["zeros"].name.split(", ") if part != word), each)
        for each in found.values()
        if set(STARTS) <= set(each)
    ]


def _mean(values) -> float | None:
    """Mean of the values that are there, None where none is."""
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None
