"""Networks beyond the paper: SegNet, FCN-8s, U-Net, and `keras.applications` encoders under an FCN-32s head.

`build`, `preprocess` and `halves` take what their namesakes in `models` take, and hand the paper's two
networks on to them. A model is named after its decoder (`MODELS`) or, for the FCN-32s head, after the
function of `keras.applications` that makes its encoder: "MobileNetV2".
"""

import sys
from itertools import pairwise

import keras
import numpy as np
from keras import ops

from lib import InputError, models
from lib.models import STRIDE, Upsampling

# Per model: its encoder, a key of `models.ENCODERS`.
MODELS = {"segnet": "bfcn32s", "fcn8s": "bfcn32s", "unet": "bfcn32s", "fcn8s_resnet50": "fcresnet",
          "unet_resnet50": "fcresnet"}
# U-Net's skips: the last features of each block before they shrink.
SKIPS = {"bfcn32s": ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"),
         "fcresnet": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out")}
# How many blocks can be frozen so that the decoder sees nothing of them but the output of the last.
CACHEABLE = {"segnet": 0, "unet": 0, "unet_resnet50": 0, "fcn8s": 3, "fcn8s_resnet50": 3}
APPLICATIONS = tuple(name for name in dir(keras.applications) if name[0].isupper())


@keras.saving.register_keras_serializable("iou_loss_study")
class MaxUnpooling(keras.layers.Layer):
    """Undoes a 2x2 max pooling with its indices (SegNet: Badrinarayanan et al., 2017); has no weights.

    Each value goes to the place in its 2x2 window that held the largest value before the pooling, the first
    of equals in reading order; the other three are 0. The gradient goes to the values alone: the indices have
    none.

    Inputs: [values (batch, h, w, channels), the map before the pooling (batch, 2h, 2w, channels)]; output of
    the map's shape, in the layer's dtype.
    """

    def call(self, inputs):
        values, before = inputs
        height, width, channels = values.shape[1:]
        if tuple(before.shape[1:]) != (2 * height, 2 * width, channels):
            raise InputError(f"the map before the pooling has shape {tuple(before.shape)}, the values {tuple(values.shape)}: "
                             "give twice their height and width, both even, and as many channels")
        windows = ops.reshape(before, (-1, height, 2, width, 2, channels))
        windows = ops.reshape(ops.transpose(windows, (0, 1, 3, 5, 2, 4)), (-1, height, width, channels, 4))
        largest = ops.one_hot(ops.argmax(windows, axis=-1), 4, dtype=values.dtype)  # (B, h, w, C, 4)
        placed = ops.reshape(values[..., None] * largest, (-1, height, width, channels, 2, 2))
        return ops.reshape(ops.transpose(placed, (0, 1, 4, 2, 5, 3)), (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape):
        (batch, height, width, channels), _ = input_shape
        return (batch, 2 * height, 2 * width, channels)


def build(model: str, image_size: int = 224, encoder_width: float = 1.0, fc_units: int = 4096,
          encoder_weights: str = "imagenet", trainable_blocks: int = 1) -> keras.Model:
    """A segmentation network with the encoder's first blocks frozen; the paper's two are from `models.build`.

    - "segnet" (VGG-16): the encoder mirrored, with `MaxUnpooling`, and 3x3 convolutions with batch
      normalisation and ReLU, the last one to a single map. The encoder is VGG-16's, which has no batch
      normalisation; the authors' has.
    - "fcn8s" (VGG-16), "fcn8s_resnet50" (Shelhamer et al., 2017): fully connected convolutions 7x7 and 1x1
      and score as in FCN-32s, up-sampled by 2, plus a score of block 4, by 2, plus a score of block 3, by 8.
      The scores of blocks start at 0 and the up-samplings bilinear, as published; all are trained.
    - "unet" (VGG-16), "unet_resnet50" (after Ronneberger et al., 2015): from the encoder's output upwards, at
      each size a 2x2 transposed convolution, beside it the encoder's features of that size (`SKIPS`), and two
      3x3 convolutions with ReLU, all with as many maps as these features. Padded: the output has the input's
      size.
    - a name of `APPLICATIONS`: that encoder under the FCN-32s head of BFCN-32s.

    Args:
        model: see above, or a key of `models.ENCODERS`.
        image_size, trainable_blocks: see `models.build`; the blocks of other encoders are those of `blocks`.
        encoder_width: see `models.encoder`; decoders narrow with the encoder. Some encoders, such as
            EfficientNet and ConvNeXt, exist at 1.0 alone.
        fc_units: feature maps of each fully connected convolution; SegNet and U-Net have none.
        encoder_weights: see `models.encoder`; "demo" only with VGG-16 and ResNet-50 in `MODELS`.
    Returns:
        `keras.Model`, (batch, image_size, image_size, 3) preprocessed float32 -> P of every pixel
        (batch, image_size, image_size, 1) float32. Layer "logits" has the values before the sigmoid.
    Raises:
        InputError: an unknown model, an encoder that does not shrink images by 32, or see `models.encoder`.
    """
    if model in models.ENCODERS:
        return models.build(model, image_size, encoder_width, fc_units, encoder_weights, trainable_blocks)
    if model in MODELS:
        base = models.encoder(MODELS[model], image_size, encoder_width, encoder_weights)
        models.freeze(MODELS[model], base, trainable_blocks)
        if model == "segnet":
            logits = _segnet(base)
        elif model.startswith("unet"):
            logits = _unet(base, MODELS[model])
        else:
            logits = _fcn8s(base, MODELS[model], fc_units)
    else:
        base = application(model, image_size, encoder_width, encoder_weights)
        cut = _cut(base.operations, trainable_blocks)
        names = [layer.name for layer in base.layers]
        for layer in base.layers[:names.index(cut) + 1 if cut else 0]:
            layer.trainable = False
            if isinstance(layer, keras.layers.Dropout):  # in Keras it would go on dropping
                layer.rate = 0.0
        logits = Upsampling(name="logits", dtype="float32")(_coarse_score(base.output, fc_units))
    probabilities = keras.layers.Activation("sigmoid", name="probabilities", dtype="float32")(logits)
    return keras.Model(base.input, probabilities, name=model)


def preprocess(model: str, images: np.ndarray) -> np.ndarray:
    """Images as the model's encoder was trained on them; shapes and dtypes as in `models.preprocess`."""
    key = MODELS.get(model, model)
    if key in models.ENCODERS:
        return models.preprocess(key, images)
    module = sys.modules[getattr(keras.applications, _known(model)).__module__]
    return module.preprocess_input(np.array(images, "float32"))


def halves(network: keras.Model, trainable_blocks: int) -> tuple[keras.Model | None, keras.Model]:
    """`models.halves` for all networks of `build`: (frozen, trained), images -> features, features -> logits.

    The frozen part's features can be computed once only if the decoder sees nothing of the frozen blocks but
    the output of the last. Where it sees more, `frozen` is None and `trained` is the whole network, images ->
    logits, whose frozen layers stay frozen: SegNet and U-Net always, FCN-8s with 0 or 1 blocks trained.
    """
    if network.name in models.ENCODERS:
        return models.halves(network, trainable_blocks)
    cut, logits = frozen_output(network, trainable_blocks), network.get_layer("logits").output
    if cut is None or 5 - trainable_blocks > CACHEABLE.get(network.name, 5):
        return None, keras.Model(network.input, logits, name=network.name + "_trained")
    features = network.get_layer(cut).output
    return (keras.Model(network.input, features, name=network.name + "_frozen"),
            keras.Model(features, logits, name=network.name + "_trained"))


def frozen_output(network: keras.Model, trainable_blocks: int) -> str | None:
    """Name of the layer whose output is the last frozen one, or None where nothing is frozen."""
    key = MODELS.get(network.name, network.name)
    if key in models.ENCODERS:
        return models.frozen_output(key, trainable_blocks)
    return _cut(_encoder_operations(network), trainable_blocks)


def summary(network: keras.Model) -> list[tuple[str, int, tuple, int, str]]:
    """`models.summary` for all networks of `build`."""
    key = MODELS.get(network.name, network.name)
    return models.summary(network, models.ENCODERS[key][1] if key in models.ENCODERS else
                          list(dict.fromkeys(blocks(_encoder_operations(network)))))


def application(name: str, image_size: int = 224, width: float = 1.0,
                weights: str = "imagenet") -> keras.Model:
    """An encoder of `keras.applications` by name; arguments and errors as in `models.encoder`, no "demo"."""
    make = getattr(keras.applications, _known(name))
    models.check_size(image_size)
    if weights == "demo":
        raise InputError(f"encoder_weights: {name} has no demo weights; use imagenet, none or a path")
    if weights == "imagenet" and width != 1:
        raise InputError(f"encoder_weights: imagenet weights exist for encoder_width 1.0, not {width}; use "
                         "none or a path, or set encoder_width to 1.0")
    try:
        base = make(include_top=False, weights="imagenet" if weights == "imagenet" else None,
                    input_shape=(image_size, image_size, 3))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise InputError(f"encoder_weights: {name} at {image_size} px with weights {weights} cannot be had "
                         f"({error}); connect to the internet, give a path or another image_size") from error
    if base.output.shape[1:3] != (image_size // STRIDE, image_size // STRIDE):
        raise InputError(f"model: {name} shrinks {image_size} px to {base.output.shape[1]}, not to the "
                         f"{image_size // STRIDE} of FCN-32s; choose another encoder or image_size")
    if width != 1:
        try:
            base = models._scaled(base, width)
        except (TypeError, ValueError) as error:  # as layers refuse filters that do not fit each other
            raise InputError(f"encoder_width: {name} cannot be scaled to {width}; set it to 1.0") from error
    if weights not in ("imagenet", "none"):
        path = models.weights_path(name, weights)
        try:
            base.load_weights(path)
        except Exception as error:  # h5py and Keras raise many kinds
            raise InputError(f"encoder_weights: {path} does not fit {name} at encoder_width {width}; give "
                             "the weights of this encoder, or change encoder_width") from error
    return base


def blocks(operations: list) -> list[str]:
    """Splits an encoder into five blocks by the size of its feature maps: names of the blocks' last layers.

    A block starts where weights first make a smaller map, and ends with a layer that every path passes.
    VGG-16 and ResNet-50 so get the blocks of `models.ENCODERS`. With more than five sizes the first block has
    several; with fewer, or with paths around the ends, the first blocks are empty and end with the input.

    Args:
        operations: of the encoder, in the order of `keras.Model.operations`.
    """
    producer = {id(tensor): i for i, each in enumerate(operations)
                for tensor in keras.tree.flatten(each.output)}
    last_use = list(range(len(operations)))
    for i, each in enumerate(operations[1:], start=1):
        for tensor in keras.tree.flatten(each.input):
            last_use[producer[id(tensor)]] = i
    passed, reach = [], 0  # layers that every path passes; the last use of anything made before
    for i, each in enumerate(operations):
        if reach <= i and isinstance(each, keras.layers.Layer):
            passed.append(i)
        reach = max(reach, last_use[i])
    ends, size = [], 0
    for start, end in pairwise(passed):
        if any(getattr(each, "weights", ()) for each in operations[start + 1:end + 1]):
            smaller = operations[end].output.shape[1] < size
            size = operations[end].output.shape[1]
            if smaller:
                ends.append(operations[start].name)
    return ([operations[0].name] * 4 + ends + [operations[-1].name])[-5:]


def _encoder_operations(network):
    return network.operations[:network.operations.index(network.get_layer("fc6"))]


def _cut(operations, trainable_blocks):
    end = blocks(operations)[4 - trainable_blocks] if trainable_blocks < 5 else None
    return None if end == operations[0].name else end


def _known(name):
    if name not in APPLICATIONS:
        raise InputError(f"model: {name!r} is unknown; use {', '.join([*models.ENCODERS, *MODELS])}, or an "
                         "encoder of keras.applications such as MobileNetV2")
    return name


def _convolution(x, filters, kernel, name, **options):
    return keras.layers.Conv2D(filters, kernel, padding="same", kernel_initializer="he_normal", name=name,
                               **options)(x)


def _coarse_score(x, fc_units):
    """The FCN-32s head up to its score, (B, n, n, C) -> (B, n, n, 1)."""
    for number, kernel in enumerate(models.FULLY_CONNECTED["bfcn32s"], start=6):
        x = _convolution(x, fc_units, kernel, f"fc{number}", activation="relu")  # (B, n, n, fc_units)
    return keras.layers.Conv2D(1, 1, name="score", dtype="float32")(x)


def _fcn8s(base, encoder, fc_units):
    x = _coarse_score(base.output, fc_units)  # (B, n, n, 1)
    for block in (4, 3):
        features = base.get_layer(models.ENCODERS[encoder][1][block - 1]).output
        skip = keras.layers.Conv2D(1, 1, kernel_initializer="zeros", dtype="float32",
                                   name=f"score_block{block}")(features)
        x = Upsampling(2, name=f"upsampling{block}", dtype="float32")(x)  # twice the size: (B, 2n, 2n, 1)
        x = keras.layers.Add(name=f"sum{block}", dtype="float32")([x, skip])
    return Upsampling(8, name="logits", dtype="float32")(x)


def _unet(base, encoder):
    x = base.output
    for level, name in reversed(list(enumerate(SKIPS[encoder], start=1))):
        skip = base.get_layer(name).output
        x = _doubled(x, skip.shape[-1], level)
        x = _decoded(keras.layers.Concatenate(name=f"concatenated{level}")([skip, x]), skip.shape[-1], level)
    if encoder == "fcresnet":  # which has no features of the images' own size
        x = _decoded(_doubled(x, x.shape[-1] // 2, 0), x.shape[-1] // 2, 0)
    return keras.layers.Conv2D(1, 1, name="logits", dtype="float32")(x)


def _doubled(x, filters, level):
    """(B, n, n, C) -> (B, 2n, 2n, filters)."""
    return keras.layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal",
                                        name=f"upsampling{level}")(x)


def _decoded(x, filters, level):
    for step in "ab":
        x = _convolution(x, filters, 3, f"decoder{level}{step}", activation="relu")
    return x


def _segnet(base):
    x = base.output
    for block, pooling in reversed(list(enumerate(models.ENCODERS["bfcn32s"][1], start=1))):
        x = MaxUnpooling(name=f"unpooling{block}")([x, base.get_layer(pooling).input])  # twice the size
        for layer in reversed([each for each in base.layers if each.name.startswith(f"block{block}_conv")]):
            if layer.name == "block1_conv1":
                return _convolution(x, 1, 3, "logits", dtype="float32")
            name = layer.name.replace("block", "decoder")
            x = _convolution(x, layer.input.shape[-1], 3, name)  # mirrored: as many maps as the layer takes
            x = keras.layers.BatchNormalization(name=f"{name}_normalised")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
