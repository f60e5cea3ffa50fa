"""lib/data/drawing/person.py: looks are people's, and the parts of a face lie where they belong."""

import numpy as np
import pytest

from lib.data.drawing.canvas import Canvas
from lib.data.drawing.person import (
    HAIR,
    INNER_MOUTH,
    LOWER_LIP,
    NOSE,
    PARTS,
    SKIN,
    UPPER_LIP,
    paint_person,
    random_look,
)

CENTRE, SCALE = np.array([64.0, 50.0]), 26.0


@pytest.fixture(scope="module")
def painted():
    """(canvas, look) of 30 people whose eyes lie around `CENTRE`."""
    found = []
    for seed in range(30):
        rng, canvas = np.random.default_rng(seed), Canvas(128, 128)
        look = random_look(rng)
        paint_person(canvas, rng, look, CENTRE, SCALE)
        found.append((canvas, look))
    return found


def place(canvas, *parts):
    """(x, y) of the mean pixel of these parts."""
    return np.argwhere(np.isin(canvas.parts, parts)).mean(axis=0)[::-1]


def test_a_look_is_kept_by_its_generator():
    one, same, other = (random_look(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert str(one) == str(same) != str(other) and one.keys() == other.keys()


def test_looks_differ_and_long_hair_goes_without_a_beard():
    looks = [random_look(np.random.default_rng(seed)) for seed in range(300)]
    assert {look["style"] for look in looks} == {"short", "long", "bob", "receding", "bald"}
    assert {look["beard"] for look in looks if look["style"] in ("long", "bob")} == {"none"}
    assert len({look["beard"] for look in looks}) == 5 and len({look["glasses"] for look in looks}) == 3
    skin = np.array([look["skin"] for look in looks])
    assert skin.min() > 40 and skin.max() < 264 and skin.mean(axis=1).std() > 20


def test_the_numbering_is_helens():
    assert [PARTS[part] for part in (SKIN, NOSE, UPPER_LIP, INNER_MOUTH, LOWER_LIP, HAIR)] == [
        "skin",
        "nose",
        "upper_lip",
        "inner_mouth",
        "lower_lip",
        "hair",
    ]


def test_parts_lie_where_they_belong(painted):
    for canvas, _ in painted:
        assert canvas.parts.max() < len(PARTS) and (canvas.parts == SKIN).sum() > SCALE**2
        heights = [
            place(canvas, *parts)[1]
            for parts in ((2, 3), (4, 5), (NOSE,), (UPPER_LIP, LOWER_LIP))
            if np.isin(canvas.parts, parts).any()
        ]
        assert heights == sorted(heights) and len(heights) >= 3  # brows, eyes, nose, mouth from top to bottom
    eyes = [place(canvas, 4, 5) for canvas, _ in painted if np.isin(canvas.parts, (4, 5)).any()]
    assert len(eyes) >= 25 and np.abs(np.mean(eyes, axis=0) - CENTRE).max() < 0.3 * SCALE
