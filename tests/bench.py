"""Performance tables, printed and written to outputs/bench/: each row compares two ways in turn, in one process.

`python tests/bench.py` (or `make bench`); times are medians of several turns with their spread (max - min).
"""

import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import ops

from lib import losses, models, profiles, training
from lib.config import PROJECT, resolve


def compare(ours, theirs, turns=5):
    """Seconds of both, in turn after one warm-up each: (median, spread) of ours, then of theirs."""
    times = {ours: [], theirs: []}
    for way in times:
        way()
    for _ in range(turns):
        for way, seconds in times.items():
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    return [figure for seconds in times.values() for figure in (statistics.median(seconds), max(seconds) - min(seconds))]


def step(layer, x):
    """A function that runs `layer` forward and backward on x, compiled as in training."""
    network = keras.Sequential([keras.Input(x.shape[1:]), layer])
    network.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((len(x), *network.output_shape[1:]), "float32")
    return lambda: network.train_on_batch(x, y)


def upsampling(size, stride, batch):
    x = np.random.default_rng(0).normal(size=(batch, size // stride, size // stride, 1)).astype("float32")
    return compare(step(models.Upsampling(stride), x),
                   step(keras.layers.Conv2DTranspose(1, 2 * stride, strides=stride, padding="same"), x))


def epoch(model):
    """Seconds of an epoch on cached features and of the same epoch with the frozen part run every time."""
    config = resolve({"model": model, "synthetic_images": 100, "epochs": 1, "patience": 5})
    task = training.load_task(config)
    def way(cache):
        network, chosen = training.build(config), replace(config, cache_features=cache, epochs=3)
        ends = []
        training.fit(chosen, network, task, [keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: ends.append(time.perf_counter()))])
        return [later - earlier for earlier, later in zip(ends, ends[1:])]  # without the first, which compiles
    pairs = [(way(True), way(False)) for _ in range(2)]
    return [figure for way in zip(*pairs) for seconds in [sum(way, [])]
            for figure in (statistics.median(seconds), max(seconds) - min(seconds))]


def loss():
    """Value of IoU loss against Keras' binary cross-entropy from logits, 100 images at 224 px."""
    rng = np.random.default_rng(0)
    t = ops.convert_to_tensor(rng.integers(0, 2, (100, 224, 224, 1)), "float32")
    z = ops.convert_to_tensor(rng.normal(size=t.shape), "float32")
    reference = keras.losses.BinaryCrossentropy(from_logits=True)
    iou = losses.IoULoss()
    return compare(lambda: ops.convert_to_numpy(iou(t, z)), lambda: ops.convert_to_numpy(reference(t, z)))


def batch(turns=3):
    """Four runs of the demo by the batch, and by the papermill command line one after the other; caches are filled."""
    configs = profiles.configurations("demo", only="bfcn32s-*-big-nohair-*")
    with tempfile.TemporaryDirectory() as folder:
        def ours(number):
            subprocess.run([sys.executable, "-m", "lib.study", "run", "--only", "bfcn32s-*-big-nohair-*", "--out",
                            f"{folder}/ours{number}"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

        def theirs(number):
            for config in configs:
                subprocess.run([sys.executable, "-m", "papermill", "notebooks/train.ipynb", f"{folder}/out.ipynb", "-f",
                                "params/profiles/demo.yaml", "-f", f"params/{config.run_id}.yaml", "-p", "out_dir",
                                f"{folder}/theirs{number}"], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)

        ours("-first")
        times = {ours: [], theirs: []}
        for turn in range(turns):
            for way, seconds in times.items():
                start = time.perf_counter()
                way(turn)
                seconds.append(time.perf_counter() - start)
        return [figure for seconds in times.values()
                for figure in (statistics.median(seconds), max(seconds) - min(seconds))]


MEMORY = """
import sys
import keras, numpy as np
from pathlib import Path
from lib import data, training
from lib.config import resolve

n, folder = int(sys.argv[1]), Path(sys.argv[2])
config = resolve({"epochs": 2, "image_size": 64})
images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (n, 64, 64, 3))
labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (n, 64, 64))
labels[:, 16:48, 16:48] = 1
faces = data.Dataset("lfw", images, labels, tuple(f"{i:05}" for i in range(n)), f"bench{n}", "bench", False, "bench")
task = training.Task(faces, data.split(n, "lfw", "big"), False)
seen = []
def look(*_):
    status = Path("/proc/self/status").read_text()
    seen.append(int(status.split("RssAnon:")[1].split()[0]) / 1024)
training.fit(config, training.build(config), task, [keras.callbacks.LambdaCallback(on_epoch_end=look)])
print(max(seen))
"""


def memory():
    """Private memory of a training process in MiB on 200, 800 and 3200 synthetic images: [(images, MiB), ...]."""
    found = []
    for images in (200, 800, 3200):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-c", MEMORY, str(images), folder], cwd=PROJECT, check=True, text=True,
                                  capture_output=True, env=os.environ | {"IOU_STUDY_CACHE": folder})
            found.append((images, float(done.stdout.split()[-1])))
    return found


ROWS = [
    ("up-sampling by 32, 96 px, batch 20, step", "Conv2DTranspose", lambda: upsampling(96, 32, 20)),
    ("up-sampling by 32, 192 px, batch 20, step", "Conv2DTranspose", lambda: upsampling(192, 32, 20)),
    ("epoch, BFCN-32s, demo size", "frozen part not cached", lambda: epoch("bfcn32s")),
    ("epoch, FCResNet, demo size", "frozen part not cached", lambda: epoch("fcresnet")),
    ("IoU loss, value, 100 images of 224 px", "Keras' BCE from logits", loss),
    ("four runs, batch on all cores", "a loop of papermill's CLI", batch),
]


def main():
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, Python {platform.python_version()}, "
          f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    print(f"{'what':44}{'against':26}{'ours, ms':>16}{'theirs, ms':>18}{'ratio':>8}")
    table = [("what", "against", "ours_s", "ours_spread_s", "theirs_s", "theirs_spread_s", "ratio")]
    for what, against, measure in ROWS:
        ours, ours_spread, theirs, theirs_spread = measure()
        print(f"{what:44}{against:26}{1e3 * ours:9.1f} ±{500 * ours_spread:5.1f}{1e3 * theirs:11.1f} "
              f"±{500 * theirs_spread:5.1f}{theirs / ours:8.2f}", flush=True)
        table.append((what, against, ours, ours_spread, theirs, theirs_spread, theirs / ours))
    sizes = memory() if sys.platform == "linux" else []
    print("private memory of a training process: " + ", ".join(f"{images} images {mib:.0f} MiB" for images, mib in sizes))
    table += [(f"private memory, {images} images, MiB", "", mib, "", "", "", "") for images, mib in sizes]
    path = PROJECT / "outputs" / "bench" / f"{keras.backend.backend()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, newline="") as file:
        csv.writer(file).writerows(table)
    Path(file.name).replace(path)
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
