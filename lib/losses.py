"""The two losses of the study: binary cross-entropy (equation 1) and IoU loss (equations 3 and 4).

Both take logits z and compute P = sigmoid(z) themselves, in float32, so that clipping affects neither: with clipped
probabilities the gradient of cross-entropy is 0 beyond about 16 nats. T is the label mask.

Each function returns one value per image. The class sets the reduction over the batch: `BinaryCrossentropy` takes the
mean, `IoULoss` the sum ("applied to each element in a batch and added").
"""

import math

import numpy as np

from lib import InputError
from lib.checks.arrays import check_images, check_weights, shown
from lib.checks.backend import keras, ops

REDUCTIONS = ("sum", "sum_over_batch_size", "mean", "mean_with_sample_weight", "none", None)  # of Keras
PIXELS = (1, 2, 3)  # axes of one image in (batch, height, width, 1)


def rows(mask, other, pooled=False, name="logits", hard=False):
    """Both, of shape (batch, height, width, 1), as (images, pixels) float32; if pooled, the batch is one image.

    XLA sums rows in two thirds of the time that images of one channel take.

    Raises:
        InputError: other shapes or values, see `checks.arrays.check_images`, which also explains `name` and `hard`.
    """
    mask, other = check_images(mask, other, name, hard)
    t, x = ops.cast(mask, "float32"), ops.cast(other, "float32")
    known = None not in (*t.shape[1:], *x.shape[1:])
    if not known:
        t, x = ops.unstack(ops.stack([t, x]))  # fails at run time if their shapes differ
    images, *sides = ops.shape(x)
    shape = (1, -1) if pooled else (images, math.prod(sides) if known else -1)
    return ops.reshape(t, shape), ops.reshape(x, shape)


def _soft_iou(t, p):
    """`soft_iou` of rows of pixels."""
    labelled, predicted, intersection = (ops.sum(x, axis=1) for x in (t, p, t * p))  # (batch,) each
    union = labelled + predicted - intersection  # of three sums: T + P - T P at every pixel takes twice the time
    empty = labelled == 0
    background = 1 - predicted / ops.cast(ops.shape(p)[1], "float32")
    return ops.where(empty, background, intersection / ops.where(empty, 1.0, union))


def soft_iou(mask, probabilities):
    """IoU′ of each image, equation 3: I / U with I = sum(T P) and U = sum(T + P - T P).

    Rule for an empty mask, where equation 3 is 0 for every P and has no gradient: the IoU′ of the background,
    1 - mean(P). It is 1 for an empty prediction, and its gradient lowers every pixel by the same 1 / pixels.

    Args:
        mask: T, (batch, height, width, 1), values 0 or 1, or between them for soft labels, any real dtype.
        probabilities: P, same shape, values in [0, 1]; not uint8, which are stored maps.
    Returns:
        (batch,) float32 in [0, 1].
    Raises:
        InputError: see `rows`.
    """
    return _soft_iou(*rows(mask, probabilities, name="probabilities"))


def iou_loss(mask, logits):
    """IoU loss of each image, equation 4: 1 - IoU′, from logits; an empty mask follows `soft_iou`'s rule.

    Shapes, dtypes and errors as in `soft_iou`, with logits of any real value; returns (batch,) float32 in [0, 1].
    """
    t, z = rows(mask, logits)
    return 1 - _soft_iou(t, ops.sigmoid(z))


def binary_crossentropy(mask, logits):
    """Binary cross-entropy of each image, equation 1 as a mean over pixels, in nats, from logits.

    -(T log P + (1 - T) log(1 - P)) = max(z, 0) - z T + log(1 + exp(-|z|)) with P = sigmoid(z): exact for any z.
    Shapes, dtypes and errors as in `iou_loss`; returns (batch,) float32, 0 or more. An empty mask needs no rule.
    """
    t, z = rows(mask, logits)
    return ops.mean(ops.maximum(z, 0.0) - z * t + ops.log1p(ops.exp(-ops.abs(z))), axis=1)


def iou_gradient(mask, probabilities):
    """dL/dP of IoU loss at every pixel in closed form, equations 5 and 6: (-U T + I (1 - T)) / U^2.

    Training uses automatic differentiation; this function checks and explains it.

    Args:
        mask: T, numpy (batch, height, width, 1), values 0 or 1.
        probabilities: P, same shape, in [0, 1].
    Returns:
        numpy float64, same shape; 1 / pixels for an image with an empty mask (rule of `soft_iou`).
    Raises:
        InputError: see `rows`.
    """
    check_images(mask, probabilities, "probabilities")
    t, p = np.asarray(mask, "float64"), np.asarray(probabilities, "float64")
    intersection = (t * p).sum(PIXELS, keepdims=True)  # (batch, 1, 1, 1)
    union = (t + p - t * p).sum(PIXELS, keepdims=True)
    empty = t.sum(PIXELS, keepdims=True) == 0
    union = np.where(empty, 1.0, union)
    gradient = (-union * t + intersection * (1 - t)) / union**2
    return np.where(empty, 1 / t[0].size, gradient)


class ImageLoss(keras.losses.Loss):
    """A Keras loss of one value per image. `reduction` is Keras': "sum", "sum_over_batch_size" (the mean) or "none".

    Sample weights are one number, or (batch,).

    Raises:
        InputError: an unknown reduction, weights of another shape, or see `rows`.
    """

    pooled = False  # whether there is one value for the whole batch

    def __init__(self, reduction, name):
        if not isinstance(reduction, str | None) or reduction not in REDUCTIONS:
            raise InputError(f"reduction is {shown(reduction)}: use one of {', '.join(map(str, REDUCTIONS))}")
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = check_images(y_true, y_pred)
        check_weights(sample_weight, y_true.shape[0], self.pooled)
        return super().__call__(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable("iou_loss_study")
class IoULoss(ImageLoss):
    """`iou_loss` summed over the batch (van Beers et al., section 2.3): a value between 0 and the batch size."""

    def __init__(self, reduction="sum", name="iou_loss"):
        super().__init__(reduction, name)

    def call(self, y_true, y_pred):
        return iou_loss(y_true, y_pred)


@keras.saving.register_keras_serializable("iou_loss_study")
class BinaryCrossentropy(ImageLoss):
    """`binary_crossentropy` averaged over the batch, so over all pixels: Keras' binary cross-entropy from logits."""

    def __init__(self, reduction="sum_over_batch_size", name="binary_crossentropy"):
        super().__init__(reduction, name)

    def call(self, y_true, y_pred):
        return binary_crossentropy(y_true, y_pred)


LOSSES = {"bce": BinaryCrossentropy, "iou": IoULoss}
