"""Networks beyond the paper: FCN-8s, U-Net, SegNet, and other encoders of `keras.applications` under an FCN-32s head.

Importing this module adds them to `models.NETWORKS`, so that `models.build` makes them by name. The name of an encoder
under the head of BFCN-32s is that of its function in `keras.applications`, for example "MobileNetV2".
"""

from itertools import pairwise

from lib import InputError, models
from lib.checks.backend import keras, ops
from lib.models import RESNET50, VGG16, Network, Upsampling, fcn32s, fully_connected, score


@keras.saving.register_keras_serializable("iou_loss_study")
class MaxUnpooling(keras.layers.Layer):
    """Reverses a 2x2 max pooling with its indices (SegNet: Badrinarayanan et al., 2017); has no weights.

    Each value goes to the position in its 2x2 window that had the largest value before the pooling (of equal values the
    first in reading order); the other three are 0. The gradient goes only to the values: the indices have none.

    Inputs: [values (batch, h, w, channels), the map before the pooling (batch, 2h, 2w, channels)]; the output has the
    shape of that map and the layer's dtype.
    """

    def call(self, inputs):
        values, before = inputs
        height, width, channels = values.shape[1:]
        if tuple(before.shape[1:]) != (2 * height, 2 * width, channels):
            raise InputError(
                f"the map before the pooling has shape {tuple(before.shape)}, the values {tuple(values.shape)}: "
                "give twice their height and width, both even, and as many channels"
            )
        windows = ops.reshape(before, (-1, height, 2, width, 2, channels))
        windows = ops.reshape(ops.transpose(windows, (0, 1, 3, 5, 2, 4)), (-1, height, width, channels, 4))
        largest = ops.one_hot(ops.argmax(windows, axis=-1), 4, dtype=values.dtype)  # (B, h, w, C, 4)
        placed = ops.reshape(values[..., None] * largest, (-1, height, width, channels, 2, 2))
        return ops.reshape(ops.transpose(placed, (0, 1, 4, 2, 5, 3)), (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape):
        (batch, height, width, channels), _ = input_shape
        return (batch, 2 * height, 2 * width, channels)


def fcn8s(skips):
    """FCN-8s (Shelhamer et al., 2017) with the features of blocks 4 and 3, the layers `skips`.

    Fully connected convolutions 7x7 and 1x1 and a score as in FCN-32s; up-sampled by 2, plus a score of block 4;
    up-sampled by 2, plus a score of block 3; up-sampled by 8. As published, the scores of blocks are initialised as 0
    and the up-samplings as bilinear; all are trained.
    """

    def head(encoder, how):
        x = score(fully_connected(encoder.output, how, (7, 1)), how)  # (B, n, n, 1)
        for block, name in zip((4, 3), skips):
            skip = keras.layers.Conv2D(1, 1, kernel_initializer="zeros", dtype="float32", name=f"score_block{block}")(
                encoder.get_layer(name).output
            )
            x = Upsampling(2, name=f"upsampling{block}", dtype="float32")(x)  # twice the size: (B, 2n, 2n, 1)
            x = keras.layers.Add(name=f"sum{block}", dtype="float32")([x, skip])
        return Upsampling(8, name="logits", dtype="float32")(x)

    return head


def unet(skips, has_full_size):
    """U-Net's decoder (after Ronneberger et al., 2015), padded, so that the output has the size of the input.

    At each size from the encoder's output upwards: a 2x2 transposed convolution, concatenated with the encoder's
    features of that size, and two 3x3 convolutions with ReLU, all with as many maps as these features.

    Args:
        skips: layers with the last features of each block before its pooling or stride, the largest first.
        has_full_size: whether the first of them has the size of the images.
    """

    def head(encoder, _):
        x = encoder.output
        for level, name in reversed(list(enumerate(skips, start=1))):
            skip = encoder.get_layer(name).output
            x = _doubled(x, skip.shape[-1], level)
            x = _decoded(keras.layers.Concatenate(name=f"concatenated{level}")([skip, x]), skip.shape[-1], level)
        if not has_full_size:
            x = _decoded(_doubled(x, x.shape[-1] // 2, 0), x.shape[-1] // 2, 0)
        return keras.layers.Conv2D(1, 1, name="logits", dtype="float32")(x)

    return head


def _doubled(x, filters, level):
    """(B, n, n, C) -> (B, 2n, 2n, filters)."""
    return keras.layers.Conv2DTranspose(
        filters, 2, strides=2, kernel_initializer="he_normal", name=f"upsampling{level}"
    )(x)


def _decoded(x, filters, level):
    for step in "ab":
        x = _convolution(x, filters, 3, f"decoder{level}{step}", activation="relu")
    return x


def segnet(encoder, _):
    """SegNet's decoder (Badrinarayanan et al., 2017) on VGG-16: the mirrored encoder.

    It has `MaxUnpooling` and 3x3 convolutions with batch normalisation and ReLU; the last convolution has a single map.
    The encoder is that of VGG-16 without batch normalisation; the authors' encoder has it.
    """
    x = encoder.output
    for block, pooling in reversed(list(enumerate(VGG16, start=1))):
        x = MaxUnpooling(name=f"unpooling{block}")([x, encoder.get_layer(pooling).input])  # twice the size
        for layer in reversed([each for each in encoder.layers if each.name.startswith(f"block{block}_conv")]):
            if layer.name == "block1_conv1":
                return _convolution(x, 1, 3, "logits", dtype="float32")
            name = layer.name.replace("block", "decoder")
            x = _convolution(x, layer.input.shape[-1], 3, name)  # mirrored: as many maps as the layer takes
            x = keras.layers.BatchNormalization(name=f"{name}_normalised")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolution(x, filters, kernel, name, **options):
    return keras.layers.Conv2D(filters, kernel, padding="same", kernel_initializer="he_normal", name=name, **options)(x)


def blocks_by_size(operations: list) -> list[str]:
    """Splits an encoder into five blocks by the size of its feature maps: names of the blocks' last layers.

    A block starts where layers with weights first make a smaller map, and ends with a layer on every path. For VGG-16
    and ResNet-50 this gives the blocks of `models.NETWORKS`. With more than five sizes the first block has several of
    them. With fewer, or with paths around the ends, the first blocks are empty and end with the input.

    Args:
        operations: those of the encoder, in the order of `keras.Model.operations`.
    """
    producer = {id(tensor): i for i, each in enumerate(operations) for tensor in keras.tree.flatten(each.output)}
    last_use = list(range(len(operations)))
    for i, each in enumerate(operations[1:], start=1):
        for tensor in keras.tree.flatten(each.input):
            last_use[producer[id(tensor)]] = i
    passed, reach = [], 0  # layers on every path; the last use of any output so far
    for i, each in enumerate(operations):
        if reach <= i and isinstance(each, keras.layers.Layer):
            passed.append(i)
        reach = max(reach, last_use[i])
    ends, size = [], 0
    for start, end in pairwise(passed):
        if any(getattr(each, "weights", ()) for each in operations[start + 1 : end + 1]):
            smaller = operations[end].output.shape[1] < size
            size = operations[end].output.shape[1]
            if smaller:
                ends.append(operations[start].name)
    return ([operations[0].name] * 4 + ends + [operations[-1].name])[-5:]


NETWORKS = {
    "fcn8s": Network("VGG16", VGG16, fcn8s((VGG16[3], VGG16[2])), cacheable=3),
    "fcn8s_resnet50": Network("ResNet50", RESNET50, fcn8s((RESNET50[3], RESNET50[2])), cacheable=3),
    "segnet": Network("VGG16", VGG16, segnet, cacheable=0),
    "unet": Network(
        "VGG16",
        VGG16,
        unet(("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"), has_full_size=True),
        cacheable=0,
    ),
    "unet_resnet50": Network(
        "ResNet50", RESNET50, unet(("conv1_relu", *RESNET50[1:4]), has_full_size=False), cacheable=0
    ),
    "": Network("", blocks_by_size, fcn32s((7, 1))),  # any other encoder of keras.applications
}
models.NETWORKS.update(NETWORKS)
