"""lib/checks/arrays.py: every public function of losses, metrics, scores, surrogates and statistics gives the right
number or refuses; and the neighbours of each check, by hand."""

import keras
import numpy as np
import pytest
from calls import CASES, IMAGES, judge
from hypothesis import HealthCheck, given, settings

from lib import InputError, metrics
from lib.beyond import scores
from lib.beyond.surrogates import SURROGATES, Surrogate
from lib.checks import arrays
from lib.losses import BinaryCrossentropy, IoULoss, binary_crossentropy, iou_gradient, iou_loss, soft_iou


@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(CASES)
@pytest.mark.filterwarnings("ignore")
def test_every_public_function_gives_the_right_number_or_a_sentence(case):
    try:
        judge(case)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < 700


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (3, 6, 5, 1)).astype("uint8")
    return mask, rng.normal(size=mask.shape).astype("float32")


OF_LOGITS = [
    iou_loss,
    binary_crossentropy,
    metrics.iou,
    metrics.accuracy,
    metrics.iou_soft,
    IoULoss(),
    *SURROGATES.values(),
]


@pytest.mark.parametrize("function", [*OF_LOGITS, BinaryCrossentropy(), Surrogate("dice")])
def test_masks_of_0_and_255_are_refused_by_every_loss_and_metric(function, batch):
    mask, logits = batch
    for wrong in (
        255 * mask,
        255.0 * mask,
        keras.ops.convert_to_tensor(255 * mask),
        -1.0 * mask,
        (255 * mask).tolist(),
    ):
        with pytest.raises(InputError, match=r"mask: some are outside \[0, 1\], .*divide a mask of 0 and 255 by 255"):
            function(wrong, logits)
    with pytest.raises(InputError, match="logits: NaN or infinite"):
        function(mask, np.where(mask, np.nan, logits))


@pytest.mark.parametrize("function", OF_LOGITS)
@pytest.mark.parametrize("shape", [(3, 1, 6, 5), (1, 6, 5), (3, 6, 5), (3, 5, 6, 1), (0, 6, 5, 1), (3, 0, 5, 1)])
def test_images_of_another_shape_are_refused_by_every_loss_and_metric(function, shape, batch):
    both = np.ones(shape, "uint8"), np.ones(shape, "float32")
    for mask, logits in ((both[0], batch[1]), *[both] * (shape != (3, 5, 6, 1))):
        with pytest.raises(InputError, match="mask and logits have shape"):
            function(mask, logits)


@pytest.mark.parametrize("of", [255, 1])
def test_scores_take_probabilities_alone(of, batch):
    """Stored maps, uint8 255 P, and logits are refused where probabilities are meant, and the reverse."""
    mask, logits = batch
    maps = metrics.quantise(1 / (1 + np.exp(-logits)))
    for function in (metrics.score, soft_iou, iou_gradient):
        with pytest.raises(InputError, match="probabilities: are uint8, as stored maps"):
            function(mask, maps // of)
        with pytest.raises(InputError, match=r"probabilities: some are outside \[0, 1\]"):
            function(mask, logits)
    for function in (scores.reliability, scores.boundary_iou, metrics.confusion):
        with pytest.raises(InputError, match=r"(probabilities|predicted): some are outside \[0, 1\]"):
            function(mask, logits)
    for function in (metrics.confusion, scores.boundary_iou):
        with pytest.raises(InputError, match="predicted: has values between 0 and 1; give 0 and 1 alone"):
            function(mask, 1 / (1 + np.exp(-logits)))
    for function in (scores.histograms, scores.iou_at_levels, scores.best_level):
        with pytest.raises(InputError, match="maps: dtype float32"):
            function(mask, logits)
        with pytest.raises(InputError, match=r"masks: some are outside \[0, 1\]"):
            function(255 * mask, maps)
    with pytest.raises(InputError, match="already|uint8"):
        metrics.quantise(maps)


@pytest.mark.parametrize("loss", [IoULoss(), BinaryCrossentropy(), Surrogate("dice"), Surrogate("lovasz_hinge")])
def test_sample_weights_are_one_for_each_image(loss, batch):
    each = keras.ops.convert_to_numpy(loss.call(*batch))
    weights = np.array([2.0, 0.0, 1.0], "float32")
    expected = (each * weights).sum() / (3 if loss.reduction == "sum_over_batch_size" else 1)
    assert float(loss(*batch, sample_weight=weights)) == pytest.approx(float(expected), rel=1e-5)
    for wrong in (np.ones(batch[0].shape), np.ones((3, 1)), np.ones(2), [[1.0]]):
        with pytest.raises(InputError, match=r"sample_weight: has shape .*one number for each image, \(batch,\)"):
            loss(*batch, sample_weight=wrong)
    with pytest.raises(InputError, match="sample_weight: is negative or NaN"):
        loss(*batch, sample_weight=-weights)
    with pytest.raises(InputError, match="one number for the whole batch"):
        Surrogate("dice", pooled=True)(*batch, sample_weight=weights)


def test_weights_reach_a_loss_in_training(batch):
    """Keras' `fit` passes weights whose number is known only when the step runs."""
    network = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Conv2D(1, 1, kernel_initializer="ones")])
    network.compile("sgd", IoULoss(), metrics=[metrics.iou])
    weighted = network.evaluate(batch[1], batch[0], sample_weight=np.array([0.0, 0.0, 0.0]), verbose=0)
    assert weighted[0] == 0 < network.evaluate(batch[1], batch[0], verbose=0)[0]


def test_soft_labels_have_a_meaning_but_for_the_lovasz_losses(batch):
    mask, logits = batch
    for name, function in SURROGATES.items():
        if name.startswith("lovasz"):
            with pytest.raises(InputError, match="mask: has values between 0 and 1"):
                function(mask / 2, logits)
        else:
            assert np.isfinite(keras.ops.convert_to_numpy(function(mask / 2, logits))).all()


def test_all_losses_of_logits_are_among_the_cases():
    assert set(SURROGATES) <= set(IMAGES)


def test_numbers_by_hand():
    arrays.check_number("x", 0, 0, 1, "it")
    for value in (True, "1", None, 1j, [1], float("nan"), float("inf"), 10**400, -1):
        with pytest.raises(InputError, match="x: .* is not valid; give it"):
            arrays.check_number("x", value, 0, float("inf"), "it")
