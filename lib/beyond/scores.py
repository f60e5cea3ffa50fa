"""Scores beyond the paper: Boundary IoU, calibration error, and IoU at every threshold. Numpy and scipy, float64.

Masks are (images, height, width) or (images, height, width, 1), values 0 or 1. A stored probability map is
uint8 255 P (`metrics.quantise`); at level k, from 0 to 255, a pixel is positive if its value is above k, so
k = 127 is threshold 0.5. An image whose label and prediction are both empty has IoU 1, as in `metrics`.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lib import InputError
from lib.checks.arrays import as_array, check_masks, check_number, pair, shown

LEVELS = 256
HALF = 127  # the level of threshold 0.5


def boundary(masks: ArrayLike, dilation_ratio: float = 0.02) -> np.ndarray:
    """The pixels of each mask within d pixels of its boundary (Cheng et al., 2021: the intersection of G_d and G).

    d is dilation_ratio times the image's diagonal, rounded, at least 1: 6 pixels at 224 px. As in the authors' code
    the distance is the chessboard distance, and everything beyond the image is outside the mask.

    Args:
        masks: see above.
        dilation_ratio: above 0; 0.02 as published.
    Returns:
        bool, the shape of `masks`.
    Raises:
        InputError: masks of another shape, or a ratio that is not above 0.
    """
    from scipy.ndimage import binary_erosion

    masks = as_array(masks, "masks")
    check_masks(masks)
    check_number("dilation_ratio", dilation_ratio, 0, 1e6, "a number above 0, such as 0.02", above=True)
    masks = masks.astype(bool)
    d = max(1, round(dilation_ratio * float(np.hypot(*masks.shape[1:3]))))
    return masks & ~binary_erosion(masks, np.ones((1, 3, 3, 1)[: masks.ndim]), iterations=d)


def boundary_iou(masks: ArrayLike, predicted: ArrayLike, dilation_ratio: float = 0.02) -> np.ndarray:
    """Boundary IoU of each image (Cheng et al., 2021): IoU of the inner boundary regions of the two masks.

    Args:
        masks, predicted: labels and predicted masks, of the same shape.
        dilation_ratio: see `boundary`.
    Returns:
        (images,) float64 in [0, 1].
    Raises:
        InputError: see `boundary`, or different shapes.
    """
    masks, predicted = pair(masks, predicted, "predicted")
    g, p = (
        boundary(each, dilation_ratio).reshape(len(masks), math.prod(masks.shape[1:])) for each in (masks, predicted)
    )
    return _iou(np.count_nonzero(g & p, axis=1), np.count_nonzero(g | p, axis=1))


def histograms(masks: ArrayLike, maps: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """How many negative and how many positive pixels of each image have each value: two (images, 256) int64.

    Args:
        masks: labels.
        maps: probability maps, uint8 255 P, same shape.
    Raises:
        InputError: different shapes, no pixels, masks with values other than 0 and 1, or maps of another dtype.
    """
    masks, maps = pair(masks, maps, "maps")
    flat = len(maps), math.prod(maps.shape[1:])
    cells = maps.reshape(flat) + LEVELS * masks.reshape(flat).astype("uint16")
    counts = np.array([np.bincount(row, minlength=2 * LEVELS) for row in cells]).reshape(-1, 2 * LEVELS)
    return counts[:, :LEVELS], counts[:, LEVELS:]


def iou_at_levels(masks: ArrayLike, maps: ArrayLike) -> np.ndarray:
    """IoU of each image at each of the 256 levels, from `histograms`: (images, 256) float64 in [0, 1]."""
    negative, positive = histograms(masks, maps)
    tp, fp = (counts.sum(1, keepdims=True) - counts.cumsum(1) for counts in (positive, negative))
    return _iou(tp, positive.sum(1, keepdims=True) + fp)


def best_level(masks: ArrayLike, maps: ArrayLike) -> int:
    """The level, 0 to 255, with the highest IoU averaged over the images; of equal ones the nearest to 127 (0.5).

    Raises:
        InputError: no images, or see `histograms`.
    """
    if not as_array(maps, "maps").size:
        raise InputError("maps: there are none, so no threshold can be chosen; give at least one image")
    means = iou_at_levels(masks, maps).mean(0)
    best = np.flatnonzero(means == means.max())
    return int(best[np.argmin(np.abs(best - HALF))])


def iou_at_best_level(
    chosen_on: tuple[ArrayLike, ArrayLike], applied_to: tuple[ArrayLike, ArrayLike]
) -> tuple[int, np.ndarray]:
    """IoU of one set of images at the threshold that is best for another.

    Args:
        chosen_on, applied_to: (masks, maps) of each set; they should share no image, else the score is too high.
    Returns:
        (level chosen, IoU of each image of `applied_to`, (images,) float64).
    Raises:
        InputError: see `best_level`.
    """
    level = best_level(*chosen_on)
    return level, iou_at_levels(*applied_to)[:, level]


class Reliability(NamedTuple):
    """The data of a reliability diagram: for each bin mean P, share of positive pixels, number of pixels.

    Each (bins,): float64, float64 (NaN for an empty bin), int64. Bin i of n has P from i / n to below (i + 1) / n; the
    last bin includes 1.
    """

    mean: np.ndarray
    share: np.ndarray
    pixels: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: |mean - share| averaged over all pixels, in [0, 1]."""
        filled = self.pixels > 0
        return float(np.average(np.abs(self.mean - self.share)[filled], weights=self.pixels[filled]))


