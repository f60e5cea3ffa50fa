"""lib/data/drawing/canvas.py: outlines, textures and polygons by hand."""

import numpy as np
import pytest

from lib.data.drawing.canvas import Canvas, ellipse, mirror, noise, random_colour, rotation, smooth

SQUARE = np.array([(2, 2), (6, 2), (6, 6), (2, 6)], float)


def test_smoothing_cuts_corners_and_keeps_the_ends_of_a_line():
    closed, line = smooth(SQUARE), smooth([(0, 0), (4, 0), (4, 4)], closed=False)
    assert closed.shape == (32, 2) and closed.min() >= 2 and closed.max() <= 6
    assert np.abs(closed - 4).max(axis=1).min() < 2 and not (closed == SQUARE[0]).all(axis=1).any()
    np.testing.assert_array_equal(line[[0, -1]], [(0, 0), (4, 4)])


def test_outlines():
    x, y = ellipse(3, -1, 2, 0.5).T
    np.testing.assert_allclose(((x - 3) / 2) ** 2 + ((y + 1) / 0.5) ** 2, 1)
    assert mirror([(1, 0), (2, 3)]).tolist() == [[1, 0], [2, 3], [-2, 3], [-1, 0]]
    np.testing.assert_allclose(np.array([(1.0, 0.0)]) @ rotation(np.pi / 2), [(0, 1)], atol=1e-12)  # y points down


def test_noise_is_a_window_of_mean_0_and_deviation_1():
    windows = np.stack([noise(np.random.default_rng(seed), (64, 96), 16) for seed in range(40)])
    assert windows.shape == (40, 64, 96) and abs(windows.mean()) < 0.15 and abs(windows.std() - 1) < 0.15
    np.testing.assert_array_equal(windows[3], noise(np.random.default_rng(3), (64, 96), 16))
    assert not (windows[0] == windows[1]).all()


def test_colours_are_colours():
    colours = np.array([random_colour(np.random.default_rng(seed)) for seed in range(200)])
    assert colours.shape == (200, 3) and colours.min() >= 5 and colours.max() <= 250


def test_a_polygon_is_painted_into_image_and_labels():
    canvas = Canvas(8, 10)
    cover = canvas.paint(SQUARE, (200, 100, 50), part=3)
    assert cover.shape == (8, 10) and cover.dtype == np.float32
    assert (cover[3:6, 3:6] == 1).all() and cover[0].sum() == cover[:, 8:].sum() == 0
    assert cover.sum() == pytest.approx(16, abs=4.5)  # the border's pixels are drawn at twice the resolution
    np.testing.assert_array_equal(canvas.parts, np.where(cover >= 0.5, 3, 0))
    np.testing.assert_allclose(canvas.image, cover[..., None] * np.float32([200, 100, 50]), rtol=1e-5)


def test_opacity_gain_and_limits_of_a_fill():
    canvas, within = Canvas(8, 8), np.zeros((8, 8), np.float32)
    within[:, :4] = 1
    cover = canvas.paint(SQUARE, (100, 100, 100), part=1, gain=2.0, opacity=0.25, within=within)
    assert (cover[:, 4:] == 0).all() and (canvas.parts[:, 4:] == 0).all() and canvas.parts[4, 3] == 1
    assert canvas.image[4, 3].tolist() == [50, 50, 50]  # a quarter of twice the colour
    canvas.paint(SQUARE, (0, 0, 0))  # without a part the labels stay
    assert canvas.parts[4, 3] == 1 and canvas.image[4, 3].tolist() == [0, 0, 0]


def test_what_lies_outside_changes_nothing():
    canvas = Canvas(8, 8)
    assert canvas.paint(SQUARE + 100, (9, 9, 9), part=1).sum() == 0
    assert not canvas.image.any() and not canvas.parts.any()
