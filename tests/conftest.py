"""What all tests share: a cache of their own, and one tiny data set, drawn and decoded once."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of numpy wait for each other where tests share the cores

import pytest
from made_up_study import SCORES, write_run

from lib import config, data
from lib.config import Config, resolve
from lib.study import execute

# Files that take longest, which begin first: a long one that begins last would leave the other cores idle. As the first
# has two tests alone, its process takes the fourth file at once: a short one.
SLOW = (
    "test_backends.py",
    "test_browser.py",
    "test_pulled_plugs.py",
    "test_lessons.py",
    "test_soak.py",
    "test_networks.py",
    "test_training.py",
    "test_run.py",
    "test_cluster.py",
    "test_published.py",
    "test_kernels.py",
    "test_train.py",
    "test_models.py",
    "test_contributing.py",
    "test_report.py",
    "test_intervals.py",
    "test_fuzz.py",
    "test_doctor.py",
)


def pytest_xdist_auto_num_workers(config):
    """One process more than cores: tests of faults, kernels and the browser wait for a quarter of the time."""
    return execute.cores() + 1


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: SLOW.index(item.path.name) if item.path.name in SLOW else len(SLOW))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The cache folder of this session, so that tests never write into outputs/."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("IOU_STUDY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The smallest configuration that trains: 20 synthetic faces of 32 px, split into 16, 2 and 2."""
    return resolve(
        {
            "synthetic_images": 20,
            "image_size": 32,
            "encoder_weights": "none",
            "encoder_width": 0.125,
            "fc_units": 8,
            "trainable_blocks": 1,
            "learning_rate": 0.0005,
            "patience": 4,
            "epochs": 2,
            "batch_size": 4,
        }
    )


@pytest.fixture(scope="session")
def faces(tiny, cache) -> data.Dataset:
    """The data set of `tiny`: 20 synthetic faces in LFW's layout, 32 px."""
    return data.load(image_size=tiny.image_size, **tiny.dataset_arguments())


@pytest.fixture
def folder(tmp_path):
    """A study with one pair and one single run."""
    (first, second), study = config.CELLS[:2], tmp_path / "study"
    write_run(study, second, "iou")
    write_run(study, first, "bce", scores=SCORES | {"iou": 0.5}, epochs_run=9)
    write_run(study, first, "iou", epochs_run=4)
    return study