def reliability(masks: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> Reliability:
    """Calibration of P, the probability of the positive class, over the pixels of all images together.

    Args:
        masks: labels.
        probabilities: same shape; uint8 255 P, or float in [0, 1].
        bins: number of bins of equal width, 1 or more; 15 in Guo et al. (2017).
    Raises:
        InputError: different shapes, no pixels, values out of range or no bins.
    """
    stored = getattr(probabilities, "dtype", None) == np.uint8
    masks, probabilities = pair(masks, probabilities, "maps" if stored else "probabilities")
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or not 1 <= bins <= 1_000_000:
        raise InputError(f"bins: {shown(bins)} is not valid; give a whole number, 1 or more and at most a million")
    if not probabilities.size:
        raise InputError("probabilities: there are no pixels; give at least one image")
    if stored:
        negative, positive = (counts.sum(0) for counts in histograms(masks, probabilities))
        values = np.arange(LEVELS) / (LEVELS - 1)
    else:
        values, positive = probabilities.astype("float64").ravel(), masks.astype(bool).ravel()
        negative = ~positive
    of = np.minimum((values * bins).astype(int), bins - 1)
    weights = negative + positive.astype("int64")
    pixels = np.bincount(of, weights, bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            np.bincount(of, values * weights, bins) / pixels,
            np.bincount(of, positive, bins) / pixels,
            pixels.astype("int64"),
        )


def expected_calibration_error(masks: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., 2017, equation 3) of `reliability`, float in [0, 1].

    Guo et al. bin the confidence in the predicted class. With one class, P itself is binned here, so that the bins
    below 0.5 have the pixels predicted as background.
    """
    return reliability(masks, probabilities, bins).error


def score(
    chosen_on: tuple[ArrayLike, ArrayLike], applied_to: tuple[ArrayLike, ArrayLike]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Scores of the test part beyond the paper, with the threshold that is best on the validation part.

    Args:
        chosen_on, applied_to: (masks, maps) of the validation part and of the test part.
    Returns:
        (scores, per_image): `scores` has `threshold` (a pixel is positive if its P is above it), `iou_tuned` (IoU at
        this threshold, averaged over images), `boundary_iou` (at 0.5, averaged) and `calibration_error`; `per_image`
        has `iou_tuned` and `boundary_iou`, (images,) float64.
    """
    level, tuned = iou_at_best_level(chosen_on, applied_to)
    masks, maps = (np.asarray(each) for each in applied_to)
    per_image = {"iou_tuned": tuned, "boundary_iou": boundary_iou(masks, maps > HALF)}
    return {
        "threshold": (level + 0.5) / (LEVELS - 1),
        "calibration_error": expected_calibration_error(masks, maps),
        **{name: float(values.mean()) for name, values in per_image.items()},
    }, per_image


def _iou(intersection, union):
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))
