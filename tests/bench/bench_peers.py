"""Rows against the field's libraries: the loss against smp and MONAI, predicting against an smp network.

Where they are not installed, their rows say so.
"""

import math

import keras
import numpy as np
from bench_timing import MISSING, Row, compare, installed, made_up_task, on_gpu, sized
from bench_training import flops
from keras import ops

from lib import losses, models, training

CAUSES = {
    "tensorflow": "TensorFlow takes some nine passes through memory, an operation each, as torch does; tried: its "
    "gradient in closed form (a sixth less in one measurement, nothing in another, nothing on JAX and "
    "torch), sums as matrix products or in two steps, masks in place of products (no gain)",
    "jax": "XLA's sums on a CPU go one element at a time; a mask in place of the product is faster here and three "
    "times slower on torch",
    "torch": "both take the same operations of torch, a third of the time its gradient of the sigmoid: the ratio goes "
    "from 0.7 to 1.04 from run to run",
}
SMP, MONAI = "smp JaccardLoss, torch", "MONAI DiceLoss(jaccard=True), torch"


# ---- the loss ----------------------------------------------------------------------------------------------


def value_and_gradient(loss, mask, logits):
    """Two functions: one computes value and gradient in the logits, compiled as a training step is; the other gives
    them as numpy."""
    backend = keras.backend.backend()
    t, z = ops.convert_to_tensor(mask), ops.convert_to_tensor(logits)
    if backend == "jax":
        import jax

        both = jax.jit(jax.value_and_grad(lambda z: loss(t, z)))

        def compute():
            return jax.block_until_ready(both(z))
    elif backend == "torch":

        def compute():
            leaf = z.detach().requires_grad_()
            value = loss(t, leaf)
            value.backward()
            return value.detach(), leaf.grad
    else:
        import tensorflow as tf

        probe = keras.Sequential([keras.Input((1,))])
        probe.compile(loss="mse")  # asks Keras whether a training step is compiled by XLA here

        @tf.function(jit_compile=probe.jit_compile)
        def both(t, z):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(t, z)
            return value, tape.gradient(value, z)

        def compute():
            return both(t, z)

    return compute, lambda: tuple(ops.convert_to_numpy(x) for x in compute())


def on_torch(loss, mask, logits):
    """The same for a loss of torch, which takes (logits, mask) with the maps in the second axis."""
    import torch

    device = "cuda" if on_gpu() and torch.cuda.is_available() else "cpu"
    t, z = (torch.from_numpy(np.moveaxis(x, -1, 1).copy()).to(device) for x in (mask, logits))

    def compute():
        leaf = z.detach().requires_grad_()
        value = loss(leaf, t)
        value.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        return value.detach(), leaf.grad

    def numbers():
        value, gradient = compute()
        return value.cpu().numpy(), np.moveaxis(gradient.cpu().numpy(), 1, -1)

    return compute, numbers


