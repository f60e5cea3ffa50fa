"""Losses beyond the paper: other differentiable surrogates of overlap scores.

Like the functions of `losses`, each takes (mask, logits), computes P = sigmoid(z) itself in float32 and returns one
value per image. With `pooled=True` the pixels of the whole batch are treated as one image, as in
segmentation_models.pytorch and Keras: the result is a scalar that does not grow with the batch.

Args of every function:
    mask: T, (batch, height, width, 1), any real dtype, values 0 or 1; all but the Lovász losses take soft labels, in
        [0, 1], too.
    logits: z, same shape, any real dtype and any real value.
    pooled: False for one value per image, True for one of the whole batch.
Returns:
    (batch,) float32, or () float32 if pooled; in [0, 1] unless the function says otherwise.

Every function raises InputError for other shapes or values, see `losses.rows`.

Rule for an empty mask (of the image, or of the batch if pooled), where these ratios are 1 for every P and have no
gradient: the loss is mean(P), as in `losses.soft_iou`. The Lovász losses need no rule.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from lib import InputError
from lib.checks.arrays import LARGEST, check_number, shown
from lib.checks.backend import keras, ops
from lib.losses import ImageLoss, binary_crossentropy, rows

Tensor = Any  # of the backend that Keras uses, or numpy
FLAT_BELOW = 1e-7  # below this `focal_tversky_loss` is linear: the slope of its power is infinite at 0


def _total(x):
    return ops.sum(x, axis=1)  # (images, pixels) -> (images,)


def _ratio(t, p, wrong, whole):
    """wrong / whole of each image, (images,); mean(P) where the mask is empty."""
    empty = _total(t) == 0
    return ops.where(empty, ops.mean(p, axis=1), wrong / ops.where(empty, 1.0, whole))


def _tversky(t, p, shared, alpha, beta):
    """1 - TP / (TP + alpha FP + beta FN) of each image, as a ratio that stays precise near 0.

    `shared` is the overlap of label and prediction at each pixel: T P, or min(T, P) for soft labels.
    """
    wrong = alpha * _total(p - shared) + beta * _total(t - shared)
    return _ratio(t, p, wrong, _total(shared) + wrong)


def _reduced(loss, pooled):
    return loss[0] if pooled else loss


def tversky_loss(mask: Tensor, logits: Tensor, alpha: float = 0.3, beta: float = 0.7, pooled: bool = False) -> Tensor:
    """Tversky loss (Salehi et al., 2017): 1 - TP / (TP + alpha FP + beta FN).

    TP = sum(T P), FP = sum((1 - T) P), FN = sum(T (1 - P)). alpha = beta = 1 is IoU loss, 1/2 is Dice loss.

    Args:
        alpha, beta: weights of false positives (0 or more) and of false negatives (above 0).
    Raises:
        InputError: a weight out of range.
    """
    check_number("alpha", alpha, 0, LARGEST, "0 or more to a Tversky loss")
    check_number("beta", beta, 0, LARGEST, "a number above 0 to a Tversky loss", above=True)
    t, z = rows(mask, logits, pooled)
    p = ops.sigmoid(z)
    return _reduced(_tversky(t, p, t * p, alpha, beta), pooled)


def dice_loss(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Soft Dice loss (Drozdzal et al., 2016), 1 - 2 sum(T P) / (sum(T) + sum(P)): Tversky at 1/2 and 1/2."""
    return tversky_loss(mask, logits, 0.5, 0.5, pooled)


