"""lib/beyond/scores.py: Boundary IoU, calibration, thresholds: by hand, by loops over pixels, by relations."""

import numpy as np
import pytest

from lib import InputError, metrics
from lib.beyond.scores import (
    best_level,
    boundary,
    boundary_iou,
    expected_calibration_error,
    histograms,
    iou_at_best_level,
    iou_at_levels,
    reliability,
)


@pytest.fixture(scope="module")
def pictures():
    """Discs (5, 21, 34), some cut off, and others predicted; mask 1, prediction 2 and both of 3 are empty."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:21, :34]

    def blobs():
        cy, cx, r = rng.uniform(0, 21, 5), rng.uniform(0, 34, 5), rng.uniform(5, 11, 5)
        return np.array([(y - a) ** 2 + (x - b) ** 2 < c**2 for a, b, c in zip(cy, cx, r)])

    masks, predicted = blobs(), blobs()
    masks[[1, 3]], predicted[[2, 3]] = False, False
    return masks, predicted


@pytest.fixture(scope="module")
def maps():
    """Masks (6, 9, 7, 1) and uint8 probability maps that know something of them; mask 0 is empty, 1 full."""
    rng = np.random.default_rng(1)
    masks = (rng.random((6, 9, 7, 1)) < 0.4).astype("uint8")
    masks[0], masks[1] = 0, 1
    p = np.clip(0.6 * masks + rng.normal(0.2, 0.25, masks.shape), 0, 1)
    return masks, metrics.quantise(p)


# ---- boundaries -------------------------------------------------------------------------------------------


def boundary_by_loops(mask, d):
    """Cheng et al.: pixels of G within distance d of its contour; outside the image counts as outside G."""
    found = np.zeros_like(mask)
    height, width = mask.shape
    for i, j in np.argwhere(mask):
        for a in range(i - d, i + d + 1):
            for b in range(j - d, j + d + 1):
                if not (0 <= a < height and 0 <= b < width) or not mask[a, b]:
                    found[i, j] = True
    return found


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.05, 0.1, 0.3])
def test_boundary_equals_a_search_around_each_pixel(pictures, ratio):
    """Of 21 x 34 the diagonal is 39.96: d is 1 (at least), 1, 2, 4 and 12, wider than any disc."""
    d = max(1, round(ratio * (21**2 + 34**2) ** 0.5))
    for mask, found in zip(pictures[0], boundary(pictures[0], ratio)):
        np.testing.assert_array_equal(found, boundary_by_loops(mask, d))


def test_boundary_as_the_authors_erode():
    """Their code: pad by one 0, erode d times by a 3x3 square, take off the mask."""
    masks = np.random.default_rng(2).random((3, 40, 30)) < 0.97
    for mask, found in zip(masks, boundary(masks, 0.06)):  # d = round(0.06 * 50) = 3
        padded = np.pad(mask, 1)
        for _ in range(3):
            shifted = np.pad(padded, 1, constant_values=True)  # OpenCV erodes with infinity around
            padded = np.all([shifted[a : a + 42, b : b + 32] for a in range(3) for b in range(3)], axis=0)
        np.testing.assert_array_equal(found, mask & ~padded[1:-1, 1:-1])


def test_boundary_iou_by_hand():
    """A 6 x 6 square against the same moved by 1, d = 1: frames of 20 pixels, of which 10 are shared."""
    masks, predicted = np.zeros((2, 1, 12, 12), int)
    masks[0, 2:8, 2:8], predicted[0, 2:8, 3:9] = 1, 1
    np.testing.assert_array_equal(boundary_iou(masks, predicted), [10 / 30])
    np.testing.assert_array_equal(boundary(masks).sum(), 20)


def test_boundary_iou_of_no_image_is_empty():
    assert boundary_iou(np.ones((0, 4, 4)), np.ones((0, 4, 4))).shape == (0,)


def test_boundary_iou_of_each_image(pictures):
    masks, predicted = pictures
    found = boundary_iou(masks, predicted, 0.05)
    for mask, prediction, value in zip(masks, predicted, found):
        g, p = boundary_by_loops(mask, 2), boundary_by_loops(prediction, 2)
        assert value == ((g & p).sum() / (g | p).sum() if (g | p).any() else 1)
    assert found.dtype == "float64" and found[3] == 1 and found[1] == found[2] == 0
    np.testing.assert_array_equal(boundary_iou(masks[..., None], predicted[..., None], 0.05), found)


def test_boundary_iou_with_a_wide_boundary_is_iou(pictures):
    """The whole of both masks is boundary."""
    np.testing.assert_array_equal(boundary_iou(*pictures, 1), metrics.confusion(*pictures).iou)


# ---- thresholds -------------------------------------------------------------------------------------------


def test_iou_at_all_256_levels_equals_thresholding_each(maps):
    masks, values = maps
    found = iou_at_levels(masks, values)
    assert found.shape == (6, 256) and found.dtype == "float64"
    for level in range(256):
        np.testing.assert_array_equal(found[:, level], metrics.confusion(masks, values > level).iou)
    assert found[0, 255] == 1 and found[1, 255] == 0  # nothing predicted: right for the empty mask alone


def test_level_127_is_threshold_one_half():
    rng = np.random.default_rng(3)
    masks, p = rng.random((4, 8, 8)) < 0.5, rng.random((4, 8, 8))
    np.testing.assert_array_equal(
        iou_at_levels(masks, metrics.quantise(p))[:, 127], metrics.confusion(masks, p > 0.5).iou
    )


def test_histograms_count_each_pixel_once(maps):
    masks, values = maps
    negative, positive = histograms(masks, values)
    assert negative.dtype == positive.dtype == "int64" and (negative + positive).sum(1).tolist() == [63] * 6
    for level in (0, 100, 255):
        np.testing.assert_array_equal(positive[:, level], ((values == level) & (masks == 1)).sum((1, 2, 3)))


def test_best_level_by_hand():
    """Positives 200 and 90, negatives 60 and 0: levels 60 to 89 have IoU 1; 89 is the nearest to 127."""
    masks, values = np.array([[[1, 1, 0, 0]]]), np.array([[[200, 90, 60, 0]]], "uint8")
    assert best_level(masks, values) == 89
    assert best_level(masks, np.array([[[255, 200, 180, 0]]], "uint8")) == 180
    assert best_level(np.ones((1, 1, 4)), np.full((1, 1, 4), 140, "uint8")) == 127


def test_the_best_level_of_one_set_is_applied_to_another(maps):
    masks, values = maps
    level, found = iou_at_best_level((masks[:3], values[:3]), (masks[3:], values[3:]))
    means = [metrics.confusion(masks[:3], values[:3] > k).iou.mean() for k in range(256)]
    assert means[level] == max(means)
    np.testing.assert_array_equal(found, metrics.confusion(masks[3:], values[3:] > level).iou)
    own = iou_at_levels(masks[3:], values[3:]).mean(0).max()
    assert found.mean() <= own  # chosen on the images themselves, it can only be higher


# ---- calibration ------------------------------------------------------------------------------------------


def test_calibration_error_by_hand():
    """Two bins: below 0.5 mean P 0.2 and share 1/3; above, mean P 0.8 and share 1/2."""
    p, masks = np.array([[[0.1, 0.2, 0.3, 0.7, 0.9]]]), np.array([[[0, 1, 0, 0, 1]]])
    found = reliability(masks, p, bins=2)
    np.testing.assert_allclose(found.mean, [0.2, 0.8])
    np.testing.assert_allclose(found.share, [1 / 3, 1 / 2])
    assert found.pixels.tolist() == [3, 2] and found.pixels.dtype == "int64"
    error = (3 * (1 / 3 - 0.2) + 2 * (0.8 - 1 / 2)) / 5
    np.testing.assert_allclose([found.error, expected_calibration_error(masks, p, bins=2)], error)


@pytest.mark.parametrize("bins", [1, 7, 15, 256])
def test_calibration_error_equals_a_loop_over_bins(maps, bins):
    """Guo et al. (2017), equation 3, on the probability of the positive class; 8 bits and floats agree."""
    masks, values = maps
    p, t, error = values / 255, masks.astype("float64"), 0
    for i in range(bins):
        inside = (p * bins >= i) & ((p * bins < i + 1) | (i == bins - 1))
        if inside.any():
            error += inside.sum() * abs(t[inside].mean() - p[inside].mean()) / p.size
    np.testing.assert_allclose(expected_calibration_error(masks, p, bins), error, rtol=1e-12)
    for of_bytes, of_floats in zip(reliability(masks, values, bins), reliability(masks, p, bins)):
        np.testing.assert_allclose(of_bytes, of_floats, rtol=1e-12)


def test_a_calibrated_prediction_has_no_error():
    masks = np.zeros((1, 4, 100), int)
    p = np.repeat([[0.1, 0.4, 0.8, 1.0]], 100, axis=0).T[None]
    for row, share in enumerate((10, 40, 80, 100)):
        masks[0, row, :share] = 1
    assert expected_calibration_error(masks, p, 10) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(masks, 1.0 - masks) == 1  # certain and wrong everywhere


def test_empty_bins_have_no_mean_and_no_weight():
    found = reliability(np.array([[[1, 0]]]), np.array([[[0.95, 0.05]]]), 10)
    assert np.isnan(found.mean[1:9]).all() and np.isnan(found.share[1:9]).all()
    assert found.pixels.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found.error == pytest.approx(0.05)


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: boundary(np.ones((4, 4))), r"masks: shape \(4, 4\) is not valid"),
        (lambda: boundary(np.ones((1, 4, 4, 3))), "masks: shape"),
        (lambda: boundary(np.ones((1, 4, 4)), 0), "dilation_ratio: 0 is not valid"),
        (lambda: boundary(np.ones((1, 4, 4)), np.inf), "dilation_ratio: inf is not valid"),
        (lambda: boundary_iou(np.ones((1, 4, 4)), np.ones((1, 4, 5))), "predicted: their shape"),
        (lambda: iou_at_levels(np.ones((1, 4, 4)), np.ones((1, 4, 4))), "maps: dtype float64 is not valid"),
        (lambda: best_level(np.ones((0, 4, 4)), np.ones((0, 4, 4), "uint8")), "maps: there are none"),
        (lambda: reliability(np.ones((1, 2, 2)), np.full((1, 2, 2), 1.5)), r"outside \[0, 1\]"),
        (lambda: reliability(np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan)), "NaN"),
        (lambda: reliability(np.ones((1, 2, 2)), np.ones((1, 2, 2)), 0), "bins: 0 is not valid"),
        (lambda: reliability(np.ones((1, 2, 2)), np.ones((1, 2, 2)), 15.0), "bins: 15.0 is not valid"),
        (lambda: reliability(np.ones((1, 2, 2)), np.ones((1, 2, 2)), None), "bins: None is not valid"),
        (lambda: reliability(np.ones((0, 2, 2)), np.ones((0, 2, 2))), "there are no pixels"),
    ],
)
def test_bad_input_is_refused(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
