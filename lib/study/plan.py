"""The state of every run of a study, and an estimate of the remaining time."""

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lib import InputError, outputs, packs, printable
from lib.config import NOTEBOOK, Config
from lib.data import datasets, layouts
from lib.provenance import key, key_parts
from lib.record import Run, read_run, text_of
from lib.study import execute


@dataclass(frozen=True)
class Planned:
    """One run and its state: done, stale, failed, running, interrupted or waiting; `detail` explains it."""

    config: Config
    state: str
    detail: str = ""
    seconds: float = 0.0
    images: int | None = None  # of its data set, if a record has it


def state(config: Config, study: Path, any_code: bool = False, packed: Mapping[str, Run] | None = None) -> Planned:
    """The state of one run in a study folder; with `any_code`, runs of other versions of the code count as done.

    `packed`: the runs of a packed study.
    """
    folder, failed = study / config.run_id, study / execute.FAILED / config.run_id
    if os.path.lexists(folder) or config.run_id in (packed or {}):
        try:
            record = ((packed or {}).get(config.run_id) or read_run(folder)).record
        except InputError as error:
            return Planned(config, "stale", str(error))
        detail = f"IoU {record['scores']['iou']:.4f}, {record['epochs_run']} epochs"
        try:
            parts = key(config)[1]
        except InputError as error:
            parts, detail = key_parts(config), f"its data cannot be checked: {error}"
        if changed := [
            part
            for part in parts
            if parts[part] != record.get("key_parts", {}).get(part) and not (any_code and part in ("code", "notebook"))
        ]:
            return Planned(config, "stale", "was run with other " + ", ".join(changed))
        return Planned(config, "done", detail, record["seconds"].get("total", 0.0), record["data"].get("images"))
    begun = []
    for workspace in (study / execute.RUNNING).glob(f"{config.run_id}-????????"):
        with contextlib.suppress(FileNotFoundError):  # it ended just now
            begun.append((workspace.stat().st_mtime, workspace))
    if begun and is_active(study):
        since, workspace = max(begun)
        return Planned(
            config,
            "running",
            f"for {duration(max(0, time.time() - since))}" + progress(workspace / config.run_id / NOTEBOOK.name),
        )
    if failed.exists():
        return Planned(config, "failed", f"{outputs.error_of(failed)} ({failed / NOTEBOOK.name})")
    if begun:
        return Planned(config, "interrupted", "its driver ended; the same `run` repeats it")
    return Planned(config, "waiting")


def progress(notebook: Path) -> str:
    """Progress of a running notebook, as papermill last saved it: ", cell 9, epoch 4: loss ...", or ""."""
    try:
        cells = json.loads(text_of(notebook))["cells"]
    except (OSError, ValueError):  # missing, or incomplete while it is written
        return ""
    for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), 1):
        if cell["metadata"].get("papermill", {}).get("status") == "running":
            shown = [
                " ".join("".join(output["data"]["text/markdown"]).split())
                for output in cell["outputs"]
                if "text/markdown" in output.get("data", {})
            ]
            return printable(", ".join(["", f"cell {number}", *shown[-1:]]))
    return ""


def is_active(study: Path) -> bool:
    """Whether a `run` is at work on this study folder, which may be read-only."""
    if (study / ".lock").is_symlink():  # a stranger's: locking would empty the file that it names
        return False
    try:
        with FileLock(study / ".lock").acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # the lock cannot be opened for writing
        with contextlib.suppress(ImportError, OSError), open(study / ".lock", encoding="utf-8") as file:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        return (study / ".lock").exists()


def plan(configs: list[Config], study: Path, any_code: bool = False) -> list[Planned]:
    """The state of every run."""
    packed = packs.read(study)[0] if packs.is_packed(study) else None
    return [state(config, study, any_code, packed) for config in configs]


def show(planned: list[Planned], workers: int) -> None:
    """Prints the state of every run, and the estimate."""
    for p in planned:
        print(f"{p.config.run_id:34} {p.state:8} {p.detail}")
    print(estimate(planned, workers))


def estimate(planned: Sequence["Planned"], workers: int) -> str:
    """A sentence with the remaining time, estimated from the runs that are done, or else from the operations."""
    todo = [p for p in planned if p.state != "done"]
    done = [p for p in planned if p.state == "done" and p.seconds]
    if not todo:
        return "all runs are done"
    images = {p.config.dataset: p.images for p in done}
    work = {id(p): operations(p.config, images.get(p.config.dataset)) for p in planned}
    if done:
        rate, basis = sum(work[id(p)] for p in done) / sum(p.seconds for p in done), "the runs that are done"
    else:
        rate, basis = measured_rate() / workers, "a matrix product on this CPU and 20 epochs before the patience"
    seconds = sum(work[id(p)] for p in todo) / rate / workers + 10 * len(todo) / workers
    return (
        f"{len(todo)} of {len(planned)} runs to do, roughly {duration(seconds)} with {workers} at a time "
        f"(estimated from {basis})"
    )


def operations(config: Config, images: int | None = None) -> float:
    """Rough number of multiply-adds of a run's training, only for estimates.

    `images`: size of the data set, by default the official one.
    """
    if not images:
        images = config.synthetic_images if config.data == "synthetic" else layouts.DATASETS[config.dataset].images
    train = datasets.split(images, config.dataset, config.size).train.stop
    cells, width = (config.image_size / 32) ** 2, config.encoder_width
    if config.model in ("fcn8s", "segnet", "unet"):  # all on VGG-16; two of them train a mirrored decoder
        encoder = 300e6 * cells * width**2
        return encoder * (1.5 if config.model == "fcn8s" else 4) * train * min(config.epochs, 20 + config.patience)
    if config.model == "bfcn32s":
        forward = cells * (4 * 3 * 9 * (512 * width) ** 2 + 49 * 512 * width * config.fc_units + config.fc_units**2)
    else:
        forward = cells * (15e6 * width**2 + 49 * 2048 * width * config.fc_units)
    return 3 * forward * train * min(config.epochs, 20 + config.patience)


def measured_rate() -> float:
    """Multiply-adds per second of training on this machine, estimated as a quarter of those of a matrix product."""
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