def jaccard_loss(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Soft Jaccard loss: Tversky at 1 and 1. Per image it is the paper's IoU loss, equation 4."""
    return tversky_loss(mask, logits, 1.0, 1.0, pooled)


def focal_tversky_loss(
    mask: Tensor, logits: Tensor, alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3, pooled: bool = False
) -> Tensor:
    """Focal Tversky loss (Abraham and Khan, 2019): `tversky_loss` to the power 1 / gamma.

    The authors' alpha is the weight of false negatives, here beta. The slope of the power is infinite at 0; below a
    Tversky loss of 1e-7 it is replaced by a straight line to 0. For an empty mask it is mean(P) to that power.

    Args:
        alpha, beta: see `tversky_loss`.
        gamma: above 0; 4/3 in the paper, 1 is `tversky_loss`.
    Raises:
        InputError: a parameter out of range.
    """
    check_number("gamma", gamma, 0, LARGEST, "a number above 0 to the focal Tversky loss", above=True)
    loss = tversky_loss(mask, logits, alpha, beta, pooled)
    power = ops.power(ops.maximum(loss, FLAT_BELOW), 1 / gamma)
    return ops.where(loss > FLAT_BELOW, power, loss * FLAT_BELOW ** (1 / gamma - 1))


def jaccard_distance(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Yuan's Jaccard distance (Yuan, Chao and Lo, 2017): 1 - sum(T P) / (sum(T^2) + sum(P^2) - sum(T P)).

    "Quadratic" in van Beers et al.; computed as sum((T - P)^2) / sum(T^2 + P^2 - T P), which is the same.
    """
    t, z = rows(mask, logits, pooled)
    p = ops.sigmoid(z)
    return _reduced(_ratio(t, p, _total((t - p) ** 2), _total(t * t + p * p - t * p)), pooled)


def jaccard_metric_loss(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Jaccard metric loss for soft labels (Wang, Ning and Blaschko, 2023; their JML1), with the L1 norm |.|:

    1 - (|T| + |P| - |T - P|) / (|T| + |P| + |T - P|), which is 1 - sum(min(T, P)) / sum(max(T, P)): Tversky
    at 1 and 1 with min(T, P) in place of T P. On labels 0 or 1 it is `jaccard_loss`; on soft labels, in
    [0, 1], it is 0 exactly if P = T, unlike `jaccard_loss`.
    """
    t, z = rows(mask, logits, pooled)
    p = ops.sigmoid(z)
    return _reduced(_tversky(t, p, ops.minimum(t, p), 1.0, 1.0), pooled)


def _lovasz(t, errors):
    """Lovász extension of the Jaccard loss at `errors` (0 or more), (images, pixels) -> (images,).

    Algorithm 1 of Berman et al., with its differences in closed form. If the k pixels with the largest errors are
    wrong, I = positives not among them and U = positives + negatives among them. The k-th then raises 1 - I / U by
    1 / U if it is positive, by I / (U (U - 1)) if it is negative, and by 1 if it is the first without any positives.
    """
    order = ops.argsort(-errors, axis=1)
    errors, t = ops.take_along_axis(errors, order, axis=1), ops.take_along_axis(t, order, axis=1)
    positives = ops.sum(t, axis=1, keepdims=True)
    intersection = positives - ops.cumsum(t, axis=1)
    union = positives + ops.cumsum(1 - t, axis=1)
    raised = ops.where(union == 1, 1.0, intersection) / (union * ops.maximum(union - 1, 1.0))
    return _total(errors * ops.where(t > 0, 1 / union, raised))


def lovasz_hinge(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Lovász hinge (Berman, Triki and Blaschko, 2018): convex in the logits; 0 or more, without upper bound.

    The Lovász extension of 1 - IoU at the hinge errors max(0, 1 - z (2 T - 1)): if these are all 0 or 1, it is 1 - IoU
    of the mask that is wrong at the pixels with error 1. Correct pixels with |z| < 1 still add to the loss. For an
    empty mask 1 - IoU is 1 as soon as one pixel is wrong, so the loss is the largest error.
    """
    t, z = rows(mask, logits, pooled, hard=True)
    return _reduced(_lovasz(t, ops.relu(1 - z * (2 * t - 1))), pooled)


def lovasz_sigmoid(mask: Tensor, logits: Tensor, pooled: bool = False) -> Tensor:
    """Lovász-softmax (Berman et al., 2018) of the one class, P = sigmoid(z): errors |T - P|.

    At P of 0 or 1 it is 1 - IoU of equation 2. For an empty mask it is the largest P.
    """
    t, z = rows(mask, logits, pooled, hard=True)
    return _reduced(_lovasz(t, ops.abs(t - ops.sigmoid(z))), pooled)


def bce_iou(mask: Tensor, logits: Tensor, weight: float = 1.0, pooled: bool = False) -> Tensor:
    """Cross-entropy plus weight times IoU loss, equations 1 and 4; the sum of Qin et al. (2019) without SSIM.

    In nats per pixel plus a number in [0, 1]; 0 or more, without upper bound.

    Args:
        weight: of IoU loss, 0 or more.
    Raises:
        InputError: a negative weight.
    """
    check_number("weight", weight, 0, LARGEST, "0 or more to BCE + IoU")
    bce = binary_crossentropy(mask, logits)  # means over the same number of pixels
    return (ops.mean(bce) if pooled else bce) + weight * jaccard_loss(mask, logits, pooled)


# The last is IoU loss if `loss_reduction` is pooled.
SURROGATES: dict[str, Callable[..., Tensor]] = {
    "dice": dice_loss,
    "tversky": tversky_loss,
    "focal_tversky": focal_tversky_loss,
    "jaccard_distance": jaccard_distance,
    "jaccard_metric": jaccard_metric_loss,
    "lovasz_hinge": lovasz_hinge,
    "lovasz_sigmoid": lovasz_sigmoid,
    "bce_iou": bce_iou,
    "jaccard": jaccard_loss,
}


@keras.saving.register_keras_serializable("iou_loss_study")
class Surrogate(ImageLoss):
    """A function of `SURROGATES` as a Keras loss, summed over the batch like `losses.IoULoss`.

    Args:
        function: its name in `SURROGATES`.
        pooled: see above; `reduction` then has no effect, because there is one value.
        reduction: Keras' own: "sum", "sum_over_batch_size" for the mean, "none" for one value per image.
        name: of the loss in Keras; by default that of the Python function.
        parameters: further keyword arguments of the function.
    Raises:
        InputError: an unknown name, a parameter that the function does not have, or one out of range.
    """

    def __init__(
        self, function: str, pooled: bool = False, reduction: str = "sum", name: str | None = None, **parameters: float
    ):
        if not isinstance(function, str) or function not in SURROGATES:
            raise InputError(f"function is {shown(function)}: use one of {', '.join(SURROGATES)}")
        super().__init__(reduction, name or SURROGATES[function].__name__)
        self.function, self.pooled, self.parameters = function, pooled, parameters
        try:
            self(*np.zeros((2, 1, 64, 64, 1), "float32"))
        except TypeError as error:
            raise InputError(
                f"{function}: {error}; give parameters of surrogates.{SURROGATES[function].__name__}"
            ) from error

    def call(self, y_true, y_pred):
        return SURROGATES[self.function](y_true, y_pred, pooled=self.pooled, **self.parameters)

    def get_config(self):
        return {**super().get_config(), "function": self.function, "pooled": self.pooled, **self.parameters}
