"""lib/metrics.py: confusion matrices by hand, rules for empty masks, per image against pooled, rounding."""

import keras
import numpy as np
import pytest

from lib import InputError, metrics
from lib.metrics import Confusion, confusion, quantise, score


def masks(*images):
    """2x2 images, each given as its four pixels, (images, 2, 2, 1)."""
    return np.array(images).reshape(-1, 2, 2, 1)


# right and half right; one false positive; both empty; only false positives; only a missed object
LABELS = masks((1, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1))
PREDICTED = masks((1, 0, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))


def test_confusion_by_hand():
    counts = confusion(LABELS, PREDICTED)
    np.testing.assert_array_equal(counts.tp, [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(counts.fp, [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(counts.fn, [1, 0, 0, 0, 4])
    np.testing.assert_array_equal(counts.tn, [2, 2, 4, 3, 0])
    np.testing.assert_array_equal(counts.accuracy, [3 / 4, 3 / 4, 1, 3 / 4, 0])
    np.testing.assert_array_equal(counts.iou, [1 / 2, 1 / 2, 1, 0, 0])
    np.testing.assert_array_equal(counts.pooled(), [[2], [2], [5], [11]])
    assert counts.pooled().iou == [2 / 9] and counts.pooled().accuracy == [13 / 20]


def test_confusion_refuses_different_shapes():
    with pytest.raises(InputError, match=r"\(4, 2, 2, 1\).*\(5, 2, 2, 1\)"):
        confusion(LABELS, PREDICTED[:4])


def test_no_predicted_and_no_labelled_pixel_is_iou_1_when_pooled_too():
    assert confusion(np.zeros((2, 4)), np.zeros((2, 4))).pooled().iou == [1]


def test_per_image_and_pooled_iou_differ():
    """A large face found whole and a small one missed: half per image, nearly all when pixels are pooled."""
    labels = masks((1, 1, 1, 0), (1, 0, 0, 0))
    scores, _ = score(labels, masks((1.0, 1, 1, 0), (0, 0, 0, 0)))
    assert scores["iou"] == 1 / 2 and scores["iou_pooled"] == 3 / 4


def test_score_by_hand():
    labels, probabilities = masks((1, 1, 0, 0), (1, 0, 0, 0)), masks((0.75, 0.5, 0, 0), (1, 1, 0, 0))
    scores, per_image = score(labels, probabilities)  # 0.5 is not above the threshold
    assert scores == pytest.approx(
        {"accuracy": 3 / 4, "iou": 1 / 2, "iou_pooled": 2 / 4, "iou_soft": (1.25 / 2 + 1 / 2) / 2}
    )
    assert all(type(value) is float for value in scores.values())
    assert list(per_image) == ["accuracy", "iou", "iou_soft", "tp", "fp", "fn", "tn"]
    np.testing.assert_allclose(per_image["iou_soft"], [1.25 / 2, 1 / 2], rtol=1e-6)
    np.testing.assert_array_equal(
        Confusion(*(per_image[name] for name in Confusion._fields)), confusion(labels, probabilities > 0.5)
    )


def test_score_of_more_images_than_are_handled_at_a_time():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, (250, 3, 3, 1)), rng.random((250, 3, 3, 1))
    _, per_image = score(labels, probabilities)
    one_by_one = [score(labels[i : i + 1], probabilities[i : i + 1])[1] for i in (0, 99, 100, 249)]
    for name, found in per_image.items():
        assert found.shape == (250,)
        np.testing.assert_allclose(found[[0, 99, 100, 249]], [one[name][0] for one in one_by_one], rtol=1e-6)


def test_keras_metrics_agree_with_the_scores():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (7, 5, 5, 1)).astype("uint8")
    logits = rng.normal(size=labels.shape).astype("float32")
    labels[0], logits[0] = 0, -1  # both empty
    labels[1] = 0  # false positives only
    _, per_image = score(labels, 1 / (1 + np.exp(-logits)))
    for name in ("accuracy", "iou", "iou_soft"):
        found = getattr(metrics, name)(labels, keras.ops.convert_to_tensor(logits))
        found = keras.ops.convert_to_numpy(found)
        np.testing.assert_allclose(found, per_image[name], rtol=1e-5, err_msg=name)
    keras_mean = keras.metrics.MeanMetricWrapper(metrics.iou)
    for part in (slice(0, 4), slice(4, 7)):  # batches of different sizes: still the mean over images
        keras_mean.update_state(labels[part], logits[part])
    np.testing.assert_allclose(float(keras_mean.result()), per_image["iou"].mean(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantise_keeps_the_threshold_and_is_near(dtype):
    half, one, zero = np.array([0.5, 1, 0], dtype)
    close = [half, np.nextafter(half, one), np.nextafter(half, zero), zero, one]
    p = np.concatenate([close, np.random.default_rng(0).random(100_000), np.arange(256) / 255]).astype(dtype)
    found = quantise(p)
    assert found.dtype == "uint8"
    np.testing.assert_array_equal(found > 127, p > 0.5)
    assert np.abs(found / 255 - p).max() <= 1 / 510 + 1e-12
    np.testing.assert_array_equal(quantise(np.arange(256) / 255), np.arange(256))
