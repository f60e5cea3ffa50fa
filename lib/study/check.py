"""Recomputes every score of a study's records from the stored probability maps: `python -m lib.study check`.

The formulas are written again, in float64 and with scipy, and share no code with `metrics` and `beyond.scores`. Stored
maps are rounded to 8 bits, so IoU′ has bounds here: the lowest and highest IoU′ of maps that are rounded to the stored
ones.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lib import InputError
from lib.analysis.predictions import evaluate, test_pictures
from lib.outputs import Study
from lib.record import Run

TOLERANCE = 1e-6  # for float32 sums; thresholded scores are ratios of integers
BINS = 15  # of the calibration error, equal in width


@dataclass(frozen=True)
class Checked:
    """One score of one run: the value in the record and its bounds from the maps."""

    run_id: str
    score: str
    recorded: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether the value in the record is within the bounds, except for rounding."""
        return self.low - TOLERANCE <= self.recorded <= self.high + TOLERANCE


def check(run: Run) -> list[Checked]:
    """Every score of a run's record, compared with that of its maps.

    Raises:
        InputError: maps or data are missing or do not match, see `analysis.predictions`.
    """
    evaluation = evaluate(run, test_pictures(run)[1])
    t, maps, scores = evaluation.masks.astype(bool), evaluation.probabilities, run.record["scores"]
    found = {
        "accuracy": np.mean([np.mean(a == b) for a, b in zip(t, maps >= 128)]),
        "iou": mean_iou(t, maps >= 128),
        "iou_pooled": mean_iou(t[None], maps[None] >= 128),
    }
    if "threshold" in scores:  # early records of format 1 have no scores beyond the paper
        found["iou_tuned"] = mean_iou(t, maps / 255 > scores["threshold"])
        width = max(1, round(0.02 * np.sqrt(t.shape[1] ** 2 + t.shape[2] ** 2)))
        found["boundary_iou"] = mean_iou(*(edges(each, width) for each in (t, maps >= 128)))
        found["calibration_error"] = calibration_error(t, maps / 255)
    if missing := [name for name in found if name not in scores]:
        raise InputError(
            f"{run.folder / 'record.json'}: has no score {missing[0]}; run it again with `python -m lib.study run`"
        )
    checked = [Checked(run.run_id, name, scores[name], value, value) for name, value in found.items()]
    return [*checked, Checked(run.run_id, "iou_soft", scores["iou_soft"], *soft_bounds(t, maps / 255))]


def mean_iou(t: np.ndarray, p: np.ndarray) -> float:
    """IoU of each pair of masks, (images, ...) bool, averaged; 1 where both are empty."""
    return float(np.mean([np.sum(a & b) / np.sum(a | b) if np.any(a | b) else 1.0 for a, b in zip(t, p)]))


def edges(masks: np.ndarray, width: int) -> np.ndarray:
    """The pixels of masks (images, height, width) that erosion removes, with `width` pixels to each side."""
    square = np.ones((2 * width + 1, 2 * width + 1), bool)
    return np.stack([mask & ~ndimage.binary_erosion(mask, square) for mask in masks])


def calibration_error(t: np.ndarray, p: np.ndarray) -> float:
    """Expected calibration error: |mean of P - share of positives| in equal bins of P, weighted by their pixels."""
    which = np.minimum(np.floor(p * BINS), BINS - 1)
    return sum(abs(p[which == each].sum() - t[which == each].sum()) for each in range(BINS)) / p.size


def soft_bounds(t: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """The lowest and highest mean IoU′ (equation 3) of probabilities that are p after rounding to 8 bits."""

    def iou(p):
        values = []
        for mask, prob in zip(t, p):
            intersection = prob[mask].sum()
            values.append(intersection / (mask.sum() + prob.sum() - intersection) if mask.any() else 1 - prob.mean())
        return float(np.mean(values))

    half = np.where(t, 1, -1) / 510  # a higher P raises IoU′ on positive pixels and lowers it on negative ones
    return iou(np.clip(p - half, 0, 1)), iou(np.clip(p + half, 0, 1))


def report(study: Study) -> tuple[str, int]:
    """(text, number of problems): a line for each score that disagrees and each unreadable run, and a summary.

    Raises:
        InputError: no run has maps.
    """
    if study and not any(run.has_maps for run in study.values()):
        raise InputError(
            f"{study.folder}: its runs have no stored maps (studies with real people are published without "
            "them); check a study of your own in outputs/"
        )
    checked, lines = [], [*study.problems]
    for run in study.values():
        try:
            checked += check(run)
        except InputError as error:
            lines.append(f"{run.run_id}: {error}")
    unread, wrong = len(lines), [each for each in checked if not each.agrees]
    lines += [
        f"{each.run_id}: {each.score} is {each.recorded:.6f} in the record and {each.low:.6f}"
        + f" to {each.high:.6f}" * bool(each.high > each.low)
        + " from its maps"
        for each in wrong
    ]
    exact = max((abs(each.recorded - each.low) for each in checked if each.low == each.high), default=0.0)
    lines.append(
        f"{len(checked)} scores of {len(study)} runs recomputed from their maps: {len(wrong)} disagree; largest "
        f"difference {exact:.1g}, without IoU′, for which maps of 8 bits give only bounds"
    )
    return "\n".join(lines), unread + len(wrong)
