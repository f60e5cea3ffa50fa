"""Every public function that takes arrays, and arguments for it, right and wrong: for property tests and the fuzzer.

A case is (name, arguments). `judge` calls the function: it must raise InputError or give the right number, which an
oracle in float64 finds for the same arguments, and which no refused shape, value or dtype can have.
"""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from lib import metrics
from lib.analysis import intervals, mixed_model, stats
from lib.beyond import scores, surrogates
from lib.losses import BinaryCrossentropy, IoULoss, binary_crossentropy, iou_gradient, iou_loss, soft_iou

# ---- what is right, in plain numpy, one image at a time -----------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(np.asarray(z, "float64"), -500, 500)))


def soft(t, p):
    t, p = np.asarray(t, "float64"), np.asarray(p, "float64")
    return (t * p).sum() / (t + p - t * p).sum() if t.any() else 1 - p.mean()


def hard(t, p):
    t, p = np.asarray(t, bool), np.asarray(p, bool)
    return (t & p).sum() / (t | p).sum() if (t | p).any() else 1.0


def cross_entropy(t, z):
    t, z = np.asarray(t, "float64"), np.asarray(z, "float64")
    return (np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))).mean()


def each(function, mask, other):
    return np.array([function(t, x) for t, x in zip(np.asarray(mask), np.asarray(other))])


IMAGES = {  # takes (mask, logits or probabilities): the function, the oracle
    "soft_iou": (soft_iou, lambda t, p: each(soft, t, p)),
    "iou_loss": (iou_loss, lambda t, z: 1 - each(soft, t, sigmoid(z))),
    "binary_crossentropy": (binary_crossentropy, lambda t, z: each(cross_entropy, t, z)),
    "iou_gradient": (iou_gradient, None),
    "IoULoss": (lambda t, z: IoULoss()(t, z), lambda t, z: (1 - each(soft, t, sigmoid(z))).sum()),
    "BinaryCrossentropy": (lambda t, z: BinaryCrossentropy()(t, z), lambda t, z: each(cross_entropy, t, z).mean()),
    "metrics.iou": (metrics.iou, lambda t, z: each(lambda a, b: hard(a, b > 0), t, np.asarray(z))),
    "metrics.accuracy": (metrics.accuracy, lambda t, z: each(lambda a, b: ((b > 0) == (a > 0)).mean(), t, z)),
    "metrics.iou_soft": (metrics.iou_soft, lambda t, z: each(soft, t, sigmoid(z))),
    "metrics.confusion": (lambda t, p: metrics.confusion(t, p).iou, lambda t, p: each(hard, t, p)),
    "metrics.score": (lambda t, p: metrics.score(t, p)[0]["iou_soft"], lambda t, p: each(soft, t, p).mean()),
    "quantise": (
        lambda t, p: metrics.quantise(p) / 255 - np.asarray(p, "float64") < 0.003,
        lambda t, p: np.asarray(p) >= 0,
    ),
    "boundary_iou": (scores.boundary_iou, None),
    "iou_at_levels": (
        lambda t, p: scores.iou_at_levels(t, p)[:, 127],
        lambda t, p: each(lambda a, b: hard(a, b > 127), t, p),
    ),
    "best_level": (scores.best_level, None),
    "calibration": (scores.expected_calibration_error, None),
    "scores.score": (lambda t, p: scores.score((t, p), (t, p))[0]["iou_tuned"], None),
    **{
        f"{name}{' pooled' * pooled}": (lambda t, z, f=function, pooled=pooled: f(t, z, pooled=pooled), None)
        for name, function in surrogates.SURROGATES.items()
        for pooled in (False, True)
    },
}
PAIRS = {  # takes (a, b), scores of the same cells
    "paired_t_test": lambda a, b: stats.paired_t_test(a, b).p,
    "mean_interval": stats.mean_interval,
    "wilcoxon": lambda a, b: stats.wilcoxon(a, b).p,
    "wins": stats.wins,
    "error_reduction": stats.error_reduction,
    "largest_difference": stats.largest_difference,
    "compare": lambda a, b: stats.compare(a, b, "iou")["mean_difference"],
    "nadeau_bengio": lambda a, b: stats.nadeau_bengio(a, 9, 3).p,
    "holm": lambda a, b: stats.holm(a),
    "probability_of_improvement": lambda a, b: intervals.probability_of_improvement([a], [b]),
    "crossed_t": lambda a, b: intervals.crossed_t([a], [b]).difference,
    "compare_losses": lambda a, b: intervals.compare_losses({"bce": [a], "iou": [b]}, [range(3)])[0].effect.difference,
    "mixed_model": lambda a, b: mixed_model.mixed_model(a, b, ["x"] * 8, [0, 0, 1, 1, 2, 2, 3, 3]).effect.difference,
}
NUMBERS = {  # takes (name of a parameter, value)
    "tversky": lambda value: surrogates.tversky_loss(*ONE, alpha=value),
    "focal_tversky": lambda value: surrogates.focal_tversky_loss(*ONE, gamma=value),
    "bce_iou": lambda value: surrogates.bce_iou(*ONE, weight=value),
    "Surrogate": lambda value: surrogates.Surrogate("tversky", beta=value)(*ONE),
    "boundary": lambda value: scores.boundary(ONE[0], value),
    "bins": lambda value: scores.expected_calibration_error(ONE[0], ONE[0], value),
    "sample_weight": lambda value: IoULoss()(*ONE, sample_weight=value),
    "reduction": lambda value: IoULoss(reduction=value)(*ONE),
    "function": lambda value: surrogates.Surrogate(value)(*ONE),
    "metric": lambda value: stats.compare([0.1, 0.2], [0.2, 0.1], value)["p"],
    "train": lambda value: stats.nadeau_bengio([0.1, 0.2], value, 3).p,
    "confidence": lambda value: intervals.crossed_t([np.eye(3)], [range(3)], value).p,
    "margin": lambda value: intervals.compare_losses(
        {"bce": [np.eye(3)], "iou": [np.ones((3, 3))]}, [range(3)], "bce", value
    ),
}
ONE = np.array([[1.0, 0], [1, 0]]).reshape(1, 2, 2, 1), np.array([[1.0, 2], [-3, 0]]).reshape(1, 2, 2, 1)

