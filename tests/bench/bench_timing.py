"""What all rows of the benchmark share: timing in turn, made-up data, the device, and a row of the table."""

import contextlib
import importlib
import os
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "tensorflow" not in sys.modules:  # the other order crashes: torch's compiler and TensorFlow both bring LLVM
    for peer in ("torch", "segmentation_models_pytorch", "monai.losses"):
        with contextlib.suppress(ImportError):
            importlib.import_module(peer)

import keras
import numpy as np

from lib import PROJECT, data, provenance, training
from lib.config import Config, resolve
from lib.data import cache, layouts
from lib.params import read_yaml

MISSING = "not installed: .venv/bin/pip install -e '.[peers]'"
MODELS = {"bfcn32s": "BFCN-32s", "fcresnet": "FCResNet"}


@dataclass(frozen=True)
class Timing:
    """Median of several turns and their spread (max - min), in the unit of the row."""

    median: float
    spread: float = 0.0

    @classmethod
    def of(cls, figures) -> "Timing":
        return cls(statistics.median(figures), max(figures) - min(figures))

    def times(self, factor: float) -> "Timing":
        return Timing(self.median * factor, self.spread * factor)


@dataclass(frozen=True)
class Row:
    """A line of the table: what it costs here and elsewhere.

    `ratio` is theirs / ours, so above 1 we are ahead; None where a figure is missing. `wanted` is the ratio to reach,
    None for none; `cause` says why it is missed where it is, and what was tried. `points` are (x, seconds) of a row on
    how a cost grows.
    """

    what: str
    against: str
    ours: Timing | None
    theirs: Timing | None
    wanted: float | None = None
    note: str = ""
    unit: str = "s"
    points: tuple[tuple[float, float], ...] = ()
    cause: str = ""

    @property
    def ratio(self) -> float | None:
        return self.theirs.median / self.ours.median if self.ours and self.theirs else None

    @property
    def verdict(self) -> str:
        """ "reached" or "miss"; empty where nothing is wanted or measured."""
        if self.wanted is None or self.ratio is None:
            return ""
        return "reached" if self.ratio >= self.wanted else "miss"


def compare(*ways, quick: bool = False, turns: int = 7, budget: float = 15.0) -> list[Timing]:
    """Seconds of each of the functions `ways`, called in turn after one warm-up each.

    A turn calls a short way for a tenth of a second and takes the mean. It ends after `turns` turns, or after three
    where the spreads are below 10 % or `budget` seconds are used up. `quick` takes one turn of one call.
    """
    for way in ways:
        way()
    taken, began = [[] for _ in ways], time.perf_counter()
    for turn in range(1 if quick else turns):
        for way, seconds in zip(ways, taken):
            calls, start = 0, time.perf_counter()
            while not calls or (time.perf_counter() - start < 0.1 and not quick):
                way()
                calls += 1
            seconds.append((time.perf_counter() - start) / calls)
        timings = [Timing.of(seconds) for seconds in taken]
        settled = all(timing.spread < 0.1 * timing.median for timing in timings)
        if turn >= 2 and (settled or time.perf_counter() - began > budget):
            break
    return timings


def on_gpu() -> bool:
    """Whether the backend computes on something else than the CPU."""
    return "cpu" not in provenance.versions()["device"].lower()


def installed(*packages: str) -> bool:
    """Whether these packages were there when the benchmark started."""
    return all(package in sys.modules for package in packages)


def sized(model: str, full: bool, **changes) -> Config:
    """The recipe at demo size or, `full`, at the paper's, with random weights in the encoder."""
    base = read_yaml(PROJECT / "params" / "profiles" / "paper.yaml") if full else {}
    return resolve(base, {"model": model, "data": "synthetic", "encoder_weights": "none", **changes})


def made_up_task(images: int, size: int) -> training.Task:
    """A memory-mapped data set of noise with a square for a face: speed does not depend on the content."""
    folder = cache.cache_root() / f"made-up-{images}-{size}px"
    if not folder.is_dir():
        folder.mkdir()
        block = np.random.default_rng(0).integers(0, 256, (20, size, size, 3), np.uint8)
        pictures = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (images, size, size, 3))
        labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (images, size, size))
        for start in range(0, images, len(block)):
            pictures[start : start + len(block)] = block[: images - start]
        labels[:, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = layouts.FACE
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels")]
    ids = tuple(f"{i:06}" for i in range(images))
    faces = data.Dataset("lfw", *arrays, ids, folder.name, "made up", False, "made up")
    return training.Task(faces, data.split(images, "lfw", "big"), False)


def epochs(train) -> list[float]:
    """Seconds of each epoch but the first, which compiles; `train` takes the callbacks of a training."""
    ends = []
    train([keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))])
    return [later - earlier for earlier, later in pairwise(ends)]
