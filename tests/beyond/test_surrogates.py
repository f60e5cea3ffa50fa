"""lib/beyond/surrogates.py: the authors' formulas in numpy float64, brute force, finite differences and relations.

The formulas of segmentation_models.pytorch, MONAI and the authors' code are written out here in numpy.
"""

from itertools import pairwise, permutations

import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from lib import InputError
from lib.beyond import surrogates
from lib.beyond.surrogates import SURROGATES, Surrogate
from lib.losses import binary_crossentropy, iou_loss

OVERLAP = ("dice", "tversky", "jaccard_distance", "jaccard_metric", "jaccard")  # mean(P) for an empty mask
LOVASZ = ("lovasz_hinge", "lovasz_sigmoid")


def image(*pixels):
    """A batch of one image of one row, (1, 1, pixels, 1) float32."""
    return np.array(pixels, "float32").reshape(1, 1, -1, 1)


def values(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, "float64")))


@pytest.fixture(scope="module")
def batch():
    """Random masks and logits (4, 3, 5, 1); the second mask is empty, the third full."""
    rng = np.random.default_rng(0)
    mask = (rng.random((4, 3, 5, 1)) < 0.4).astype("float32")
    mask[1], mask[2] = 0, 1
    return mask, rng.normal(0, 1.5, mask.shape).astype("float32")


# ---- the published formulas, one image as flat float64 arrays t and z -------------------------------------


def tversky_of_smp(t, p, alpha, beta, eps=1e-7):
    """segmentation_models.pytorch, soft_tversky_score with smooth=0, of hard labels."""
    intersection, fp, fn = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    return 1 - intersection / max(intersection + alpha * fp + beta * fn, eps)


def tversky_of_monai(t, p, alpha, beta, smooth=1e-12):
    """MONAI, TverskyLoss: smooth_nr and smooth_dr are added above and below (1e-5 by default)."""
    tp, p0, p1, g0, g1 = (p * t).sum(), p, 1 - p, t, 1 - t
    return 1 - (tp + smooth) / (tp + alpha * (p0 * g1).sum() + beta * (p1 * g0).sum() + smooth)


def dice(t, z):
    p = sigmoid(z)
    return 1 - 2 * (t * p).sum() / (t.sum() + p.sum())


def jaccard_distance(t, z):
    p = sigmoid(z)
    return 1 - (t * p).sum() / ((t**2).sum() + (p**2).sum() - (t * p).sum())


def jaccard_metric(t, z):
    """JML1 of the authors' code (JDTLosses), smooth=0."""
    cardinality, difference = (sigmoid(z) + t).sum(), np.abs(sigmoid(z) - t).sum()
    return 1 - (cardinality - difference) / (cardinality + difference)


def one_minus_iou(t, wrong):
    """1 - IoU (equation 2) of the mask that is wrong at exactly the pixels `wrong`; 0 of two empty masks."""
    predicted = (t > 0) ^ wrong
    union = ((t > 0) | predicted).sum()
    return 1 - ((t > 0) & predicted).sum() / union if union else 0.0


def lovasz_extension(t, errors):
    """Of the set function `one_minus_iou`, as its integral over all thresholds, without Algorithm 1."""
    levels = np.unique(np.append(errors, 0))
    return sum((high - low) * one_minus_iou(t, errors >= high) for low, high in pairwise(levels))


def hinge_errors(t, z):
    return np.maximum(0, 1 - np.asarray(z, "float64") * (2 * t - 1))


def bce(t, z):
    p = sigmoid(z)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()


def iou(t, z):
    return tversky_of_smp(t, sigmoid(z), 1, 1)


PUBLISHED = {
    "dice": dice,
    "jaccard": iou,
    "jaccard_distance": jaccard_distance,
    "jaccard_metric": jaccard_metric,
    "tversky": lambda t, z: tversky_of_smp(t, sigmoid(z), 0.3, 0.7),
    "focal_tversky": lambda t, z: tversky_of_smp(t, sigmoid(z), 0.3, 0.7) ** 0.75,
    "lovasz_hinge": lambda t, z: lovasz_extension(t, hinge_errors(t, z)),
    "lovasz_sigmoid": lambda t, z: lovasz_extension(t, np.abs(t - sigmoid(z))),
    "bce_iou": lambda t, z: bce(t, z) + iou(t, z),
}


