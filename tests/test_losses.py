"""lib/losses.py: hand-computed 2x2 masks, equations 5 and 6, relations to Keras, numpy and the metrics."""

import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from lib import InputError, metrics, training
from lib.losses import LOSSES, BinaryCrossentropy, IoULoss, binary_crossentropy, iou_gradient, iou_loss, soft_iou


def image(*pixels):
    """A batch of one 2x2 image from its four pixels, row by row, (1, 2, 2, 1) float32."""
    return np.array(pixels, "float32").reshape(1, 2, 2, 1)


def logit(p):
    return np.log(p / (1 - p))


def values(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


@pytest.fixture(scope="module")
def batch():
    """Random masks and logits (5, 6, 7, 1); the second mask is empty, the third full."""
    rng = np.random.default_rng(0)
    mask = (rng.random((5, 6, 7, 1)) < 0.4).astype("float32")
    mask[1], mask[2] = 0, 1
    return mask, rng.normal(0, 2, mask.shape).astype("float32")


# Equation 3 by hand: I = sum(T P), U = sum(T + P - T P).
@pytest.mark.parametrize(
    "mask, probabilities, expected",
    [
        ((1, 1, 0, 0), (0.5, 1, 0.5, 0), 1.5 / 2.5),  # I = 0.5 + 1; U = 1 + 1 + 0.5 + 0
        ((1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25), 0.25 / 1.75),
        ((1, 1, 1, 1), (0.5, 0.5, 0, 1), 2 / 4),
        ((1, 1, 0, 0), (1, 1, 0, 0), 1),  # right everywhere
        ((1, 1, 0, 0), (0, 0, 1, 1), 0),  # wrong everywhere
        ((0, 0, 0, 0), (0, 0, 0, 0), 1),  # empty mask: 1 - mean(P)
        ((0, 0, 0, 0), (0.5, 0.25, 0.25, 0), 0.75),
        ((0, 0, 0, 0), (1, 1, 1, 1), 0),
    ],
)
def test_soft_iou_by_hand(mask, probabilities, expected):
    np.testing.assert_allclose(values(soft_iou(image(*mask), image(*probabilities))), [expected], rtol=1e-6)


def test_iou_loss_by_hand():
    logits = image(0, np.log(3), 0, -np.log(3))  # P = 1/2, 3/4, 1/2, 1/4
    np.testing.assert_allclose(values(iou_loss(image(1, 1, 0, 0), logits)), [1 - 1.25 / 2.75], rtol=1e-6)


def test_binary_crossentropy_by_hand():
    logits = image(0, np.log(3), 0, -np.log(3))  # P of the right class: 1/2, 3/4, 1/2, 3/4
    expected = -(2 * np.log(1 / 2) + 2 * np.log(3 / 4)) / 4
    np.testing.assert_allclose(values(binary_crossentropy(image(1, 1, 0, 0), logits)), [expected], rtol=1e-6)


def test_an_empty_mask_pushes_every_pixel_down_alike():
    mask, probabilities = image(0, 0, 0, 0), image(0.1, 0.9, 0.5, 0)
    (found,) = gradients(lambda p: 1 - soft_iou(mask, p), probabilities)
    np.testing.assert_allclose(found, np.full((1, 2, 2, 1), 1 / 4), rtol=1e-6)
    np.testing.assert_array_equal(iou_gradient(mask, probabilities), np.full((1, 2, 2, 1), 1 / 4))


def test_equations_5_and_6_by_hand():
    """I = 1.5 and U = 2.5 as above: -1 / U where T is 1, I / U^2 where T is 0."""
    found = iou_gradient(image(1, 1, 0, 0), image(0.5, 1, 0.5, 0))
    np.testing.assert_allclose(found.ravel(), [-0.4, -0.4, 0.24, 0.24])


def test_equations_5_and_6_equal_automatic_differentiation(batch):
    mask, logits = batch
    probabilities = 1 / (1 + np.exp(-logits))
    (found,) = gradients(lambda p: 1 - soft_iou(mask, p), probabilities)
    np.testing.assert_allclose(found, iou_gradient(mask, probabilities), rtol=1e-5)


def test_equations_5_and_6_equal_finite_differences(batch):
    mask, logits = batch
    probabilities = 1 / (1 + np.exp(-logits.astype("float64")))
    numeric, step = np.empty_like(probabilities), 1e-6

    def loss(t, p):
        return 1 - (t * p).sum() / (t + p - t * p).sum() if t.any() else p.mean()

    for index in np.ndindex(probabilities.shape):
        shift = np.zeros_like(probabilities[0])
        shift[index[1:]] = step
        t, p = mask[index[0]], probabilities[index[0]]
        numeric[index] = (loss(t, p + shift) - loss(t, p - shift)) / (2 * step)
    np.testing.assert_allclose(iou_gradient(mask, probabilities), numeric, rtol=1e-6, atol=1e-9)


def test_hard_predictions_give_one_minus_the_iou_of_the_confusion_matrix(batch):
    mask, logits = batch
    hard = np.where(logits > 0, 200.0, -200.0)
    found = values(iou_loss(mask[[0, 2, 3, 4]], hard[[0, 2, 3, 4]]))  # the empty mask has a rule of its own
    counts = metrics.confusion(mask[[0, 2, 3, 4]], logits[[0, 2, 3, 4]] > 0)
    np.testing.assert_allclose(found, 1 - counts.iou, rtol=1e-6)


def test_binary_crossentropy_equals_the_formula_and_keras(batch):
    mask, logits = batch
    p = 1 / (1 + np.exp(-logits.astype("float64")))
    direct = -(mask * np.log(p) + (1 - mask) * np.log(1 - p)).mean((1, 2, 3))
    np.testing.assert_allclose(values(binary_crossentropy(mask, logits)), direct, rtol=1e-5)
    of_keras = float(keras.losses.BinaryCrossentropy(from_logits=True)(mask, logits))
    np.testing.assert_allclose(float(BinaryCrossentropy()(mask, logits)), of_keras, rtol=1e-6)


def test_binary_crossentropy_has_value_and_gradient_at_any_logit():
    mask, logits = image(1, 0, 1, 0), image(200, -200, -200, 200)  # two right, two wrong
    np.testing.assert_allclose(values(binary_crossentropy(mask, logits)), [100], rtol=1e-6)
    (found,) = gradients(lambda z: binary_crossentropy(mask, z), logits)
    np.testing.assert_allclose(found.ravel(), [0, 0, -1 / 4, 1 / 4], atol=1e-30)


def test_iou_loss_sums_over_the_batch_and_cross_entropy_averages(batch):
    mask, logits = batch
    iou, bce = values(iou_loss(mask, logits)), values(binary_crossentropy(mask, logits))
    np.testing.assert_allclose(float(IoULoss()(mask, logits)), iou.sum(), rtol=1e-6)
    np.testing.assert_allclose(float(BinaryCrossentropy()(mask, logits)), bce.mean(), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_reductions(loss, batch):
    each = values(loss(reduction="none")(*batch))
    assert each.shape == (5,)
    np.testing.assert_allclose(float(loss(reduction="sum")(*batch)), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(float(loss(reduction="sum_over_batch_size")(*batch)), each.mean(), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_float16_input_is_computed_in_float32(loss):
    """70,000 pixels: their sum is beyond float16, whose largest number is 65,504."""
    mask, logits = np.ones((1, 280, 250, 1), "uint8"), np.full((1, 280, 250, 1), 0.5, "float16")
    found = values(loss(reduction="none")(mask, ops.convert_to_tensor(logits)))
    assert found.dtype == "float32"
    p = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(found, [-np.log(p) if loss is BinaryCrossentropy else 1 - p], rtol=1e-4)


def test_the_gradient_of_iou_loss_does_not_depend_on_how_many_pixels_are_background():
    """As section 2.3 argues: true negatives are no part of the IoU; cross-entropy averages over them."""
    small, large = np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 20, 20, 1), "float32")
    small[0, 0, 0] = large[0, 0, 0] = 1
    for mask in (small, large):
        (found,) = gradients(lambda p: 1 - soft_iou(mask, p), np.where(mask == 1, 0.5, 0.0).astype("float32"))
        np.testing.assert_allclose(found[0, 0, 0], [-1], rtol=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [((2, 1, 1, 1), (2, 4, 4, 1)), ((2, 4, 4, 3), (2, 4, 4, 1)), ((1, 4, 4, 1), (2, 4, 4, 1)), ((4, 4, 1), (4, 4, 1))],
)
@pytest.mark.parametrize("loss", training.LOSSES.values(), ids=training.LOSSES)
def test_a_mask_of_another_shape_is_refused(loss, shapes):
    mask, logits = (np.zeros(shape, "float32") for shape in shapes)
    with pytest.raises(InputError, match=r"mask and logits have shapes .* give both \(batch, height, width, 1\)"):
        loss()(mask, logits)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others compile for known shapes alone")
@pytest.mark.parametrize("loss", [training.LOSSES[name] for name in ("iou", "bce", "tversky")])
def test_a_mask_of_another_shape_is_refused_where_shapes_are_known_when_the_step_runs(loss):
    import tensorflow as tf

    compiled = tf.function(loss(), input_signature=[tf.TensorSpec((None, None, None, 1))] * 2)
    rng = np.random.default_rng(0)
    mask, logits = rng.integers(0, 2, (2, 4, 6, 1)).astype("float32"), rng.normal(size=(2, 4, 6, 1)).astype("float32")
    assert float(compiled(mask, logits)) == pytest.approx(float(loss()(mask, logits)), rel=1e-6)
    for shape in ((2, 6, 4, 1), (2, 8, 12, 1), (2, 1, 1, 1), (1, 4, 6, 1)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            compiled(np.zeros(shape, "float32"), logits)
