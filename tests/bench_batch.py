"""Rows on the batch and its processes: the batch against papermill's command line, its bookkeeping, memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from bench_timing import Row, Timing

from lib import batch, networks, profiles, training
from lib.config import PROJECT

RUNS = "bfcn32s-*-big-nohair-*"


def quiet(*command):
    subprocess.run([sys.executable, *map(str, command)], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def fill(configs):
    """Puts data and features of these runs into the cache."""
    for config in configs:
        frozen, _ = networks.halves(training.build(config), config.trainable_blocks)
        training.features(config, training.load_task(config), frozen)


def four_runs(quick):
    """Four runs of the demo by the batch, and by papermill's command line one after the other; caches are filled."""
    only = "bfcn32s-lfw-big-nohair-*" if quick else RUNS
    configs, numbers, studies = profiles.configurations("demo", only), count(), []
    with tempfile.TemporaryDirectory() as folder:
        def ours():
            studies.append(Path(folder) / f"ours{next(numbers)}")
            quiet("-m", "lib.study", "run", "--only", only, "--out", studies[-1])

        def theirs():
            out = f"{folder}/theirs{next(numbers)}"
            for config in configs:
                quiet("-m", "papermill", "notebooks/train.ipynb", f"{folder}/out.ipynb", "-f",
                      "params/profiles/demo.yaml", "-f", f"params/{config.run_id}.yaml", "-p", "out_dir", out)

        fill(configs)
        wall, loop = in_turn(ours, theirs, turns=1 if quick else 2)
        records = [json.loads((study / config.run_id / "record.json").read_text())["seconds"]
                   for study in studies for config in configs]
    turns, workers = len(studies), min(len(batch.gpus()) or batch.cores(), len(configs))
    work = sum(seconds["total"] for seconds in records) / turns
    trained = sum(seconds["training"] + seconds["features"] for seconds in records) / turns
    available = wall.times(workers)
    runs = f"{len(configs)} runs"
    return [Row(f"{runs} of the demo, batch on all cores", "a loop of papermill's CLI", wall, loop, 2.5),
            Row(f"work in the batch of {runs}", "its wall time on all workers", available, Timing(work), 0.85,
                f"start-up and bookkeeping take {1 - work / available.median:.0%} of {workers} workers' time, "
                f"training alone {trained / available.median:.0%}")]


def in_turn(*ways, turns):
    """As `compare`, without a warm-up: for ways that take minutes."""
    taken = [[] for _ in ways]
    for _ in range(turns):
        for way, seconds in zip(ways, taken):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    return [Timing.of(each) for each in taken]


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
        done = subprocess.run([sys.executable, "-c", MEMORY, str(images)], cwd=PROJECT, check=True, text=True,
                              capture_output=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)})
        found[images] = Timing(float(done.stdout.split()[-1]))
    fewest, *more = found
    return [Row(f"private memory of a training, {images} images", f"{fewest} images", found[images], found[fewest], 0.9,
                "flat is 1", "MiB") for images in more]
