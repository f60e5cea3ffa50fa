"""Trains one configuration and writes its record: data -> frozen features -> training -> scores -> files."""

import hashlib
import json
import math
import re
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lib import InputError, losses, metrics, models
from lib.beyond import networks, surrogates  # noqa: F401  networks: its rows of models.NETWORKS
from lib.beyond.scores import score
from lib.checks import surroundings
from lib.checks.backend import keras
from lib.config import BEYOND, Config
from lib.data import cache, datasets
from lib.provenance import key, versions
from lib.record import FORMAT, check_size, claim, write

ENCODE_BATCH = 32  # images per step when the frozen layers encode the data
LOSSES = losses.LOSSES | {name: partial(surrogates.Surrogate, name) for name in BEYOND["loss"]}
# Over the batch. "own" is the default of the loss's class; "pooled" here is for cross-entropy, see `loss`.
REDUCTIONS = {"sum": "sum", "mean": "sum_over_batch_size", "pooled": "sum_over_batch_size"}
# Weights that other stopping rules keep of the same training: of the epoch with the lowest validation loss, the loss
# being the run's own, and those of the last epoch (what Keras keeps if nothing is restored).
RULES = ("best_loss", "last")
TRAINED = weakref.WeakSet()  # networks that `run` has begun to train


@dataclass(frozen=True)
class Task:
    """The data of one configuration: the decoded data set, its split, and which pixels are positive."""

    dataset: datasets.Dataset
    split: datasets.Split
    hair: bool
    part: str = ""

    def masks(self, rows) -> np.ndarray:
        """T of the images `rows` (slice or indices): (images, size, size, 1) uint8, 0 or 1."""
        return datasets.binary_masks(self.dataset.labels[rows], self.hair, self.part)[..., None]

    def describe(self) -> dict:
        """Provenance for the record: source of the data, images in each part, share of positive pixels."""
        rows = np.arange(len(self.dataset.ids))
        counts = {part: len(rows[getattr(self.split, part)]) for part in ("train", "validation", "test")}
        return {
            "source": self.dataset.source,
            "note": self.dataset.note,
            "official": self.dataset.official,
            "images": len(self.dataset.ids),
            "counts": counts,
            "scaled": self.split.scaled,
            "digest": self.dataset.digest,
            "positive_share": round(float(self.masks(self.split.test).mean()), 6),
        }


def load_task(config: Config) -> Task:
    """Loads the data of a configuration; on first use they are decoded."""
    dataset = datasets.load(image_size=config.image_size, **config.dataset_arguments())
    return Task(dataset, dataset.split(**config.split_arguments()), config.hair, config.part)


def build(config: Config) -> keras.Model:
    """The network of a configuration, initialised from its seed."""
    keras.utils.set_random_seed(config.seed)
    network = models.build(
        config.model,
        config.image_size,
        config.encoder_width,
        config.fc_units,
        config.encoder_weights,
        config.trainable_blocks,
        config.score_start,
        config.dropout,
    )
    if config.batch_norm == "frozen":
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization) and not layer.name.startswith("decoder"):
                layer.trainable = False  # Keras then runs the layer in inference mode
    return network


def loss(config: Config) -> keras.losses.Loss:
    """The loss of a configuration, with its reduction over the batch.

    "pooled" treats the pixels of the batch as one image; for cross-entropy that is the mean over images of equal size.
    """
    if config.loss_reduction == "pooled" and config.loss != "bce":
        return surrogates.Surrogate("jaccard" if config.loss == "iou" else config.loss, pooled=True)
    reduction = {} if config.loss_reduction == "own" else {"reduction": REDUCTIONS[config.loss_reduction]}
    return LOSSES[config.loss](**reduction)