def expected(name, t, z):
    """The published formula with this project's rule for an empty mask."""
    t, z = np.asarray(t, "float64").ravel(), np.asarray(z, "float64").ravel()
    if t.any() or name in LOVASZ:
        return PUBLISHED[name](t, z)
    mean = sigmoid(z).mean()
    return {"focal_tversky": mean**0.75, "bce_iou": bce(t, z) + mean}.get(name, mean)


def test_every_loss_has_an_oracle():
    assert PUBLISHED.keys() == SURROGATES.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_equations_per_image_and_pooled(name, batch):
    mask, logits = batch
    found = values(SURROGATES[name](mask, logits))
    assert found.shape == (4,) and found.dtype == "float32"
    np.testing.assert_allclose(found, [expected(name, t, z) for t, z in zip(mask, logits)], rtol=2e-6)
    pooled = values(SURROGATES[name](mask, logits, pooled=True))
    assert pooled.shape == () and pooled.dtype == "float32"
    np.testing.assert_allclose(pooled, expected(name, mask, logits), rtol=2e-6)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_gradients_equal_finite_differences_of_the_equations(name, pooled, batch):
    mask, logits = batch
    (found,) = gradients(lambda z: SURROGATES[name](mask, z, pooled=pooled), logits)
    step, numeric = 1e-6, np.empty(logits.shape)
    for index in np.ndindex(logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.astype("float64")
            moved[index] += sign * step
            ends.append(expected(name, mask, moved) if pooled else expected(name, mask[index[0]], moved[index[0]]))
        numeric[index] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-4, atol=1e-6)


# ---- by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value",
    [
        # T = 1 1 0 0, P = 1/2 3/4 1/2 1/4: TP 1.25, FP 0.75, FN 0.75.
        ("jaccard", 1 - 1.25 / 2.75),
        ("dice", 1 - 2.5 / 4),
        ("tversky", 1 - 1.25 / 2),  # FP and FN are equal, so 0.3 and 0.7 are as good as 1/2 and 1/2
        ("focal_tversky", (1 - 1.25 / 2) ** 0.75),
        ("jaccard_distance", 1 - 1.25 / (2 + 1.125 - 1.25)),  # sum P^2 = 1/4 + 9/16 + 1/4 + 1/16
        ("jaccard_metric", 1 - 1.25 / 2.75),  # hard labels
        # Errors 1/2 of a positive, 1/4 of a positive, 1/2 of a negative, 1/4 of a negative. Wrong sets, from the
        # largest error on: {positive 1, negative 1}, IoU 1/3, then all, IoU 0: 1/4 (2/3) + 1/4 (1).
        ("lovasz_sigmoid", 1 / 4 * 2 / 3 + 1 / 4),
        # Hinge errors 1, 1 - log 3 < 0, 1, 1 - log 3 < 0: the two with 1 give 1 - 1/3.
        ("lovasz_hinge", 2 / 3),
        ("bce_iou", -(2 * np.log(1 / 2) + 2 * np.log(3 / 4)) / 4 + 1 - 1.25 / 2.75),
    ],
)
def test_losses_by_hand(name, value):
    logits = image(0, np.log(3), 0, -np.log(3))
    np.testing.assert_allclose(values(SURROGATES[name](image(1, 1, 0, 0), logits)), [value], rtol=1e-6)


@pytest.mark.parametrize("name", OVERLAP)
def test_an_empty_mask_costs_the_mean_probability_by_hand(name):
    """With the same gradient for every pixel's P: P (1 - P) / pixels for its logit."""
    mask, logits = image(0, 0, 0, 0), image(0, np.log(3), 0, -np.log(3))
    np.testing.assert_allclose(values(SURROGATES[name](mask, logits)), [0.5], rtol=1e-6)
    (found,) = gradients(lambda z: SURROGATES[name](mask, z), logits)
    np.testing.assert_allclose(found.ravel(), np.array([4, 3, 4, 3]) / 16 / 4, rtol=1e-6)


def test_an_empty_mask_costs_the_largest_error_in_the_lovasz_losses_by_hand():
    mask, logits = image(0, 0, 0), image(-3, 2, 0.5)
    np.testing.assert_allclose(values(surrogates.lovasz_hinge(mask, logits)), [3], rtol=1e-6)
    np.testing.assert_allclose(values(surrogates.lovasz_sigmoid(mask, logits)), [sigmoid(2)], rtol=1e-6)
    (found,) = gradients(lambda z: surrogates.lovasz_hinge(mask, z), logits)
    np.testing.assert_array_equal(found.ravel(), [0, 1, 0])


# ---- the Lovász extension ---------------------------------------------------------------------------------


