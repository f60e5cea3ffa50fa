"""lib/weights/pretrain.py: its task by hand, and the weights that come along beside what made them."""

import json

import numpy as np
import pytest

from lib import models
from lib.config import PAPER
from lib.data.drawing.person import PARTS
from lib.weights import pretrain


def test_shares_of_a_cell_by_hand():
    classes = np.zeros((1, 4, 4), "uint8")
    classes[0, :2, :2], classes[0, 3, 3] = 7, 2
    shares = pretrain.shares(classes, 2)
    assert shares.shape == (1, 2, 2, 8) and shares.dtype == np.float32
    np.testing.assert_array_equal(shares.sum(-1), np.ones((1, 2, 2)))
    assert shares[0, 0, 0, 7] == 1 and shares[0, 0, 1, 0] == 1 and shares[0, 1, 1, 2] == 0.25


def test_parts_that_mirror_each_other_are_one_class():
    by_name = dict(zip(PARTS, pretrain.CLASSES.tolist()))
    for part in ("brow", "eye"):
        assert by_name[f"left_{part}"] == by_name[f"right_{part}"]
    assert by_name["upper_lip"] == by_name["lower_lip"] and len(set(by_name.values())) == 8


def test_an_image_and_its_classes_are_flipped_together():
    classes = np.zeros((40, 32, 32), "uint8")
    classes[:, :, :16] = 7
    images = np.where(classes[..., None] == 7, 255, 0).repeat(3, axis=-1).astype("uint8")
    batches = pretrain.Batches("bfcn32s", images, classes, 8, np.random.default_rng(0))
    assert len(batches) == 5
    left = []
    for step in range(5):
        x, (shares, coarse) = batches[step][:2]
        assert shares.shape == (8, 2, 2, 8) and coarse.shape == (8, 1, 1, 8)
        bright_left = x[:, :, :16].mean((1, 2, 3)) > x[:, :, 16:].mean((1, 2, 3))
        np.testing.assert_array_equal(bright_left, shares[:, 0, 0, 7] == 1)
        left += bright_left.tolist()
    assert 0 < sum(left) < 40


@pytest.mark.parametrize("model", PAPER["model"])
def test_the_weights_say_what_they_were_trained_with(model):
    path = models.weights_path(model, "demo")
    report = json.loads(path.with_suffix("").with_suffix(".json").read_text())
    assert path.is_file() and path.parent.name == "weights"
    assert (report["model"], report["width"], report["seed"]) == (model, pretrain.WIDTH, pretrain.SEED)
