"""Trains the small `demo` encoders of the project: `python -m lib.weights.pretrain bfcn32s|fcresnet`.

They replace ImageNet weights when the study runs small and offline. The task is not that of the study: for every square
of 16 and of 32 pixels, predict which share of it each part of a synthetic face covers (softmax cross-entropy). The
faces have their own seeds, so that no face of a study is among them.
"""

import argparse
import functools
import json
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from lib import models
from lib.checks.backend import keras
from lib.data import synthetic

WIDTH = 0.25
SEED = 20190  # the faces' seed; the studies' faces use other seed sequences
# Left and right parts share a class, so that images may be flipped.
CLASSES = np.array([0, 1, 2, 2, 3, 3, 4, 5, 6, 5, 7])  # HELEN's 11 parts -> background, skin, brow, eye, ...


def _face(index, size):
    image, parts = synthetic.draw_face(np.random.default_rng([SEED, index]), size)
    return image, CLASSES[parts].astype("uint8")


def faces(n, size):
    """Draws `n` faces: (n, size, size, 3) uint8 images and (n, size, size) uint8 classes 0 to 7."""
    with ProcessPoolExecutor(2) as pool:
        drawn = list(pool.map(functools.partial(_face, size=size), range(n), chunksize=50))
    return tuple(np.stack(arrays) for arrays in zip(*drawn))


def shares(classes, cell):
    """Share of each class in squares of side `cell`: (n, size, size) -> (n, size / cell, size / cell, 8) float32."""
    one_hot = np.eye(CLASSES.max() + 1, dtype="float32")[classes]  # (n, s, s, 8)
    n, size, _, k = one_hot.shape
    return one_hot.reshape(n, size // cell, cell, size // cell, cell, k).mean((2, 4))


class Batches(keras.utils.PyDataset):
    """Shuffled batches with random flips, brightness, contrast and colour cast."""

    def __init__(self, model, images, classes, batch_size, rng):
        super().__init__()
        self.model, self.images, self.classes, self.batch_size, self.rng = model, images, classes, batch_size, rng
        self.order = rng.permutation(len(images))

    def __len__(self):
        return len(self.images) // self.batch_size

    def __getitem__(self, step):
        rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        x, c, rng = self.images[rows].astype("float32"), self.classes[rows], self.rng
        flip = rng.random(len(rows)) < 0.5
        x[flip], c[flip] = x[flip, :, ::-1], c[flip, :, ::-1]
        gain, cast = rng.uniform(0.6, 1.4, (len(rows), 1, 1, 1)), rng.uniform(0.85, 1.15, (len(rows), 1, 1, 3))
        x = np.clip((x - 128) * gain * cast + 128 + rng.uniform(-30, 30, (len(rows), 1, 1, 1)), 0, 255)
        return models.preprocess(self.model, x), (shares(c, 16), shares(c, 32))

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.images))


def pretrain(model, n_images=3000, size=128, epochs=10, batch_size=32, learning_rate=1e-3):
    """Trains the encoder of `model` at width 0.25 and writes its weights as float16 under `lib/weights`.

    Returns:
        dict with the settings and the loss on 10 % held-out faces (nats per square, summed over both sizes).
    """
    start = time.time()
    keras.utils.set_random_seed(SEED)
    images, classes = faces(n_images, size)
    print(f"{n_images} faces drawn in {time.time() - start:.0f} s", flush=True)
    base = models.encoder(model, size, WIDTH, "none")
    first = next(layer for layer in base.layers if layer.weights)
    first.kernel.assign(first.kernel / 64)  # inputs are about 64 times as large as He's rule expects
    outputs = [
        keras.layers.Conv2D(CLASSES.max() + 1, 1, activation="softmax", name=f"parts{cell}")(
            base.get_layer(layer).output
        )
        for cell, layer in ((16, models.NETWORKS[model].blocks[-2]), (32, models.NETWORKS[model].blocks[-1]))
    ]
    network = keras.Model(base.input, outputs)
    n_train = n_images * 9 // 10
    train = Batches(model, images[:n_train], classes[:n_train], batch_size, np.random.default_rng(SEED))
    steps = epochs * len(train)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, steps, warmup_target=learning_rate, warmup_steps=steps // 20
    )
    network.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), ["categorical_crossentropy"] * 2)
    held_out = (
        models.preprocess(model, images[n_train:]),
        (shares(classes[n_train:], 16), shares(classes[n_train:], 32)),
    )
    history = network.fit(train, validation_data=held_out, epochs=epochs, verbose=2)
    path = models.weights_path(model, "demo")
    path.parent.mkdir(exist_ok=True)
    keras.config.set_dtype_policy("float16")
    half = models.encoder(model, size, WIDTH, "none")
    half.set_weights(base.get_weights())
    half.save_weights(path)
    keras.config.set_dtype_policy("float32")
    report = {
        "model": model,
        "width": WIDTH,
        "seed": SEED,
        "images": n_images,
        "image_size": size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "seconds": round(time.time() - start),
        "held_out_loss": round(float(history.history["val_loss"][-1]), 4),
    }
    path.with_suffix("").with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=models.NETWORKS)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    print(json.dumps(pretrain(arguments.model, arguments.images, epochs=arguments.epochs), indent=1))