def every_mask(pixels):
    return [np.array(bits, "float32") for bits in np.ndindex(*[2] * pixels)]


@pytest.mark.parametrize("t", every_mask(4), ids=lambda t: "".join("01"[int(x)] for x in t))
def test_lovasz_equations_over_all_chains_of_subsets(t):
    """Edmonds: the extension of a submodular function is the largest sum over all orders of the pixels."""
    z = np.random.default_rng(int(t @ [1, 2, 4, 8])).normal(0, 1, 4)

    def over_chains(errors):
        sums = []
        for order in permutations(range(4)):
            costs = [one_minus_iou(t, np.isin(np.arange(4), order[:k])) for k in range(5)]
            sums.append(errors[list(order)] @ np.diff(costs))
        return max(sums)

    mask, logits = image(*t), image(*z)
    np.testing.assert_allclose(
        values(surrogates.lovasz_hinge(mask, logits)), [over_chains(hinge_errors(t, z))], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        values(surrogates.lovasz_sigmoid(mask, logits)), [over_chains(np.abs(t - sigmoid(z)))], rtol=1e-5, atol=1e-7
    )


def test_lovasz_at_every_binary_prediction_is_one_minus_iou_of_equation_2():
    """The vertices; twice it for the hinge at z = +-1, where a wrong pixel's error is 2."""
    masks = np.repeat(every_mask(4), 16, axis=0)
    predicted = np.tile(every_mask(4), (16, 1))
    exact = [one_minus_iou(t, (t > 0) != (p > 0)) for t, p in zip(masks, predicted)]
    mask, signs = masks.reshape(256, 1, 4, 1), (2 * predicted - 1).reshape(256, 1, 4, 1)
    np.testing.assert_allclose(values(surrogates.lovasz_sigmoid(mask, 200 * signs)), exact, atol=1e-7)
    np.testing.assert_allclose(values(surrogates.lovasz_hinge(mask, signs)), 2 * np.array(exact), atol=1e-6)
    for name in ("jaccard", "jaccard_distance", "jaccard_metric"):  # these, apart from empty masks, as well
        found = values(SURROGATES[name](mask, 200 * signs))
        np.testing.assert_allclose(found[16:], exact[16:], atol=1e-6, err_msg=name)


def test_the_lovasz_hinge_is_convex_in_the_logits():
    rng = np.random.default_rng(4)
    mask = np.repeat((rng.random((8, 1, 6, 1)) < 0.5), 50, axis=0).astype("float32")
    a, b = rng.normal(0, 2, (2, *mask.shape)).astype("float32")
    middle, at_a, at_b = (values(surrogates.lovasz_hinge(mask, z)) for z in ((a + b) / 2, a, b))
    assert (middle <= (at_a + at_b) / 2 + 1e-5).all()
    assert (middle < (at_a + at_b) / 2 - 0.01).mean() > 0.5  # and not linear


def test_lovasz_weights_are_exact_on_many_pixels():
    """One pooled batch of 400,000 pixels against float64: differences of 1 - I / U would lose the digits."""
    rng = np.random.default_rng(5)
    t = (rng.random(400_000) < 0.2).astype("float32")
    z = rng.normal(0, 1, t.size).astype("float32")
    errors = np.abs(t - sigmoid(z))
    order = np.argsort(-errors)
    positives = t.sum(dtype="float64")
    jaccard = 1 - (positives - np.cumsum(t[order], dtype="float64")) / (
        positives + np.cumsum(1 - t[order], dtype="float64")
    )
    exact = np.empty(t.size)
    exact[order] = np.diff(jaccard, prepend=0)
    shape = (4, 100_000, 1, 1)
    t, z = t.reshape(shape), z.reshape(shape)
    (found,) = gradients(lambda z: surrogates.lovasz_sigmoid(t, z, pooled=True), z)
    slope = exact.reshape(shape) * sigmoid(z) * (1 - sigmoid(z)) * (1 - 2 * t)
    assert abs(found - slope).sum() < 1e-3 * abs(slope).sum()
    found = values(surrogates.lovasz_sigmoid(t, z, pooled=True))
    np.testing.assert_allclose(found, errors @ exact, rtol=1e-5)


# ---- Tversky and its cases --------------------------------------------------------------------------------