# ---- arguments ---------------------------------------------------------------------------------------------

DTYPES = ["float32", "float64", "float16", "uint8", "int64", "bool"]
SHAPES = st.sampled_from(
    [(2, 3, 4, 1), (1, 1, 1, 1), (2, 3, 4), (1, 3, 4), (2, 1, 3, 4), (2, 3, 4, 3), (0, 3, 4, 1), (2, 0, 4, 1), (4,), ()]
)
RANGES = st.sampled_from([(0, 1), (0, 255), (-3, 3), (-1e300, 1e300), (0.5, 1.5), (127, 128)])
ODD = st.sampled_from(
    [None, "mask", [], [[]], [[1], [1, 0]], 0.5, float("nan"), {"a": 1}, object(), 1j, [1j], ["a"], b"x", -1, 0, True,
     float("inf"), 10**400, [0.1, 0.2], np.ones((1, 2, 2, 1)), "sum", "dice", "iou", (1.0,),
     [float("nan")], np.float32(2), 3]
)  # fmt: skip


@st.composite
def images(draw, same=None):
    """An array like masks, maps, logits or probabilities, of any shape, dtype and range, some with NaN."""
    shape, dtype, (low, high) = same or draw(SHAPES), draw(st.sampled_from(DTYPES)), draw(RANGES)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    values = rng.uniform(low, high, shape)
    if draw(st.booleans()):
        values = np.where(rng.random(shape) < 0.5, low, high)
    with np.errstate(all="ignore"):
        array = np.asarray(values).astype(dtype)
    if array.size and array.dtype.kind == "f" and draw(st.integers(0, 5)) == 0:
        array = array.copy()
        array.flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    form = draw(st.sampled_from(["array", "array", "list", "tensor"]))
    if form == "tensor" and array.dtype != "float64":
        return ops.convert_to_tensor(array)
    return array.tolist() if form == "list" else array


