"""lib/data/drawing/surroundings.py: what surrounds a face is background, taken as by a camera."""

import numpy as np
import pytest

from lib.data.drawing.canvas import Canvas
from lib.data.drawing.person import random_look
from lib.data.drawing.surroundings import defocus, paint_clothes, paint_clutter, paint_foreground, photograph


def test_clutter_fills_the_picture_and_defocus_makes_all_of_it_background():
    for seed in range(10):
        rng, canvas = np.random.default_rng(seed), Canvas(64, 80)
        paint_clutter(canvas, rng, random_look(rng))
        assert canvas.image.std() > 1
        canvas.parts[:] = 5
        contrast = np.abs(np.diff(canvas.image, axis=1)).max()
        defocus(canvas, rng)
        assert not canvas.parts.any()
        assert np.abs(np.diff(canvas.image, axis=1)).max() < contrast + 40  # blurred, but for a fine texture


@pytest.mark.parametrize(
    "paint",
    [
        lambda canvas, rng, look: paint_clothes(
            canvas, rng, lambda points: 12 * np.asarray(points) + (32, 20), 0.4, look
        ),
        paint_foreground,
    ],
    ids=["clothes", "foreground"],
)
def test_what_covers_a_person_is_background(paint):
    covered = 0
    for seed in range(40):
        rng, canvas = np.random.default_rng(seed), Canvas(64, 64)
        canvas.parts[:] = 1
        before = canvas.image.copy()
        paint(canvas, rng, random_look(rng))
        assert set(np.unique(canvas.parts)) <= {0, 1}
        changed = (canvas.image != before).any(axis=-1)
        assert changed[canvas.parts == 0].all()
        covered += (canvas.parts == 0).any()
    assert covered >= 5  # the foreground is there now and then


def test_a_photograph_is_the_scene_with_a_cameras_faults():
    scene = np.zeros((48, 64, 3), np.float32)
    scene[:, 32:] = 200
    taken = [photograph(scene.copy(), np.random.default_rng(seed)) for seed in range(20)]
    for picture in taken:
        assert picture.shape == scene.shape and picture.dtype == np.uint8
        assert picture[:, 40:].mean() > picture[:, :24].mean() + 60  # what was bright is bright
    assert not (taken[0] == taken[1]).all()
    np.testing.assert_array_equal(taken[0], photograph(scene.copy(), np.random.default_rng(0)))