def test_jaccard_is_the_papers_iou_loss_and_dice_is_keras_dice(batch):
    mask, logits = batch
    np.testing.assert_allclose(values(surrogates.jaccard_loss(mask, logits)), values(iou_loss(mask, logits)), rtol=1e-6)
    p = sigmoid(logits).astype("float32")
    np.testing.assert_allclose(
        values(surrogates.dice_loss(mask, logits, pooled=True)), float(keras.losses.Dice()(mask, p)), rtol=1e-5
    )  # Keras pools over the batch


def test_dice_and_jaccard_are_tversky(batch):
    for pooled in (False, True):
        tversky = values(surrogates.tversky_loss(*batch, alpha=1, beta=1, pooled=pooled))
        np.testing.assert_array_equal(values(surrogates.jaccard_loss(*batch, pooled=pooled)), tversky)
        tversky = values(surrogates.tversky_loss(*batch, alpha=0.5, beta=0.5, pooled=pooled))
        np.testing.assert_array_equal(values(surrogates.dice_loss(*batch, pooled=pooled)), tversky)


def test_dice_follows_from_jaccard(batch):
    """D = 2 J / (1 + J), so the losses are d = j / (2 - j), where the mask is not empty."""
    j = values(surrogates.jaccard_loss(*batch))[[0, 2, 3]]
    np.testing.assert_allclose(values(surrogates.dice_loss(*batch))[[0, 2, 3]], j / (2 - j), rtol=1e-5)


@pytest.mark.parametrize("alpha, beta", [(0.3, 0.7), (0.7, 0.3), (0, 1), (2, 0.1)])
def test_tversky_equals_segmentation_models_and_monai(alpha, beta, batch):
    mask, logits = batch
    found = values(surrogates.tversky_loss(mask, logits, alpha, beta))
    for row in (0, 2, 3):
        t, p = mask[row], sigmoid(logits[row])
        for formula in (tversky_of_smp, tversky_of_monai):
            np.testing.assert_allclose(found[row], formula(t, p, alpha, beta), rtol=1e-5)


def test_beta_weighs_what_was_missed_and_alpha_what_was_invented_by_hand():
    missed = (image(1, 1, 0), image(200, -200, -200))
    invented = (image(1, 0, 0), image(200, 200, -200))
    for alpha, beta in ((0.2, 0.8), (0.8, 0.2)):
        for pair, weight in ((missed, beta), (invented, alpha)):
            np.testing.assert_allclose(
                values(surrogates.tversky_loss(*pair, alpha, beta)), [weight / (1 + weight)], rtol=1e-6
            )


def test_focal_tversky_with_gamma_1_is_tversky(batch):
    np.testing.assert_allclose(
        values(surrogates.focal_tversky_loss(*batch, gamma=1)), values(surrogates.tversky_loss(*batch)), rtol=1e-6
    )


def test_focal_tversky_of_a_perfect_prediction_is_0_and_continuous():
    mask = image(1, 1, 0, 0)
    assert values(surrogates.focal_tversky_loss(mask, 200 * (2 * mask - 1))).tolist() == [0]
    slightly_wrong = np.array([8, 12, 14.5, 15, 15.5, 16], "float32")[:, None, None, None] * (2 * mask - 1)
    found = values(surrogates.focal_tversky_loss(np.repeat(mask, 6, 0), slightly_wrong))
    assert (np.diff(found) < 0).all() and found[-1] > 0


@pytest.mark.parametrize("weight", [0, 0.5, 3])
def test_bce_iou_is_a_weighted_sum(weight, batch):
    exact = values(binary_crossentropy(*batch)) + weight * values(iou_loss(*batch))
    np.testing.assert_allclose(values(surrogates.bce_iou(*batch, weight=weight)), exact, rtol=1e-6)


# ---- soft labels ------------------------------------------------------------------------------------------


def test_the_jaccard_metric_is_jaccard_on_hard_labels_and_0_at_soft_ones(batch):
    mask, logits = batch
    np.testing.assert_allclose(
        values(surrogates.jaccard_metric_loss(mask, logits)), values(surrogates.jaccard_loss(mask, logits)), rtol=1e-6
    )
    soft = sigmoid(logits).astype("float32")
    np.testing.assert_allclose(values(surrogates.jaccard_metric_loss(soft, logits)), 0, atol=1e-6)
    assert (values(surrogates.jaccard_loss(soft, logits)) > 0.2).all()


def test_the_jaccard_metric_is_a_metric_on_soft_labels():
    """Symmetric, and three maps keep the triangle inequality, as the authors prove."""
    logits = np.random.default_rng(6).normal(0, 3, (3, 200, 1, 4, 1)).astype("float32")

    def distance(a, b):
        return values(surrogates.jaccard_metric_loss(sigmoid(logits[a]).astype("float32"), logits[b]))

    np.testing.assert_allclose(distance(0, 1), distance(1, 0), rtol=1e-4)
    assert (distance(0, 2) <= distance(0, 1) + distance(1, 2) + 1e-6).all()


