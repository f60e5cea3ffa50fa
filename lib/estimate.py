"""How long a study will take, from the runs that are done or from the work to do."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import data
from lib.config import Config

if TYPE_CHECKING:
    from lib.study import Planned


def estimate(planned: Sequence["Planned"], workers: int) -> str:
    """A sentence on how long the runs that are not done will take, from those that are or from the work to do."""
    todo = [p for p in planned if p.state != "done"]
    done = [p for p in planned if p.state == "done" and p.seconds]
    if not todo:
        return "all runs are done"
    images = {p.config.dataset: p.images for p in done}
    work = {id(p): operations(p.config, images.get(p.config.dataset)) for p in planned}
    if done:
        rate, basis = sum(work[id(p)] for p in done) / sum(p.seconds for p in done), "the runs that are done"
    else:
        rate, basis = measured_rate() / workers, "this CPU's matrix product, 20 epochs before the patience"
    seconds = sum(work[id(p)] for p in todo) / rate / workers + 10 * len(todo) / workers
    return (f"{len(todo)} of {len(planned)} runs to do, roughly {duration(seconds)} with {workers} at a time "
            f"(estimated from {basis})")


def operations(config: Config, images: int | None = None) -> float:
    """Rough number of multiply-adds that a run's training takes, for estimates only; `images` of its data set, by default
    as many as the official one has."""
    if not images:
        images = config.synthetic_images if config.data == "synthetic" else data.DATASETS[config.dataset].images
    train = data.split(images, config.dataset, config.size).train.stop
    cells, width = (config.image_size / 32) ** 2, config.encoder_width
    if config.model in ("fcn8s", "segnet", "unet"):  # VGG-16 every time; two of them train a mirrored decoder
        encoder = 300e6 * cells * width**2
        return encoder * (1.5 if config.model == "fcn8s" else 4) * train * min(config.epochs, 20 + config.patience)
    if config.model == "bfcn32s":
        forward = cells * (4 * 3 * 9 * (512 * width) ** 2 + 49 * 512 * width * config.fc_units + config.fc_units**2)
    else:
        forward = cells * (15e6 * width**2 + 49 * 2048 * width * config.fc_units)
    return 3 * forward * train * min(config.epochs, 20 + config.patience)


def measured_rate() -> float:
    """Multiply-adds a second of this machine's training, taken as a quarter of a matrix product's."""
    import numpy as np
    a = np.ones((1024, 1024), "float32")
    a @ a
    start = time.perf_counter()
    a @ a
    return a.shape[0] ** 3 / (time.perf_counter() - start) / 4


def duration(seconds: float) -> str:
    """Seconds as "40 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