def check_same(name, ours, theirs):
    """Raises AssertionError unless value and gradient agree to float32's rounding of sums over millions of pixels."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, err_msg=f"{name}: another value")
    np.testing.assert_allclose(
        ours[1], theirs[1], rtol=1e-3, atol=1e-4 * np.abs(ours[1]).max(), err_msg=f"{name}: another gradient"
    )


def loss(quick):
    """IoU loss forward and backward, each checked under its own reduction and timed as it is.

    MONAI's is the mean over images, as ours is here; smp pools the pixels of the batch, which is ours of one tall
    image. torch runs eagerly, as it does in a training loop that does not ask for its compiler.
    """
    batch, size = (4, 32) if quick else (100, 224)
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (batch, size, size, 1)).astype("float32")
    logits = rng.normal(size=mask.shape).astype("float32")
    iou = losses.IoULoss(reduction="sum_over_batch_size")
    compute, numbers = value_and_gradient(iou, mask, logits)
    ways = {
        "Keras' BCE from logits": value_and_gradient(keras.losses.BinaryCrossentropy(from_logits=True), mask, logits)[0]
    }
    wanted = {SMP: 2.0 if keras.backend.backend() == "tensorflow" else 1.0}
    wanted[MONAI] = wanted[SMP]
    if installed("torch", "segmentation_models_pytorch"):
        from segmentation_models_pytorch.losses import JaccardLoss

        ways[SMP], theirs = on_torch(JaccardLoss(mode="binary", smooth=0.0), mask, logits)
        tall = [x.reshape(1, batch * size, size, 1) for x in (mask, logits)]
        pooled = value_and_gradient(iou, *tall)[1]()
        check_same(SMP, (pooled[0], pooled[1].reshape(logits.shape)), theirs())
    if installed("torch", "monai"):
        from monai.losses import DiceLoss

        dice = DiceLoss(sigmoid=True, jaccard=True, smooth_nr=0.0, smooth_dr=1e-12)
        ways[MONAI], theirs = on_torch(dice, mask, logits)
        check_same(MONAI, numbers(), theirs())
    ours, *timings = compare(compute, *ways.values(), quick=quick, turns=25)  # noisy: memory decides
    found = dict(zip(ways, timings))
    what = f"IoU loss, value and gradient, {batch} images of {size} px"
    return [
        Row(what, name, ours, found[name], wanted.get(name), note, cause=CAUSES.get(keras.backend.backend(), ""))
        for name, note in (
            ("Keras' BCE from logits", ""),
            (SMP, "same value and gradient when pooled over the batch"),
            (MONAI, "same value and gradient"),
        )
        if name in found
    ] + [Row(what, name, ours, None, wanted[name], MISSING) for name in (SMP, MONAI) if name not in found]


# ---- predicting --------------------------------------------------------------------------------------------


def nearest_network(operations, size):
    """The feature pyramid of smp whose operations for an image come nearest: (name, operations, network)."""
    import segmentation_models_pytorch as smp
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    found = []
    for encoder in ("tu-resnet10t", "resnet18", "resnet34", "resnet50", "vgg16"):  # depthwise ones are slower
        for channels in (64, 128, 256):
            network = smp.FPN(
                encoder,
                encoder_weights=None,
                decoder_pyramid_channels=channels,
                decoder_segmentation_channels=channels // 2,
            ).eval()
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                network(torch.zeros(1, 3, size, size))
            found.append((f"smp FPN, {encoder}, {channels} maps, torch", counter.get_total_flops(), network))
    return min(found, key=lambda each: abs(math.log(each[1] / operations)))


def torch_predictor(network, images, batch):
    """Probabilities of uint8 images, as `model.predict` gives them, by a network of torch."""
    import torch

    device = "cuda" if on_gpu() and torch.cuda.is_available() else "cpu"
    network = network.to(device)
    mean, deviation = (
        torch.tensor(values, device=device).view(1, 3, 1, 1) for values in ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    )  # of ImageNet, 0 to 255

    def predict():
        with torch.inference_mode():
            return np.concatenate(
                [
                    torch.sigmoid(
                        network(
                            (torch.from_numpy(images[start : start + batch]).to(device).permute(0, 3, 1, 2) - mean)
                            / deviation
                        )
                    )
                    .cpu()
                    .numpy()
                    for start in range(0, len(images), batch)
                ]
            )

    return predict


def predicting(quick):
    """Masks of images: `predict` of `training.fit` with cached features and from images, and two other ways."""
    full = on_gpu() and not quick
    changes = {"image_size": 64, "epochs": 1} if quick else {"epochs": 1}
    config, count = sized("bfcn32s", full, **changes), 20 if quick else 200
    task, part = made_up_task(count, config.image_size), slice(0, count)
    images = np.array(task.dataset.images)
    network = training.build(config)
    ours = {}
    for name, cached in (("cached features", True), ("from images", False)):
        chosen = sized("bfcn32s", full, **changes, cache_features=cached)
        _, outcome = training.fit(chosen, network, task)
        ours[name] = lambda predict=outcome["predict"]: predict(part)
    theirs = {
        "model.predict": (lambda: network.predict(models.preprocess("bfcn32s", images), verbose=0), 1.5, flops(network))
    }
    if installed("torch", "segmentation_models_pytorch"):
        name, operations, rival = nearest_network(flops(network), config.image_size)
        theirs[name] = (torch_predictor(rival, images, 32), 1.0, operations)
    timings = compare(*ours.values(), *(way for way, _, _ in theirs.values()), quick=quick, turns=4)
    mine, others = timings[: len(ours)], timings[len(ours) :]
    rows = []
    for name, timing in zip(ours, mine):
        what = f"predicting masks, {count} images of {config.image_size} px, {name}"
        for (against, (_, wanted, operations)), other in zip(theirs.items(), others):
            rows.append(
                Row(
                    what,
                    against,
                    timing,
                    other,
                    wanted,
                    f"{count / timing.median:.0f} images/s against {count / other.median:.0f}; "
                    f"{flops(network) / 1e9:.3g} and {operations / 1e9:.3g} GFLOP an image",
                    cause="" if "cached" in name else "without cached features it is the whole network either way",
                )
            )
        if len(theirs) == 1:
            rows.append(Row(what, "smp network of equal FLOPs, torch", timing, None, 1.0, MISSING))
    return rows
