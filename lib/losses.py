"""The two losses of the study: binary cross-entropy (equation 1) and IoU loss (equations 3 and 4).

Both take logits z and compute P = sigmoid(z) themselves, in float32, so that clipping affects neither: with clipped
probabilities the gradient of cross-entropy is 0 beyond about 16 nats. T is the label mask.

Each function returns one value per image. The class sets the reduction over the batch: `BinaryCrossentropy` takes the
mean, `IoULoss` the sum ("applied to each element in a batch and added").
"""

import math

import keras
import numpy as np
from keras import ops

from lib import InputError

PIXELS = (1, 2, 3)  # axes of one image in (batch, height, width, 1)


def check_shapes(mask, other):
    """Raises InputError unless both have the same shape (batch, height, width, 1), as far as it is known when compiled.

    Without this check a mask of another shape would be broadcast, and the loss would have no meaning.
    """
    shapes = tuple(mask.shape), tuple(other.shape)
    if not (
        len(shapes[0]) == len(shapes[1]) == 4
        and shapes[0][3] == shapes[1][3] == 1
        and all(a == b or None in (a, b) for a, b in zip(*shapes))
    ):
        raise InputError(
            f"mask and logits have shapes {shapes[0]} and {shapes[1]}: give both (batch, height, width, 1)"
        )


def rows(mask, other, pooled=False):
    """Both, of shape (batch, height, width, 1), as (images, pixels) float32; if pooled, the batch is one image.

    XLA sums rows in two thirds of the time that images of one channel take. Raises InputError, see `check_shapes`.
    """
    t, x = ops.cast(mask, "float32"), ops.cast(other, "float32")
    check_shapes(t, x)
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
        mask: T, (batch, height, width, 1), values 0 or 1, any dtype.
        probabilities: P, same shape, values in [0, 1].
    Returns:
        (batch,) float32 in [0, 1].
    Raises:
        InputError: see `check_shapes`.
    """
    return _soft_iou(*rows(mask, probabilities))


def iou_loss(mask, logits):
    """IoU loss of each image, equation 4: 1 - IoU′, from logits; an empty mask follows `soft_iou`'s rule.

    Shapes and dtypes as in `soft_iou`, with logits of any real value; returns (batch,) float32 in [0, 1].
    """
    t, z = rows(mask, logits)
    return 1 - _soft_iou(t, ops.sigmoid(z))


def binary_crossentropy(mask, logits):
    """Binary cross-entropy of each image, equation 1 as a mean over pixels, in nats, from logits.

    -(T log P + (1 - T) log(1 - P)) = max(z, 0) - z T + log(1 + exp(-|z|)) with P = sigmoid(z): exact for any z.
    Shapes and dtypes as in `iou_loss`; returns (batch,) float32, 0 or more. An empty mask needs no rule.
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
    """
    t, p = np.asarray(mask, "float64"), np.asarray(probabilities, "float64")
    intersection = (t * p).sum(PIXELS, keepdims=True)  # (batch, 1, 1, 1)
    union = (t + p - t * p).sum(PIXELS, keepdims=True)
    empty = t.sum(PIXELS, keepdims=True) == 0
    union = np.where(empty, 1.0, union)
    gradient = (-union * t + intersection * (1 - t)) / union**2
    return np.where(empty, 1 / t[0].size, gradient)


@keras.saving.register_keras_serializable("iou_loss_study")
class IoULoss(keras.losses.Loss):
    """`iou_loss` summed over the batch (van Beers et al., section 2.3): a value between 0 and the batch size.

    `reduction` is Keras' own: "sum" (the paper's), "sum_over_batch_size" for the mean, "none" for one per image.
    """

    def __init__(self, reduction="sum", name="iou_loss"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true, y_pred):
        return iou_loss(y_true, y_pred)


@keras.saving.register_keras_serializable("iou_loss_study")
class BinaryCrossentropy(keras.losses.Loss):
    """`binary_crossentropy` averaged over the batch, so over all pixels: Keras' binary cross-entropy from logits."""

    def __init__(self, reduction="sum_over_batch_size", name="binary_crossentropy"):
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def call(self, y_true, y_pred):
        return binary_crossentropy(y_true, y_pred)


LOSSES = {"bce": BinaryCrossentropy, "iou": IoULoss}