# ---- Keras and numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SURROGATES)
def test_any_logit_has_a_finite_value_and_gradient(name):
    """Right, wrong and undecided, at 0, at 17 (where P is 1 in float32) and at 200."""
    for mask in (image(1, 1, 0, 0), image(0, 0, 0, 0), image(1, 1, 1, 1)):
        for size in (0, 17, 200):
            for signs in (2 * mask - 1, 1 - 2 * mask, image(1, -1, 1, -1)):
                for pooled in (False, True):
                    (found,) = gradients(lambda z: SURROGATES[name](mask, z, pooled=pooled), size * signs)
                    assert np.isfinite(found).all(), (mask.ravel(), size, signs.ravel())
                    assert np.isfinite(values(SURROGATES[name](mask, size * signs, pooled=pooled))).all()


@pytest.mark.parametrize("name", SURROGATES)
def test_pooling_is_per_batch(name, batch):
    """One image pooled is that image; a batch pooled is its images side by side; pixels have no order."""
    mask, logits = batch
    function = SURROGATES[name]
    np.testing.assert_allclose(
        values(function(mask[:1], logits[:1], pooled=True)), values(function(mask[:1], logits[:1]))[0], rtol=1e-6
    )
    order = np.random.default_rng(7).permutation(mask.size)
    as_one = [x.ravel()[order].reshape(1, -1, 1, 1) for x in (mask, logits)]
    np.testing.assert_allclose(values(function(mask, logits, pooled=True)), values(function(*as_one))[0], rtol=1e-5)


@pytest.mark.parametrize("name", SURROGATES)
def test_the_class_sums_over_the_batch(name, batch):
    each = values(Surrogate(name, reduction="none")(*batch))
    assert each.shape == (4,)
    np.testing.assert_allclose(float(Surrogate(name)(*batch)), each.sum(), rtol=1e-6)
    np.testing.assert_allclose(float(Surrogate(name, reduction="sum_over_batch_size")(*batch)), each.mean(), rtol=1e-6)
    np.testing.assert_allclose(
        float(Surrogate(name, pooled=True)(*batch)), values(SURROGATES[name](*batch, pooled=True)), rtol=1e-6
    )


@pytest.mark.parametrize("name", SURROGATES)
def test_float16_input_is_computed_in_float32(name):
    """70,000 pixels: their sum is beyond float16, whose largest number is 65,504."""
    mask, logits = np.ones((1, 280, 250, 1), "uint8"), np.full((1, 280, 250, 1), 0.5, "float16")
    found = values(Surrogate(name, reduction="none")(mask, ops.convert_to_tensor(logits)))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, [expected(name, mask, logits)], rtol=1e-4)


def test_a_loss_is_restored_from_its_configuration(batch):
    loss = Surrogate("tversky", alpha=0.1, beta=0.9, pooled=True, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is Surrogate and again.name == "mine" and again.pooled
    assert float(again(*batch)) == float(loss(*batch)) != float(Surrogate("tversky")(*batch))


def test_losses_have_names_without_hyphens():
    """A hyphen separates the parts of a run's name."""
    assert not any("-" in name for name in SURROGATES)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda *batch: surrogates.tversky_loss(*batch, alpha=-1), "alpha: -1 is not valid"),
        (lambda *batch: surrogates.focal_tversky_loss(*batch, beta=0), "beta: 0 is not valid"),
        (lambda *batch: surrogates.focal_tversky_loss(*batch, gamma=0), "gamma: 0 is not valid"),
        (lambda *batch: surrogates.bce_iou(*batch, weight=-0.1), "weight: -0.1 is not valid"),
        (lambda *batch: surrogates.tversky_loss(*batch, beta=float("inf")), "beta: inf is not valid"),
        (lambda *batch: Surrogate("tversky", alpha=-1), "alpha: -1 is not valid"),
        (lambda *batch: Surrogate("dice", alpha=2), "dice: .*alpha.*; give parameters of surrogates.dice_loss"),
        (lambda *batch: Surrogate("dise"), "function is 'dise': use one of dice, tversky"),
    ],
)
def test_bad_parameters_are_refused(call, sentence, batch):
    with pytest.raises(InputError, match=sentence):
        call(*batch)
