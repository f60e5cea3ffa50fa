"""Two made-up studies of several losses and seeds."""

import numpy as np
import pytest
from made_up_conditions import write

from lib.outputs import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three losses on two parts with 4 seeds, and the face alone at another learning rate."""
    folder, rng = tmp_path_factory.mktemp("beyond") / "made-up", np.random.default_rng(0)
    for loss in ("bce", "iou", "dice"):
        for part in ("", "hair"):
            for seed in range(4):
                write(folder, rng, loss=loss, part=part, seed=seed, tag=f"part={part}-seed{seed}")
    return read_study(folder)


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("beyond") / "rates", np.random.default_rng(0)
    for loss in ("bce", "iou"):
        for rate in (0.0005, 0.001):
            for seed in range(2):
                write(folder, rng, loss=loss, learning_rate=rate, seed=seed, tag=f"rate={rate}-seed{seed}")
    return read_study(folder)
