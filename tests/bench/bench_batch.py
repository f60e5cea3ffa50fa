"""Rows on the batch and its processes: the batch against papermill's command line, its bookkeeping, memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_timing import Row, Timing

from lib import PROJECT, models, params, training
from lib.study import execute


def quiet(*command):
    subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def fill(configs):
    """Puts data and features of these runs into the cache."""
    for config in configs:
        frozen, _ = models.halves(training.build(config), config.trainable_blocks)
        training.features(config, training.load_task(config), frozen)


def all_runs(quick):
    """The 32 runs of the demo by the batch, and every fifth of them by papermill's command line, one after the other.

    Caches are filled. Every fifth takes in turn all networks, data sets, sizes, hair or not, and losses; the loop's
    time is projected to all. The work in the batch is what its notebooks' cells took; all else is start-up and
    bookkeeping.
    """
    only = "bfcn32s-lfw-big-nohair-*" if quick else "*"
    configs = sorted(params.configurations("demo", only), key=lambda config: config.run_id)
    sample = configs[::5]
    with tempfile.TemporaryDirectory() as folder:
        fill(configs)
        wall = seconds(lambda: quiet("-m", "lib.study", "run", "--only", only, "--out", f"{folder}/ours"))
        loop = [
            seconds(
                lambda: quiet(
                    "-m",
                    "papermill",
                    "notebooks/train.ipynb",
                    f"{folder}/out.ipynb",
                    "-f",
                    "params/profiles/demo.yaml",
                    "-f",
                    f"params/{config.run_id}.yaml",
                    "-p",
                    "out_dir",
                    f"{folder}/theirs",
                )
            )
            for config in sample
        ]
        notebooks = [json.loads(Path(folder, "ours", config.run_id, "train.ipynb").read_text()) for config in configs]
        records = [json.loads(Path(folder, "ours", config.run_id, "record.json").read_text()) for config in configs]
    workers = min(len(execute.gpus()) or execute.cores(), len(configs))
    cells = sum(
        cell["metadata"].get("papermill", {}).get("duration") or 0
        for notebook in notebooks
        for cell in notebook["cells"]
    )
    trained = sum(record["seconds"]["training"] + record["seconds"]["features"] for record in records)
    available, runs = wall * workers, f"{len(configs)} runs"
    return [
        Row(
            f"{runs} of the demo, batch on all cores",
            "a loop of papermill's CLI",
            Timing(wall),
            Timing(sum(loop) * len(configs) / len(sample)),
            2.5,
            f"the loop is projected from {len(sample)} of the runs",
            cause=f"training and scoring take {trained / available:.0%} of our workers' time, and the loop trains too, on "
            "all cores; start-up, which the batch shares, is what is left to save",
        ),
        Row(
            f"work in the batch of {runs}",
            "its wall time on all workers",
            Timing(available),
            Timing(cells),
            0.85,
            f"start-up and bookkeeping take {1 - cells / available:.0%} of {workers} workers' time, "
            f"the notebooks' cells {cells / available:.0%}, training alone {trained / available:.0%}",
        ),
    ]


def seconds(way):
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


MEMORY = """
import sys
import keras
from pathlib import Path
from bench_timing import made_up_task
from lib import training
from lib.config import resolve

config, seen = resolve({"epochs": 2, "image_size": 64}), []
def look(*_):
    status = Path("/proc/self/status").read_text()
    seen.append(int(status.split("RssAnon:")[1].split()[0]) / 1024)
training.fit(config, training.build(config), made_up_task(int(sys.argv[1]), 64),
             [keras.callbacks.LambdaCallback(on_epoch_end=look)])
print(max(seen))
"""


def memory(quick):
    """Private memory of a training process on 1, 4 and 16 times as many made-up images."""
    if sys.platform != "linux":
        return []
    found = {}
    for images in (20, 80) if quick else (200, 800, 3200):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(images)],
            cwd=PROJECT,
            check=True,
            text=True,
            capture_output=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )
        found[images] = Timing(float(done.stdout.split()[-1]))
    fewest, *more = found
    return [
        Row(
            f"private memory of a training, {images} images",
            f"{fewest} images",
            found[images],
            found[fewest],
            0.9,
            "flat is 1",
            "MiB",
        )
        for images in more
    ]
