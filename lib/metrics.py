"""Scores of predicted masks. All thresholded scores of a record come from one integer confusion matrix per image; the
metrics that Keras shows during training come from logits.

A pixel is predicted positive where P > 0.5 (logit > 0). An image whose label and prediction are both empty has
IoU 1; an empty label with false positives, or a missed object, has IoU 0.
"""

import math
from typing import NamedTuple

import numpy as np

from lib.checks import arrays
from lib.checks.backend import ops
from lib.losses import PIXELS, soft_iou

THRESHOLD = 0.5


class Confusion(NamedTuple):
    """Counts of pixels per image, each (images,) int64: true and false positives, false and true negatives."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @property
    def accuracy(self):
        """Share of correct pixels, per image, float64 in [0, 1]."""
        return (self.tp + self.tn) / (self.tp + self.fp + self.fn + self.tn)

    @property
    def iou(self):
        """Intersection over union, equation 2, per image, float64 in [0, 1]."""
        union = self.tp + self.fp + self.fn
        return np.where(union == 0, 1.0, self.tp / np.maximum(union, 1))

    def pooled(self):
        """The confusion matrix over the pixels of all images, as arrays of length 1."""
        return Confusion(*(counts.sum(keepdims=True) for counts in self))


def confusion(masks, predicted):
    """Confusion matrix of each image.

    Args:
        masks: labels, (images, ...) 0/1 or bool.
        predicted: predicted masks, same shape, 0/1 or bool.
    Returns:
        `Confusion`.
    Raises:
        InputError: different shapes, no pixels, or values other than 0 and 1.
    """
    masks, predicted = arrays.pair(masks, predicted, "predicted", pictures=False)
    # 0 tn, 1 fp, 2 fn, 3 tp
    cells = (2 * masks.astype(bool) + predicted.astype(bool)).reshape(len(masks), math.prod(masks.shape[1:]))
    tn, fp, fn, tp = (np.count_nonzero(cells == cell, axis=1) for cell in range(4))
    return Confusion(tp, fp, fn, tn)


def score(masks, probabilities):
    """All scores of the study for a set of images.

    Args:
        masks: (images, height, width, 1) 0/1, one image or more.
        probabilities: same shape, float in [0, 1]; not uint8, which are stored maps.
    Returns:
        (scores, per_image): `scores` has floats `accuracy` and `iou` (thresholded at 0.5 per image, then
        averaged: the headline), `iou_pooled` (thresholded, over the pooled pixels) and `iou_soft` (IoU′ of
        equation 3, no threshold, averaged); `per_image` has arrays (images,) `accuracy`, `iou`, `iou_soft`,
        `tp`, `fp`, `fn`, `tn`.
    Raises:
        InputError: other shapes or values.
    """
    masks, probabilities = (arrays.as_array(*given) for given in ((masks, "mask"), (probabilities, "probabilities")))
    arrays.check_images(masks, probabilities, "probabilities", hard=True)
    counts = confusion(masks, probabilities > THRESHOLD)
    soft = np.concatenate(
        [
            ops.convert_to_numpy(soft_iou(masks[i : i + 100], probabilities[i : i + 100]))
            for i in range(0, len(masks), 100)
        ]
    )
    per_image = {"accuracy": counts.accuracy, "iou": counts.iou, "iou_soft": soft.astype("float64"), **counts._asdict()}
    scores = {
        "accuracy": per_image["accuracy"].mean(),
        "iou": per_image["iou"].mean(),
        "iou_pooled": counts.pooled().iou[0],
        "iou_soft": per_image["iou_soft"].mean(),
    }
    return {name: float(value) for name, value in scores.items()}, per_image


def accuracy(mask, logits):
    """Binary accuracy of each image from logits, (batch, height, width, 1) -> (batch,): a Keras metric function."""
    mask, logits = arrays.check_images(mask, logits, hard=True)
    return ops.mean(ops.cast((logits > 0) == (mask > 0), "float32"), axis=PIXELS)


def iou(mask, logits):
    """IoU at threshold 0.5 of each image from logits, (batch, height, width, 1) -> (batch,): a Keras metric function.

    Keras averages it over images; `keras.metrics.BinaryIoU` pools the pixels of all images instead.
    """
    mask, logits = arrays.check_images(mask, logits, hard=True)
    t, p = mask > 0, logits > 0
    intersection = ops.sum(ops.cast(ops.logical_and(t, p), "float32"), axis=PIXELS)
    union = ops.sum(ops.cast(ops.logical_or(t, p), "float32"), axis=PIXELS)
    return ops.where(union == 0, 1.0, intersection / ops.maximum(union, 1.0))


def iou_soft(mask, logits):
    """IoU′ of equation 3 of each image from logits, (batch, height, width, 1) -> (batch,): a Keras metric function."""
    mask, logits = arrays.check_images(mask, logits)
    return soft_iou(mask, ops.sigmoid(ops.cast(logits, "float32")))


def quantise(probabilities):
    """Probabilities as uint8, 255 P rounded half down, so that P > 0.5 exactly where the result is above 127.

    Args:
        probabilities: float array in [0, 1].
    Returns:
        uint8 array of the same shape, within 1/510 of P after division by 255.
    Raises:
        InputError: other values, or uint8, which are quantised already.
    """
    probabilities = arrays.as_array(probabilities, "probabilities")
    arrays.check_values(probabilities, "probabilities")
    return np.ceil(255 * probabilities.astype("float64") - 0.5).clip(0, 255).astype("uint8")
