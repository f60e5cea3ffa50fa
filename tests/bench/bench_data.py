"""Rows on reading: decoding files of LFW's layout, and reading an epoch, against three other pipelines.

All read the same extracted folder and give images and binary masks, except Keras' `image_dataset_from_directory`, which
cannot read the label files (PPM) and gives images alone.
"""

import itertools
import tempfile
from pathlib import Path

import keras
import numpy as np
from bench_timing import MISSING, Row, compare, installed
from PIL import Image

try:
    import tensorflow as tf
except ImportError:  # on another backend
    tf = None

from lib import data, models, training
from lib.data import synthetic

MEAN = np.array((103.939, 116.779, 123.68), "float32")  # of ImageNet, BGR, as `models.preprocess` takes it off
BATCH = 32
CAUSE = (
    "an image takes 0.95 ms to decode and resize with Pillow, which two threads do 1.9 times as fast as one; ours alone "
    "decodes labels and checks their colours (0.3 ms, on one thread: two wait for Python's lock), lists and hashes what it "
    "reads (0.3 ms), writes the mapped cache and waits until the disk has it (0.15 to 0.5 ms); tried without gain: more "
    "threads, threads that read and write themselves, larger blocks, memory in place of the map, two processes"
)


def files(root):
    """Paths of images and label files, in the order of `data.load`."""
    labels = sorted((root / "parts_lfw_funneled_gt_images").glob("*.ppm"))
    return [str(root / "lfw_funneled" / path.stem[:-5] / f"{path.stem}.jpg") for path in labels], list(map(str, labels))


def tf_data(root, size):
    """Decoded (images, masks) as a tf.data pipeline: uint8 (size, size, 3) and (size, size, 1)."""

    def decode(image, label):
        picture = tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(image), 3), (size, size), antialias=True)
        content = tf.io.read_file(label)  # TensorFlow has no decoder for PPM, whose pixels end the file
        pixels = tf.io.decode_raw(tf.strings.substr(content, tf.strings.length(content) - 250 * 250 * 3, -1), tf.uint8)
        mask = tf.reshape(pixels, (250, 250, 3))[..., 1:2] // 255  # green is face
        return tf.cast(tf.round(picture), tf.uint8), tf.image.resize(mask, (size, size), "nearest")

    return tf.data.Dataset.from_tensor_slices(files(root)).map(decode, num_parallel_calls=tf.data.AUTOTUNE)


def of_batches(decoded):
    """Batches of preprocessed images and masks, from decoded ones."""
    return (
        decoded.batch(BATCH)
        .map(
            lambda images, masks: (tf.cast(images, tf.float32)[..., ::-1] - MEAN, masks),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def keras_directory(root, size):
    return keras.utils.image_dataset_from_directory(
        str(root / "lfw_funneled"), labels=None, image_size=(size, size), batch_size=BATCH, shuffle=False, verbose=False
    )


class Pictures:
    """The files as a data set of torch: decoded image and mask by Pillow."""

    def __init__(self, root, size):
        self.pairs, self.size = list(zip(*files(root))), size

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, row):
        image, label = self.pairs[row]
        picture = Image.open(image).convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        mask = np.asarray(Image.open(label))[..., 1] // 255
        return np.asarray(picture), np.asarray(Image.fromarray(mask).resize((self.size,) * 2, Image.Resampling.NEAREST))


def stacked(pairs):
    return tuple(map(np.stack, zip(*pairs)))


def preprocessed(pairs):
    images, masks = stacked(pairs)
    return models.preprocess("bfcn32s", images), masks[..., None]


def torch_loader(root, size, collate):
    """A DataLoader with two workers, which stay from epoch to epoch."""
    import torch

    return torch.utils.data.DataLoader(
        Pictures(root, size),
        BATCH,
        num_workers=2,
        persistent_workers=True,
        collate_fn=collate,
        timeout=120,
        multiprocessing_context="fork",
    )


def through(batches):
    """A function that passes through all batches once, as numpy."""

    def read():
        for batch in batches:
            for array in batch if isinstance(batch, (tuple, list)) else (batch,):
                np.asarray(array)

    return read


def check_same(faces, decoded, count=16):
    """Raises AssertionError unless a pipeline's first images and masks are ours, but for the rounding of resizing."""
    for row, (image, mask) in enumerate(itertools.islice(decoded, count)):
        ours = faces.images[row].astype("float32")
        assert np.abs(ours - np.asarray(image, "float32")).mean() < 4, f"image {row} differs"
        assert (
            data.binary_masks(faces.labels[row], False) != np.asarray(mask).reshape(faces.labels[row].shape)
        ).mean() < 0.02, f"mask {row} differs"


def reading(quick):
    """Decoding into an empty cache, and one epoch's preprocessed batches from it; the others decode every epoch."""
    count, size = (16, 64) if quick else (300, 224)
    with tempfile.TemporaryDirectory() as folder:
        root, numbers = synthetic.write_lfw(Path(folder) / "data", count), itertools.count()

        def decode():
            return data.load("lfw", size, root, Path(folder) / f"cache{next(numbers)}")

        faces = decode()
        task = training.Task(faces, data.split(count, "lfw", "big"), False)
        batches = training.Batches(task, slice(0, count), "bfcn32s", None, BATCH, seed=0)
        others = ("image_dataset_from_directory", "DataLoader, 2 workers")
        once = dict.fromkeys(("tf.data", "tf.data, cached on disk", *others))
        each = dict.fromkeys(("tf.data", "tf.data, cached in memory", *others))
        notes = {"image_dataset_from_directory": "its images alone: it cannot read the labels"}
        if tf:
            decoded, directory = tf_data(root, size), keras_directory(root, size)
            check_same(faces, decoded)
            once |= {
                "tf.data": through(decoded.batch(BATCH).prefetch(tf.data.AUTOTUNE)),
                "tf.data, cached on disk": lambda: through(
                    decoded.cache(f"{folder}/tf-cache{next(numbers)}").batch(BATCH).prefetch(tf.data.AUTOTUNE)
                )(),
                "image_dataset_from_directory": through(directory),
            }
            each |= {
                "tf.data": through(of_batches(decoded)),
                "tf.data, cached in memory": through(of_batches(decoded.cache())),
                "image_dataset_from_directory": through(
                    directory.map(lambda images: images[..., ::-1] - MEAN).prefetch(tf.data.AUTOTUNE)
                ),
            }
        if installed("torch"):
            check_same(faces, Pictures(root, size))
            once["DataLoader, 2 workers"] = through(torch_loader(root, size, stacked))
            each["DataLoader, 2 workers"] = through(torch_loader(root, size, preprocessed))
        rows = []
        for what, ours, theirs, wanted in (
            (f"decoding {count} images of LFW into the cache", decode, once, 2.0),
            (
                f"reading an epoch of {count} images of {size} px",
                lambda: [batches[i] for i in range(len(batches))],
                each,
                1.0,
            ),
        ):
            there = [way for way in theirs.values() if way]
            own, *timings = compare(ours, *there, quick=quick, turns=4)
            timings = iter(timings)
            for against, way in theirs.items():
                other = next(timings) if way else None
                rows.append(
                    Row(
                        what,
                        against,
                        own,
                        other,
                        wanted,
                        "; ".join(
                            filter(
                                None,
                                (
                                    f"{count / own.median:.0f} images/s against {count / other.median:.0f}",
                                    notes.get(against),
                                ),
                            )
                        )
                        if other
                        else MISSING,
                        cause=CAUSE,
                    )
                )
    return rows
