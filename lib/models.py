"""BFCN-32s and FCResNet (van Beers et al., section 2.1): an encoder of `keras.applications` under an FCN-32s head.

The encoder has five blocks. The last `trainable_blocks` of them are trained with the head; those before are frozen and
run in inference mode, batch normalisation too. Every layer keeps the name that Keras gives it.

Everything that differs between networks is in one table, `NETWORKS`; `lib.beyond.networks` adds rows to it.
"""

import math
import sys
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib import PROJECT, InputError
from lib.checks.backend import keras, ops
from lib.checks.weights import check_layers
from lib.data.cache import cache_root

PHOTOGRAPHS = "VGG-16 (ImageNet, then BSDS500 edges)"  # the encoder of "photographs", as tables call it
WEIGHTS = Path(__file__).parent / "weights"
STRIDE = 32  # the side of an image over that of the encoder's output


class Network(NamedTuple):
    """A row of `NETWORKS`: everything that differs between networks.

    encoder: name of the function of `keras.applications` that makes it and of its preprocessing.
    blocks: names of the last layers of its five blocks, the fifth at the end of the encoder; or a function that finds
        them among its operations.
    head: (encoder, `Head`) -> logits, (batch, image_size, image_size, 1).
    cacheable: the largest number of frozen blocks of which the head uses only the last output, so that this can be
        computed once.
    """

    encoder: str
    blocks: Sequence[str] | Callable[[list], Sequence[str]]
    head: Callable[..., Any]
    cacheable: int = 5


class Head(NamedTuple):
    """How a head is made: feature maps of its fully connected convolutions, their dropout, and how its score starts."""

    units: int = 4096
    dropout: float = 0.0
    score_start: str = "zeros"


def bilinear_kernel(stride):
    """Weights of bilinear interpolation for a transposed convolution (Shelhamer et al., 2017).

    Returns:
        numpy float32 (2 stride, 2 stride, 1, 1), the layout of `Conv2DTranspose`: height, width, out, in.
    """
    ramp = 1 - np.abs(np.arange(2 * stride) - (stride - 0.5)) / stride
    return np.outer(ramp, ramp).astype("float32")[:, :, None, None]