KINDS = {  # what is good for one function or another
    "logits": lambda rng, shape: rng.normal(0, 2, shape).astype("float32"),
    "probabilities": lambda rng, shape: rng.random(shape),
    "maps": lambda rng, shape: rng.integers(0, 256, shape).astype("uint8"),
    "predicted": lambda rng, shape: rng.random(shape) < 0.5,
}


@st.composite
def pairs_of_images(draw):
    """A mask and something of the same shape, both good for some functions; then, in half of the cases, one is not."""
    shape, kind = (
        draw(st.sampled_from([(2, 3, 4, 1), (1, 1, 1, 1), (3, 2, 2, 1)]) | SHAPES),
        draw(st.sampled_from(list(KINDS))),
    )
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    mask = (rng.random(shape) < draw(st.sampled_from([0, 0.5, 1]))) * draw(st.sampled_from([1, 1, 1.0, 255]))
    pair = [np.asarray(mask), np.asarray(KINDS[kind](rng, shape))]
    if draw(st.booleans()):
        pair[draw(st.integers(0, 1))] = draw(images(shape) | images())
    return tuple(pair)


ROWS = (
    hnp.arrays("float64", st.sampled_from([(3,), (1,), (0,), (2, 3), ()]), elements=st.floats(0, 1))
    | hnp.arrays("float64", (3,), elements=st.floats())
    | st.lists(st.floats(-1e13, 1e13) | st.integers(-9, 9), max_size=3)
    | st.sampled_from([np.zeros((3, 3)), [[0.1, 0.2, 0.3]] * 2, range(3), [True, False, True], [1, 0]])
    | st.sampled_from([[1, 0] * 4, [0.1, 0.3, 0.2, 0.4, 0.1, 0.2, 0.9, 0.5]])
)
CASES = st.one_of(
    st.tuples(st.sampled_from(list(IMAGES)), pairs_of_images()),
    st.tuples(st.sampled_from(list(IMAGES)), pairs_of_images()),
    st.tuples(st.sampled_from(list(IMAGES)), st.tuples(images(), ODD) | st.tuples(ODD, images())),
    st.tuples(st.sampled_from(list(PAIRS)), st.tuples(ROWS, ROWS) | st.tuples(ROWS, ODD) | st.tuples(ODD, ROWS)),
    st.tuples(st.sampled_from(list(NUMBERS)), st.tuples(ODD | st.floats() | st.integers())),
)
MAY_BE_NAN = ("paired_t_test", "mean_interval", "nadeau_bengio", "holm", "probability_of_improvement")


def judge(case) -> None:
    """Calls the function; AssertionError if it answers with a wrong number, or with none where one is due."""
    name, arguments = case
    if name in NUMBERS and len(arguments) == 1:
        NUMBERS[name](*arguments)
        return
    if name in PAIRS:
        found = np.asarray(PAIRS[name](*arguments), "float64")
        assert name in MAY_BE_NAN or not np.isnan(found).any(), f"{name}: NaN"
        return
    function, oracle = IMAGES[name]
    found = np.asarray(ops.convert_to_numpy(function(*arguments)), "float64")
    assert np.isfinite(found).all(), f"{name}: {found}"
    if not (
        "bce" in name
        or "entropy" in name.lower()
        or name in ("iou_gradient", "best_level", "IoULoss", "lovasz_hinge", "lovasz_hinge pooled")
    ):
        assert ((found >= -1e-5) & (found <= 1 + 1e-5)).all(), f"{name}: {found} is outside [0, 1]"
    if oracle:
        expected = np.asarray(oracle(*(np.asarray(argument) for argument in arguments)), "float64")
        assert found.shape == expected.shape, f"{name}: shape {found.shape}, not {expected.shape}"
        assert np.allclose(found, expected, rtol=1e-4, atol=2e-4 * max(1, math.sqrt(found.size))), (
            f"{name}: {found}, not {expected}"
        )
