"""Rows on training: the up-sampling layer, an epoch of the recipe, and the share of the machine's peak."""

import math
from contextlib import contextmanager

import keras
import numpy as np
from bench_timing import MODELS, Row, Timing, compare, epochs, made_up_task, on_gpu, sized
from keras import ops

from lib import metrics, models, training
from lib.analysis import paper
from lib.config import CELLS


def step(network, x, y, loss="mse"):
    """A function that runs `network` forward and backward on the batch, compiled as in training."""
    network.compile(keras.optimizers.SGD(0.0), loss)
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    return lambda: network.train_on_batch(x, y)


def upsampling(quick):
    rows = []
    for size in (64,) if quick else (96, 192):  # at 224 px the rival's gradient aborts TensorFlow on CPUs
        x = np.random.default_rng(0).normal(size=(20, size // 32, size // 32, 1)).astype("float32")
        ways = [
            keras.Sequential([keras.Input(x.shape[1:]), layer])
            for layer in (models.Upsampling(32), keras.layers.Conv2DTranspose(1, 64, strides=32, padding="same"))
        ]
        y = np.zeros((20, size, size, 1), "float32")
        ours, theirs = compare(*(step(network, x, y) for network in ways), quick=quick)
        rows.append(
            Row(
                f"up-sampling by 32, {size} px, batch 20, step",
                "Conv2DTranspose",
                ours,
                theirs,
                1.0 if on_gpu() else 2.0,
            )
        )
    return rows


class Epochs(training.Batches):
    """The same batches as a data set of Keras is usually written: with an end, and reshuffled by `on_epoch_end`."""

    epoch = -1  # `fit` calls `on_epoch_end` before the first, too
    num_batches = property(len)

    def __getitem__(self, step):
        return super().__getitem__(self.epoch * len(self) + step)

    def on_epoch_end(self):
        self.epoch += 1


def epoch(model, quick):
    """An epoch by `training.fit`, and by Keras' own `fit` of the whole network on the same batches."""
    full = on_gpu() and not quick
    config = sized(model, full, epochs=2 if quick else 4, patience=10, **({"image_size": 32} if quick else {}))
    task = made_up_task(20 if quick else 500 if full else 100, config.image_size)

    def ours(network):
        return epochs(lambda callbacks: training.fit(config, network, task, callbacks))

    def plain(network):
        whole = keras.Model(network.input, network.get_layer("logits").output)
        train = Epochs(task, task.split.train, model, None, config.batch_size, config.seed)
        validation = training.Batches(task, task.split.validation, model, None, config.batch_size)
        whole.compile(
            keras.optimizers.RMSprop(config.learning_rate, epsilon=config.rmsprop_epsilon),
            training.loss(config),
            metrics=[metrics.accuracy, metrics.iou, metrics.iou_soft],
        )
        best = keras.callbacks.EarlyStopping(
            config.monitor, patience=config.patience, mode="max", restore_best_weights=True
        )
        return epochs(
            lambda callbacks: whole.fit(
                train,
                validation_data=validation,
                epochs=config.epochs,
                verbose=0,
                shuffle=False,
                callbacks=[best, *callbacks],
            )
        )

    seconds, weights, start = ([], []), [None, None], flat(training.build(config))
    for _ in range(1 if quick else 2):
        for number, way in enumerate((ours, plain)):
            network = training.build(config)
            seconds[number].extend(way(network))
            weights[number] = flat(network)
    apart = np.linalg.norm(weights[0] - weights[1]) / np.linalg.norm(weights[1] - start)
    name = f"{MODELS[model]}, {'full' if full else 'demo'} size"
    timings = [Timing.of(each) for each in seconds]
    frozen, trained = models.halves(training.build(config), config.trainable_blocks)
    features = training.Batches(
        task, task.split.train, model, training.features(config, task, frozen), config.batch_size, config.seed
    )
    (reading,) = compare(lambda: [features[number] for number in range(len(features))], quick=quick)
    limit = 1 + flops(frozen) / (3 * flops(trained))
    return [
        Row(
            f"training epoch, {name}",
            "plain fit, whole network",
            *timings,
            3.0 if on_gpu() else 4.0,
            f"after {config.epochs} epochs the two differ by {apart:.1e} of what training changed in the weights",
            cause=f"by operations alone it would be {limit:.2f}: the trained part costs both the same three passes; tried "
            "without gain: several steps in a call (steps_per_execution), arrays in place of batches, no scores while "
            "training, readers in threads of Keras, the 7x7 convolution cropped to the taps that meet a 3x3 map, or as "
            "a dense matrix",
        ),
        Row(
            f"reading that epoch's features, {name}",
            "the epoch",
            reading,
            timings[0],
            1.0,
            "above 1: limited by compute, not by data",
        ),
    ]


def flat(network):
    return np.concatenate([weight.ravel() for weight in network.get_weights()]).astype("float64")


# ---- the share of the peak ---------------------------------------------------------------------------------


def flops(network):
    """Floating-point operations of one image forward: two for each product of its convolutions, padding counted."""
    return sum(layer_flops(layer) for layer in network.layers)


def layer_flops(layer):
    return (
        2 * math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        if isinstance(layer, keras.layers.Conv2D)
        else 0
    )


def compiled(function):
    """`function` compiled by the backend; it gives one number, which is waited for."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        function = jax.jit(function)
    elif backend == "tensorflow":
        import tensorflow as tf

        function = tf.function(function)
    return lambda *arrays: float(function(*arrays))


@contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def fully_connected(config, channels):
    """The fully connected convolutions of BFCN-32s, after a layer that makes them pass their gradient on."""
    cells = config.image_size // models.STRIDE
    return keras.Sequential(
        [
            keras.Input((cells, cells, channels)),
            keras.layers.DepthwiseConv2D(1),
            *(keras.layers.Conv2D(config.fc_units, kernel, padding="same", activation="relu") for kernel in (7, 1)),
        ]
    )


def peak(quick):
    """Steps of BFCN-32s, demo and full size, as shares of a large matrix product's rate, measured in turn with it."""
    dtype, side = ("bfloat16", 8192) if on_gpu() else ("float32", 2048)
    if quick:
        side = 512
    rng, product = np.random.default_rng(0), compiled(lambda a, b: ops.max(ops.matmul(a, b)))
    a, b = (ops.convert_to_tensor(rng.normal(size=(side, side)), dtype) for _ in range(2))
    rows = []
    for size in ("demo",) if quick else ("demo", "full"):
        with policy("mixed_bfloat16" if on_gpu() else "float32"):
            config = sized("bfcn32s", size == "full")
            batch = 100 if on_gpu() else 10
            _, trained = models.halves(training.build(config), config.trainable_blocks)
            head = fully_connected(config, trained.get_layer("block5_pool").output.shape[-1])
        x, inputs = (rng.normal(size=(batch, *each.inputs[0].shape[1:])).astype("float32") for each in (trained, head))
        mask = rng.integers(0, 2, (batch, config.image_size, config.image_size, 1)).astype("uint8")
        trained.compile(
            keras.optimizers.RMSprop(config.learning_rate, epsilon=config.rmsprop_epsilon), training.loss(config)
        )
        x, mask = ops.convert_to_tensor(x), ops.convert_to_tensor(mask)
        rate, convolutions, whole = compare(
            lambda: product(a, b),
            step(head, inputs, np.zeros((batch, *head.outputs[0].shape[1:]), "float32")),
            lambda network=trained: network.train_on_batch(x, mask),
            quick=quick,
            turns=5,
        )
        at_peak = rate.times(1 / (2 * side**3))  # seconds of one operation
        first = next(layer for layer in trained.layers if layer_flops(layer))
        work = {
            "fully connected convolutions, step": (convolutions, 3 * flops(head), 0.5),
            "training step on cached features": (
                whole,
                3 * flops(trained) - layer_flops(first),
                0.5 if on_gpu() else None,
            ),
        }
        for what, (timing, operations, wanted) in work.items():
            rows.append(
                Row(
                    f"share of the peak, {size} size: {what}",
                    f"{dtype} matrix product",
                    timing,
                    at_peak.times(batch * operations),
                    wanted,
                    f"{batch * operations / timing.median / 1e9:.1f} of {1e-9 / at_peak.median:.1f} GFLOP/s, "
                    f"batch {batch}, {batch * operations / 1e9:.3g} GFLOP",
                    cause=""
                    if size == "full"
                    else "products on 3x3 maps with 64 channels are too small to fill a core; see the full size",
                )
            )
        keras.backend.clear_session()
        del trained, head
    return rows


# ---- the paper's study -------------------------------------------------------------------------------------

H200 = 989e12  # operations a second of dense bfloat16 products, by its maker's data sheet


def paper_profile(quick):
    """The 32 runs at full size, extrapolated from steps measured here: the paper's epochs, and `patience` more.

    An epoch trains on cached features and scores the validation part; the features of a data set are taken once for
    each network. Loading, drawing and start-up are not counted.
    """
    batch = 100 if on_gpu() else 2 if quick else 10
    total = spread = work = volume = 0.0
    for model in MODELS:
        with policy("mixed_bfloat16" if on_gpu() else "float32"):
            config = sized(model, not quick)
            frozen, trained = models.halves(training.build(config), config.trainable_blocks)
        rng = np.random.default_rng(0)
        images, x = (
            ops.convert_to_tensor(rng.normal(size=(batch, *each.inputs[0].shape[1:])).astype("float32"))
            for each in (frozen, trained)
        )
        mask = ops.convert_to_tensor(
            rng.integers(0, 2, (batch, config.image_size, config.image_size, 1)).astype("uint8")
        )
        trained.compile(
            keras.optimizers.RMSprop(config.learning_rate, epsilon=config.rmsprop_epsilon), training.loss(config)
        )
        step, score, encode = compare(
            lambda: trained.train_on_batch(x, mask),
            lambda: trained.predict_on_batch(x),
            lambda: frozen.predict_on_batch(images),
            quick=quick,
            turns=3,
        )
        steps, scored = image_passes(model, config.patience)
        encoded = sum(sum(paper.SPLITS[dataset, "big"]) for dataset in paper.DATASETS)
        volume += (steps + scored) * 4 * math.prod(trained.inputs[0].shape[1:])
        for timing, images_passed, operations in (
            (step, steps, 3 * flops(trained)),
            (score, scored, flops(trained)),
            (encode, encoded, flops(frozen)),
        ):
            total += timing.median * images_passed / batch
            spread += timing.spread * images_passed / batch
            work += operations * images_passed
        keras.backend.clear_session()
    return [
        Row(
            f"the 32 runs of the paper profile, extrapolated{' from the demo size' if quick else ''}",
            "30 minutes",
            Timing(total / 3600, spread / 3600),
            Timing(0.5),
            1.0 if on_gpu() else None,
            f"extrapolated, not run: {work / 1e15:.3g} PFLOP; 50 % of an H200's {H200 / 1e12:.0f} TFLOP/s would take "
            f"{work / H200 * 2 / 60:.0f} minutes (not measured), beside which {volume / 1e12:.1f} TB of cached features "
            "are read",
            "h",
        )
    ]


def image_passes(model, patience):
    """Images that the 16 runs of this network train on and score in all their epochs, by the paper's tables."""
    trained = scored = 0
    for cell, row in zip(CELLS, paper.ROWS):
        if cell.model == model:
            epochs = sum(row[4:]) + 2 * patience
            train, validation, _ = paper.SPLITS[cell.dataset, cell.size]
            trained, scored = trained + epochs * train, scored + epochs * validation
    return trained, scored