@keras.saving.register_keras_serializable("iou_loss_study")
class Upsampling(keras.layers.Layer):
    """`Conv2DTranspose(1, 2 stride, strides=stride, padding="same")` on a single map, as one matrix product.

    With a kernel of twice the stride, the `stride` output rows at an input row depend on that row and its two
    neighbours. So the layer is (rows, 3 w) times (3 w, stride x stride w), and the result has the memory layout of the
    image. Numbers and weights (`kernel`, `bias`, their shapes) are those of the transposed convolution, whose gradient
    aborts TensorFlow on CPUs at 224 px; this one runs on every backend. It starts as bilinear interpolation.

    Input (batch, h, w, 1), output (batch, stride h, stride w, 1), in the layer's dtype.
    """

    def __init__(self, stride=STRIDE, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def build(self, input_shape):
        if input_shape[-1] != 1:
            raise ValueError(f"Upsampling takes one map, (batch, h, w, 1), not {tuple(input_shape)}")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(2 * self.stride, 2 * self.stride, 1, 1),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(bilinear_kernel(self.stride), dtype),
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def call(self, inputs):
        s, (height, width) = self.stride, inputs.shape[1:3]
        # Output row y of block j is at y + s (d + 1) of the padded kernel, for the input row j - d, d in -1, 0, 1.
        kernel = ops.pad(self.kernel[:, :, 0, 0], ((s - s // 2, s // 2),) * 2)
        kernel = ops.reshape(kernel, (3, s, 3, s))
        columns = np.stack([np.eye(width, k=e) for e in (-1, 0, 1)])  # [e, i, j] is 1 where j - e = i
        matrix = ops.einsum("dyex,eij->diyjx", kernel, ops.cast(columns, kernel.dtype))
        matrix = ops.reshape(matrix, (3 * width, s * width * s))
        rows = ops.pad(inputs[..., 0], ((0, 0), (1, 1), (0, 0)))  # (B, h+2, w)
        rows = ops.concatenate([rows[:, a : a + height] for a in (2, 1, 0)], -1)  # (B, h, 3w)
        return ops.reshape(ops.matmul(rows, matrix), (-1, height * s, width * s, 1)) + self.bias

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height * self.stride, width * self.stride, 1)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


def check_size(image_size: int) -> None:
    """Raises InputError for an image size that cannot be halved five times."""
    if not isinstance(image_size, Integral) or image_size < STRIDE or image_size % STRIDE:
        raise InputError(
            f"image_size: {image_size!r} is not valid, it must be a multiple of {STRIDE} (the networks' stride)"
        )


def fully_connected(x, how, kernels):
    """Convolutions in place of VGG-16's fully connected layers, with ReLU: (batch, n, n, C) -> (batch, n, n, units)."""
    for number, kernel in enumerate(kernels, start=6):
        x = keras.layers.Conv2D(
            how.units, kernel, padding="same", activation="relu", kernel_initializer="he_normal", name=f"fc{number}"
        )(x)  # (B, n, n, units)
        if how.dropout:
            x = keras.layers.Dropout(how.dropout, name=f"dropout{number}")(x)
    return x


def score(x, how):
    """The linear score layer: feature maps to one map, (batch, n, n, C) -> (batch, n, n, 1).

    It starts at zero, as in FCN-32s (Shelhamer et al., 2017). Random weights on large features saturate the sigmoid
    from the start, and IoU loss, whose gradient has the factor P (1 - P), may then never leave an all-positive mask.
    """
    start = {"zeros": "zeros", "glorot": "glorot_uniform"}[how.score_start]
    return keras.layers.Conv2D(1, 1, kernel_initializer=start, name="score", dtype="float32")(x)


def fcn32s(kernels):
    """The head of FCN-32s: fully connected convolutions with these kernels, a score layer, up-sampling by 32."""

    def head(encoder, how):
        x = fully_connected(encoder.output, how, kernels)  # (B, n, n, units) with n = image_size / 32
        return Upsampling(name="logits", dtype="float32")(score(x, how))  # (B, image_size, image_size, 1)

    return head


VGG16 = ("block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool")
RESNET50 = ("pool1_pool", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
NETWORKS = {"bfcn32s": Network("VGG16", VGG16, fcn32s((7, 1))), "fcresnet": Network("ResNet50", RESNET50, fcn32s((7,)))}


def find(model: str) -> Network:
    """The row of a model in `NETWORKS`. The row "", if there is one, is for any other encoder, by its own name.

    Raises:
        InputError: an unknown model.
    """
    if model in NETWORKS:
        return NETWORKS[model]
    if "" in NETWORKS and model[:1].isupper() and hasattr(keras.applications, model):
        return NETWORKS[""]._replace(encoder=model)
    raise InputError(
        f"model: {model!r} is unknown; use {', '.join(filter(None, NETWORKS))}, or an encoder of "
        "keras.applications such as MobileNetV2 (all but the paper's two after `import lib.beyond.networks`)"
    )


def encoder(model, image_size=224, width=1.0, weights="imagenet"):
    """The convolutional layers of VGG-16 (`bfcn32s`), ResNet-50 (`fcresnet`) or another of `keras.applications`.

    Args:
        model: "bfcn32s", "fcresnet" or another of `NETWORKS`.
        image_size: side of the square input in pixels, a multiple of 32.
        width: every layer has this share of the published filters; 1.0 is the published network. Some encoders, such
            as EfficientNet and ConvNeXt, exist only at 1.0.
        weights: "imagenet" (width 1.0 only), "photographs" (VGG-16 at width 1.0, trained on ImageNet and then on the
            edges of BSDS500, see `python -m lib.weights fetch`), "demo" (small encoders of this project, width 0.25,
            trained on synthetic faces by `python -m lib.weights.pretrain`), "none" (random), or the path of a `.h5` or
            `.weights.h5` file with the weights of this encoder at this width.
    Returns:
        `keras.Model`, (batch, image_size, image_size, 3) preprocessed float32 -> (batch, image_size / 32,
        image_size / 32, channels).
    Raises:
        InputError: an unknown model, an encoder that does not shrink images by 32, weights that are missing, damaged
            or of another width, or an image_size that is not a multiple of 32.
    """
    name = find(model).encoder
    check_size(image_size)
    if weights in ("imagenet", "photographs") and width != 1:
        raise InputError(
            f"encoder_weights: {weights} weights exist for encoder_width 1.0, not {width}; "
            "use demo, none or a path, or set encoder_width to 1.0"
        )
    path = None if weights in ("imagenet", "none") else weights_path(model, weights)
    try:
        base = getattr(keras.applications, name)(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(image_size, image_size, 3),
        )
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise InputError(
            f"encoder_weights: {name} at {image_size} px with weights {weights} is not available ({error}); "
            "connect to the internet once, or give the path of the weights file or another image_size"
        ) from error
    if base.output.shape[1:3] != (image_size // STRIDE, image_size // STRIDE):
        raise InputError(
            f"model: {name} shrinks {image_size} px to {base.output.shape[1]}, not to the "
            f"{image_size // STRIDE} of FCN-32s; choose another encoder or image_size"
        )
    if width != 1:
        try:
            base = _scaled(base, width)
        except (TypeError, ValueError) as error:  # layers with numbers of filters that do not match
            raise InputError(f"encoder_width: {name} cannot be scaled to {width}; set it to 1.0") from error
    if path:
        try:
            check_layers(base, path)
            base.load_weights(path)
        except Exception as error:  # h5py and Keras raise many kinds
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"encoder_weights: {path} does not fit {name} at encoder_width {width} ({first_line}); "
                "give the weights of this encoder, or change encoder_width"
            ) from error
    return base


def weights_path(model, weights):
    """The weights file of `encoder_weights`: that of the project for "demo", else the path itself, checked."""
    if weights == "demo":
        path = WEIGHTS / f"{find(model).encoder.lower()}-quarter.weights.h5"
        if not path.is_file():
            raise InputError(
                f"encoder_weights: {find(model).encoder} has no demo weights; use imagenet, none or a path"
            )
        return path
    if weights == "photographs":
        path = photographs_path()
        if find(model).encoder != "VGG16":
            raise InputError(
                f"encoder_weights: photographs are weights of VGG16, {model} has {find(model).encoder}; use imagenet"
            )
        if not path.is_file():
            raise InputError(f"encoder_weights: {path} is missing; `python -m lib.weights fetch` gets it (55 MB)")
        return path
    path = PROJECT / Path(weights).expanduser()  # a relative path starts at the project's folder
    if not path.is_file():
        raise InputError(
            f"encoder_weights: no file {path}; use imagenet, photographs, demo, none or the path of a weights file"
        )
    if path.suffix not in (".h5", ".hdf5"):
        raise InputError(f"encoder_weights: {path} is not a .h5 or .weights.h5 file; save it with model.save_weights")
    return path


def photographs_path():
    """Where the weights "photographs" are after `python -m lib.weights fetch`: in the cache."""
    return cache_root() / "weights" / "vgg16-photographs.weights.h5"


def _scaled(base, width):
    """The same network with `width` times as many filters in every convolution, and random weights."""

    def scale(layer):
        config = layer.get_config()
        if "filters" in config:
            config["filters"] = max(1, round(width * config["filters"]))
            config["kernel_initializer"] = "he_normal"  # with Keras' default a deep VGG does not learn
        return layer.__class__.from_config(config)

    return keras.models.clone_model(base, clone_function=scale)


def preprocess(model, images):
    """Preprocesses images as for the training of the model's encoder; returns a new array.

    For VGG-16 and ResNet-50: BGR minus the ImageNet mean, not scaled ("caffe" mode), about -124 to 151.

    Args:
        images: (batch, size, size, 3) uint8 RGB.
    Returns:
        float32 array of the same shape.
    """
    module = sys.modules[getattr(keras.applications, find(model).encoder).__module__]
    return module.preprocess_input(np.array(images, "float32"))


def build(
    model,
    image_size=224,
    encoder_width=1.0,
    fc_units=4096,
    encoder_weights="imagenet",
    trainable_blocks=1,
    score_start="zeros",
    dropout=0.0,
):
    """The segmentation network of section 2.1, or another of `NETWORKS`, with the encoder's first blocks frozen.

    BFCN-32s and FCResNet: fully connected convolutions (7x7, then 1x1 for BFCN-32s; 7x7 for FCResNet; ReLU), a linear
    1x1 score layer, one trainable up-sampling by 32 with kernel 64 (initialised as bilinear), and a sigmoid.

    Args:
        model, image_size, encoder_width, encoder_weights: see `encoder`; decoders scale with the encoder.
        fc_units: feature maps of each fully connected convolution; 4096 in the paper. SegNet and U-Net have none.
        trainable_blocks: how many of the encoder's five blocks are trained, from the last: 1 in the paper
            (block5, res5), 0 trains only the head, 5 everything.
        score_start: how the score layer starts, "zeros" as in FCN-32s or "glorot" (random, Keras' default).
        dropout: share of the features dropped after each fully connected convolution in training; 0.5 in FCN-32s.
    Returns:
        `keras.Model`, (batch, image_size, image_size, 3) preprocessed float32 -> P of every pixel
        (batch, image_size, image_size, 1) float32. Layer "logits" has the values before the sigmoid.
    Raises:
        InputError: see `encoder`.
    """
    base = encoder(model, image_size, encoder_width, encoder_weights)
    freeze(model, base, trainable_blocks)
    logits = find(model).head(base, Head(fc_units, dropout, score_start))
    return keras.Model(
        base.input, keras.layers.Activation("sigmoid", name="probabilities", dtype="float32")(logits), name=model
    )


def block_ends(model, network):
    """Names of the last layers of the five encoder blocks; `network` is the encoder or the whole network of `build`."""
    blocks = find(model).blocks
    if not callable(blocks):
        return blocks
    names = [layer.name for layer in network.layers]
    end = network.operations.index(network.get_layer("fc6")) if "fc6" in names else None  # where the head starts
    return blocks(network.operations[:end])


def freeze(model, network, trainable_blocks):
    """Freezes all layers of `network` up to the output of its last frozen encoder block, in place."""
    cut = frozen_output(model, network, trainable_blocks)
    names = [layer.name for layer in network.layers]
    for layer in network.layers[: names.index(cut) + 1 if cut else 0]:
        layer.trainable = False
        if isinstance(layer, keras.layers.Dropout):  # Keras would still drop units
            layer.rate = 0.0


def frozen_output(model, network, trainable_blocks):
    """Name of the last frozen layer, or None if nothing is frozen."""
    ends = block_ends(model, network)
    cut = ends[len(ends) - trainable_blocks - 1] if trainable_blocks < len(ends) else None
    return None if cut == network.layers[0].name else cut


def halves(network, trainable_blocks):
    """Splits a network of `build` into its frozen and its trained layers; both share its weights.

    Returns:
        (frozen, trained): `frozen` maps images to features; it is None if nothing is frozen, or if the head uses more
        of the frozen blocks than the output of the last (SegNet and U-Net always, FCN-8s with 0 or 1 trained blocks).
        `trained` maps features (or images) to logits.
    """
    model = network.name
    cut, logits = frozen_output(model, network, trainable_blocks), network.get_layer("logits").output
    if cut is None or 5 - trainable_blocks > find(model).cacheable:
        return None, keras.Model(network.input, logits, name=model + "_trained")
    features = network.get_layer(cut).output
    return (
        keras.Model(network.input, features, name=model + "_frozen"),
        keras.Model(features, logits, name=model + "_trained"),
    )


def parameters(network):
    """Number of (trainable, frozen) weights of a network."""
    trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    return trainable, sum(math.prod(weight.shape) for weight in network.weights) - trainable


def summary(network: keras.Model) -> list[tuple[str, int, tuple, int, str]]:
    """The structure of a network of `build`: a row for each encoder block and for each layer of the head.

    Returns:
        (name, number of layers, output shape without the batch, weights, "trained" or "frozen", "" without weights).
    """
    ends = {end: f"block {i}" for i, end in enumerate(dict.fromkeys(block_ends(network.name, network)), start=1)}
    rows, pending = [], []
    for layer in network.layers:
        pending.append(layer)
        in_encoder = len(rows) < len(ends)
        if in_encoder and layer.name not in ends:
            continue
        weights = sum(each.count_params() for each in pending)
        trained = any(each.trainable_weights for each in pending)
        rows.append(
            (
                ends.get(layer.name, layer.name),
                len(pending),
                layer.output.shape[1:],
                weights,
                "trained" if trained else "frozen" if weights else "",
            )
        )
        pending = []
    return rows