class Batches(keras.utils.PyDataset):
    """Batches (inputs, masks) of one part of a split, read from memory maps: all images in `len` batches.

    `inputs` are cached features, (n, h, w, channels) float32, or None for the images themselves, preprocessed. With a
    seed, each epoch has another order and the batches are endless: Keras then keeps its reader over all epochs; with a
    finite number of batches it starts two readers per epoch. If reading is slower than training, TensorFlow prefetches
    batches while the validation part is scored, about as many as that part has.
    """

    def __init__(self, task, part, model, inputs, batch_size, seed=None):
        super().__init__()
        self.task, self.model, self.inputs, self.batch_size, self.seed = task, model, inputs, batch_size, seed
        self.rows = np.arange(len(task.dataset.ids))[part]

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    @property
    def num_batches(self):
        return len(self) if self.seed is None else None

    def __getitem__(self, step):
        epoch, step = divmod(step, len(self))
        order = (
            self.rows if self.seed is None else (np.random.default_rng([self.seed, epoch + 1]).permutation(self.rows))
        )
        rows = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])  # sorted: fewer seeks
        if self.inputs is None:
            return models.preprocess(self.model, self.task.dataset.images[rows]), self.task.masks(rows)
        return self.inputs[rows], self.task.masks(rows)


def features(config: Config, task: Task, frozen: keras.Model) -> np.ndarray:
    """Output of the frozen layers for every image of the data set, computed once and memory-mapped.

    All runs with the same images, frozen weights and backend share it, with any loss, size or hair.

    Returns:
        (n, h, w, channels) float32, read-only, in the data set's order.
    """
    weights = hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in frozen.get_weights())).hexdigest()
    name = json.dumps(
        [
            task.dataset.digest,
            config.image_size,
            config.model,
            frozen.output.name,
            weights,
            keras.backend.backend(),
            keras.__version__,
            config.threads,
            FORMAT,
        ]
    )
    folder = cache.cache_root() / f"features-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    shape = (len(task.dataset.ids), *frozen.output.shape[1:])

    def opened():
        try:
            array = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return array if array.shape == shape else None

    def fill(partial):
        cache.check_space(partial, 4 * math.prod(shape), f"the output of the frozen part of {config.model}")
        array = np.lib.format.open_memmap(partial / "features.npy", "w+", np.float32, shape)
        for start in range(0, shape[0], ENCODE_BATCH):
            images = task.dataset.images[start : start + ENCODE_BATCH]
            array[start : start + len(images)] = frozen.predict_on_batch(models.preprocess(config.model, images))
        array.flush()

    return cache.build_once(folder, opened, fill)


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises InputError after an epoch whose mean loss is NaN or infinite, as it is if the loss of any step is.

    To check the loss of each step would wait for the device each time.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise diverged(self.config, f"the loss became {logs['loss']} in epoch {epoch + 1}")


def diverged(config: Config, what: str) -> InputError:
    """The sentence about a training without finite numbers."""
    return InputError(f"{config.run_id}: {what}; lower learning_rate (now {config.learning_rate:g}) or check the data")


def refuse_non_finite(config: Config, kept: list) -> None:
    """Raises InputError if weights or losses (lists of arrays or numbers) are NaN or infinite.

    The last step of a training can make them so, after the last loss that `StopOnNonFinite` sees.
    """
    if not all(values is not None and np.isfinite(value).all() for values in kept for value in values or [np.nan]):
        raise diverged(config, "weights or validation losses became NaN or infinite")


class DeadUnits(keras.callbacks.Callback):
    """Finds the units of the fully connected convolutions that are 0 at every position of every validation image."""

    def __init__(self, network, start, batches):
        """`start` is the tensor of `network` that the batches hold: images or features."""
        super().__init__()
        self.batches, self.first_epoch = batches, {}
        self.layers = [layer for layer in network.layers if re.fullmatch(r"fc\d", layer.name)]
        self.maps = keras.Model(start, [layer.output for layer in self.layers]) if self.layers else None

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.first_epoch = self.shares()

    def shares(self) -> dict[str, float]:
        """Share of dead units by layer, with the weights as they are now; empty where the head has no such layer."""
        alive = [np.zeros(layer.filters, bool) for layer in self.layers]
        for step in range(len(self.batches)) if self.layers else ():
            outputs = self.maps.predict_on_batch(self.batches[step][0])
            for found, maps in zip(alive, outputs if isinstance(outputs, list) else [outputs]):  # (B, n, n, units)
                found |= (keras.ops.convert_to_numpy(maps) > 0).any(axis=(0, 1, 2))
        return {layer.name: float(np.mean(~found)) for layer, found in zip(self.layers, alive)}


class LastWeights(keras.callbacks.Callback):
    """Keeps the weights at the end of the training, in `weights`. It comes before callbacks that restore others."""

    def on_train_end(self, logs=None):
        self.weights = self.model.get_weights()


def fit(config: Config, network: keras.Model, task: Task, callbacks=()) -> tuple[dict, dict]:
    """Trains `network` in place as in Table 2: RMSprop until `monitor` has not improved for `patience` epochs.

    The network gets the weights of the best epoch, or with `restore_best` false keeps those of the last.

    Returns:
        (history, info): `history` has columns with a value for each epoch, `epoch` from 1; `info` has `best_epoch`,
        `epochs_run`, `seconds` for `features` and `training`, `dead_units` of the first and the best epoch (see
        `DeadUnits`; without `restore_best` of the last), `epochs_kept`: the epoch of each of `RULES`, and `predict`: a
        function from a slice of the data set, and one of `RULES` if it is not to be the network's own weights, to P,
        (images, size, size, 1) float32.
    """
    start = time.time()
    frozen, trained = models.halves(network, config.trainable_blocks)
    inputs = None
    if frozen is not None and config.cache_features:
        inputs = features(config, task, frozen)
    elif frozen is not None:
        trained = keras.Model(network.input, network.get_layer("logits").output)
    encoded = time.time()
    train, validation = (
        Batches(task, getattr(task.split, part), config.model, inputs, config.batch_size, seed)
        for part, seed in (("train", config.seed), ("validation", None))
    )
    trained.compile(
        keras.optimizers.RMSprop(config.learning_rate, epsilon=config.rmsprop_epsilon),
        loss(config),
        metrics=[metrics.accuracy, metrics.iou, metrics.iou_soft],
    )
    stopping = keras.callbacks.EarlyStopping(
        config.monitor,
        patience=config.patience,
        restore_best_weights=config.restore_best,
        mode="min" if config.monitor.endswith("loss") else "max",
    )
    lowest = keras.callbacks.EarlyStopping("val_loss", patience=config.epochs, restore_best_weights=True, mode="min")
    last = LastWeights()
    dead = DeadUnits(network, network.input if inputs is None else frozen.output, validation)
    if keras.backend.backend() == "tensorflow":
        # TensorFlow traces a function twice if it makes variables. So those of optimizer and metrics are made first.
        trained.optimizer.build(trained.trainable_variables)
        trained.evaluate(validation, steps=1, verbose=0)
    fitted = trained.fit(
        train,
        steps_per_epoch=len(train),
        validation_data=validation,
        epochs=config.epochs,
        verbose=0,
        shuffle=False,
        callbacks=[StopOnNonFinite(config), last, lowest, stopping, dead, *callbacks],
    )
    history = {"epoch": [epoch + 1 for epoch in fitted.epoch], **fitted.history}
    own = stopping.best_weights if config.restore_best else last.weights
    rules = dict(zip(RULES, (lowest.best_weights, last.weights)))
    refuse_non_finite(config, [own, *rules.values(), fitted.history["val_loss"]])
    trained.set_weights(own)

    def predict(part, rule=None):
        trained.set_weights(rules.get(rule, own))
        logits = trained.predict(Batches(task, part, config.model, inputs, config.batch_size), verbose=0)
        trained.set_weights(own)
        return keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))

    return history, {
        "best_epoch": stopping.best_epoch + 1,
        "epochs_run": len(fitted.epoch),
        "epochs_kept": dict(zip(RULES, (lowest.best_epoch + 1, len(fitted.epoch)))),
        "dead_units": {"first_epoch": dead.first_epoch, "best_epoch": dead.shares()},
        "predict": predict,
        "seconds": {"features": encoded - start, "training": time.time() - encoded},
    }


def evaluate(
    task: Task, predict: Callable[..., np.ndarray]
) -> tuple[dict[str, float], dict[str, np.ndarray], np.ndarray]:
    """Scores of a trained network on the test part, with `predict` of `fit`.

    Returns:
        (scores, per_image, P): those of `metrics.score` and of `beyond.scores.score`, which chooses a threshold on
        the validation part, and those of `metrics.score` with the weights of each of `RULES`, as "iou_best_loss";
        P is (images, size, size, 1) float32.
    """
    parts = {
        part: (task.masks(rows), predict(rows))
        for part, rows in (("validation", task.split.validation), ("test", task.split.test))
    }
    masks, probabilities = parts["test"]
    scores, per_image = metrics.score(masks, probabilities)
    more, more_per_image = score(*((t, metrics.quantise(p)) for t, p in parts.values()))
    for rule in RULES:
        found, each = metrics.score(masks, predict(task.split.test, rule))
        more |= {f"{name}_{rule}": value for name, value in found.items()}
        more_per_image |= {f"{name}_{rule}": each[name] for name in ("iou", "iou_soft")}
    return scores | more, per_image | more_per_image, probabilities


def run(config: Config, folder: Path, network=None, task=None, callbacks=()) -> dict:
    """Trains a configuration, scores it on the test part and writes its files into `folder`, the record last.

    `network` and `task` are the results of `build` and `load_task`, if the caller has them already. A network that a
    run has begun to train is not used again, a new one is built: a record is that of a fresh network.

    Files: `history.csv`, `per_image.csv`, `probabilities.npz` (uint8 255 P of the test part, and ids) and
    `record.json`, which is returned as a dict. An earlier run in `folder` is set aside, never overwritten.

    Raises:
        InputError: bad data, weights or parameters, a folder that cannot be written, or a loss that is NaN or infinite.
    """
    folder = Path(folder)
    surroundings.own()
    claim(folder)
    start = time.time()
    filed_under, key_parts = key(config)
    task = task or load_task(config)
    ids = np.array(task.dataset.ids)[task.split.test]
    check_size(len(ids), config.image_size, ids)
    loaded = time.time()
    network = build(config) if network is None or network in TRAINED else network
    TRAINED.add(network)
    surroundings.check_network(network)
    built = time.time()
    history, outcome = fit(config, network, task, callbacks)
    fitted = time.time()
    scores, per_image, probabilities = evaluate(task, outcome["predict"])
    trainable, frozen = models.parameters(network)
    record = {
        "format": FORMAT,
        "run_id": config.run_id,
        "params": asdict(config),
        "scores": scores,
        "epochs_run": outcome["epochs_run"],
        "best_epoch": outcome["best_epoch"],
        "epochs_kept": outcome["epochs_kept"],
        "dead_units": outcome["dead_units"],
        "seed": config.seed,
        "seconds": {
            "data": loaded - start,
            "model": built - loaded,
            **outcome["seconds"],
            "scoring": time.time() - fitted,
            "total": time.time() - start,
        },
        "weights": {"trainable": trainable, "frozen": frozen},
        "data": task.describe(),
        "versions": versions(),
        "surroundings": surroundings.held(),
        "key": filed_under,
        "key_parts": key_parts,
    }
    record["seconds"] = {phase: round(seconds, 3) for phase, seconds in record["seconds"].items()}
    write(folder, record, history, {"id": ids, **per_image}, metrics.quantise(probabilities[..., 0]))
    return record
