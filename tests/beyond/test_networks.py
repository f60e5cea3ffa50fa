"""lib/beyond/networks.py: un-pooling against a loop, FCN-8s against the coarse score, weights by formula."""

import keras
import numpy as np
import pytest
from autodiff import gradients

from lib import InputError, models
from lib.beyond import networks
from lib.config import PAPER
from lib.losses import BinaryCrossentropy

BUILT = (*filter(None, models.NETWORKS), "MobileNetV2", "VGG19")
CONVOLUTIONS = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}  # filters of VGG-16
VGG16 = 14_714_688  # weights of the encoder


def small(model, trainable_blocks=1):
    keras.utils.set_random_seed(0)
    return models.build(model, 64, 0.125, 8, "none", trainable_blocks)


def values(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


@pytest.fixture(scope="module")
def batch():
    """Inputs (4, 64, 64, 3) of about unit size, and masks that can be learned from them."""
    x = np.random.default_rng(0).normal(0, 1, (4, 64, 64, 3)).astype("float32")
    x[:, 16:48, 16:48] += 2
    mask = np.zeros((4, 64, 64, 1), "float32")
    mask[:, 16:48, 16:48] = 1
    return x, mask


# ---- un-pooling -------------------------------------------------------------------------------------------


def unpooled_by_loops(features, before):
    """The value placed at the first largest of each 2x2 window; and which value each place holds, or -1."""
    placed, source = np.zeros(before.shape), np.full(before.shape, -1)
    for b, i, j, c in np.ndindex(features.shape):
        window = before[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        a = int(np.argmax(window))  # the first of equals, row by row
        placed[b, 2 * i + a // 2, 2 * j + a % 2, c] = features[b, i, j, c]
        source[b, 2 * i + a // 2, 2 * j + a % 2, c] = np.ravel_multi_index((b, i, j, c), features.shape)
    return placed, source


def test_unpooling_equals_a_loop_in_value_and_gradient():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2, 3, 5, 4)).astype("float32")
    before = np.maximum(rng.normal(size=(2, 6, 10, 4)), 0).astype("float32")  # with windows of four zeros
    weight = rng.normal(size=before.shape).astype("float32")
    layer = networks.MaxUnpooling()
    placed, source = unpooled_by_loops(features, before)
    np.testing.assert_array_equal(values(layer([features, before])), placed)
    assert layer.compute_output_shape([features.shape, before.shape]) == before.shape
    (slope,) = gradients(lambda x: keras.ops.multiply(layer([x, before]), weight), features)
    expected = np.zeros(features.size)
    expected[source[source >= 0]] = weight[source >= 0]
    np.testing.assert_array_equal(slope.ravel(), expected.astype("float32"))


def test_unpooling_undoes_pooling():
    """What was pooled comes back to its place, the rest is 0: pooling again gives the same."""
    before = np.random.default_rng(2).uniform(1, 2, (1, 8, 6, 3)).astype("float32")
    pooled = values(keras.layers.MaxPooling2D(2)(before))
    back = values(networks.MaxUnpooling()([pooled, before]))
    np.testing.assert_array_equal(values(keras.layers.MaxPooling2D(2)(back)), pooled)
    assert ((back == before) | (back == 0)).all() and (back > 0).sum() == pooled.size


# ---- shapes and weights -----------------------------------------------------------------------------------


def test_weights_of_vgg_unet_at_full_size():
    network = models.build("unet", 32, 1.0, 4096, "none", 1)
    count, below = 0, 512
    for block in (5, 4, 3, 2, 1):
        c = CONVOLUTIONS[block][-1]
        count += (4 * below * c + c) + (9 * 2 * c * c + c) + (9 * c * c + c)  # up, and both convolutions
        below = c
    count += 64 + 1
    block5 = 3 * (9 * 512 * 512 + 512)
    assert models.parameters(network) == (count + block5, VGG16 - block5)


def test_weights_of_segnet_at_full_size():
    """The encoder's convolutions backwards, each followed by four vectors of batch normalisation."""
    network = models.build("segnet", 32, 1.0, 4096, "none", 1)
    maps = [3] + [filters for block in CONVOLUTIONS.values() for filters in block]
    mirrored = list(zip(maps[1:], maps[:-1]))[::-1]  # (maps taken, maps given), from block 5 on
    count = sum(9 * taken * given + given + 4 * given for taken, given in mirrored[:-1]) + 9 * 64 + 1
    assert sum(models.parameters(network)) == VGG16 + count
    shapes = [
        layer.kernel.shape
        for layer in network.layers
        if layer.name.startswith("decoder") and isinstance(layer, keras.layers.Conv2D)
    ]
    assert shapes == [(3, 3, taken, given) for taken, given in mirrored[:-1]]


def test_weights_of_fcn8s_at_full_size():
    """FCN-32s, with up-samplings by 2, 2 and 8 for that by 32, and scores of 512 and 256 maps."""
    network, fcn32s = (models.build(model, 32, 1.0, 4, "none", 1) for model in ("fcn8s", "bfcn32s"))
    more = 2 * (4 * 4 + 1) + (16 * 16 + 1) - (64 * 64 + 1) + (512 + 1) + (256 + 1)
    assert sum(models.parameters(network)) == sum(models.parameters(fcn32s)) + more


# ---- FCN-8s -----------------------------------------------------------------------------------------------


def transposed_convolution(x, stride):
    layer = keras.layers.Conv2DTranspose(1, 2 * stride, strides=stride, padding="same", use_bias=False)
    layer.build(x.shape)
    layer.kernel.assign(models.bilinear_kernel(stride))
    return values(layer(x))


def test_fcn8s_starts_as_the_upsampled_coarse_score(batch):
    """The scores of blocks 3 and 4 start at 0; the oracle up-samples with Keras' transposed convolution."""
    network = small("fcn8s")
    score = keras.Model(network.input, network.get_layer("score").output)(batch[0])
    expected = values(score)
    for stride in (2, 2, 8):
        expected = transposed_convolution(expected, stride)
    found = keras.Model(network.input, network.get_layer("logits").output)(batch[0])
    np.testing.assert_allclose(values(found), expected, rtol=1e-4, atol=1e-5)


def test_fcn8s_adds_the_scores_of_blocks_3_and_4(batch):
    """With ones for their kernels the logits change by the up-sampled sums of the blocks' features."""
    network = small("fcn8s")
    whole = keras.Model(network.input, network.get_layer("logits").output)
    before = values(whole(batch[0]))
    change = 0
    for block, strides in ((4, (2, 8)), (3, (8,))):
        kernel = network.get_layer(f"score_block{block}").kernel
        kernel.assign(np.ones(kernel.shape))
        features = keras.Model(network.input, network.get_layer(f"block{block}_pool").output)(batch[0])
        each = values(features).sum(-1, keepdims=True)
        for stride in strides:
            each = transposed_convolution(each, stride)
        change = change + each
    np.testing.assert_allclose(values(whole(batch[0])) - before, change, rtol=1e-3, atol=1e-4)


# ---- freezing and training --------------------------------------------------------------------------------


@pytest.mark.parametrize("model, trainable_blocks", [("segnet", 0), ("unet", 2), ("fcn8s", 5)])
def test_the_encoders_first_blocks_are_frozen(model, trainable_blocks):
    network = small(model, trainable_blocks)
    frozen = tuple(f"block{block}_" for block in range(1, 6 - trainable_blocks))
    for layer in network.layers:
        if layer.weights:
            assert layer.trainable == (not layer.name.startswith(frozen)), layer.name
    assert models.frozen_output(model, network, trainable_blocks) == (frozen[-1] + "pool" if frozen else None)


@pytest.mark.parametrize("model", BUILT)
def test_one_training_step_lowers_the_loss_and_moves_what_is_trainable_alone(model, batch):
    """Every trainable layer moves; no frozen weight does, batch statistics included."""
    network = small(model)
    logits = network.get_layer("logits").output
    assert network.name == model and network.output_shape == logits.shape == (None, 64, 64, 1)
    assert logits.dtype == "float32"
    p = values(network(batch[0]))
    assert p.dtype == "float32" and (0 <= p).all() and (p <= 1).all()
    before = {weight.path: values(weight) for weight in network.weights}
    frozen = [layer for layer in network.layers if not layer.trainable]
    whole = keras.Model(network.input, logits)
    whole.compile(keras.optimizers.Adam(1e-5), BinaryCrossentropy(), run_eagerly=keras.backend.backend() != "jax")
    losses = [float(whole.train_on_batch(*batch)) for _ in range(2)]
    assert losses[1] < losses[0]
    assert any(layer.weights for layer in frozen)
    for layer in network.layers:
        if layer.weights:
            moved = [(values(weight) != before[weight.path]).any() for weight in layer.weights]
            assert not any(moved) if layer in frozen else moved[0], layer.name


@pytest.mark.parametrize(
    "model, trainable_blocks, cached",
    [
        ("segnet", 4, False),
        ("unet", 1, False),
        ("fcn8s", 1, False),
        ("fcn8s", 2, True),
        ("fcn8s", 5, False),
        ("fcn8s_resnet50", 3, True),
        ("MobileNetV2", 0, True),
        ("MobileNetV2", 1, True),
        ("bfcn32s", 1, True),
    ],
)
def test_halves_make_the_whole(model, trainable_blocks, cached, batch):
    """Cached features only where no skip starts before the cut."""
    network = small(model, trainable_blocks)
    frozen, trained = models.halves(network, trainable_blocks)
    assert (frozen is not None) == cached
    logits = trained(frozen(batch[0]) if cached else batch[0])
    np.testing.assert_allclose(values(keras.ops.sigmoid(logits)), values(network(batch[0])), atol=1e-6)
    assert not (cached and frozen.trainable_weights)


# ---- encoders by name -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", PAPER["model"])
def test_blocks_of_vgg16_and_resnet50_are_those_of_models(model):
    encoder = models.encoder(model, 64, 0.125, "none")
    assert tuple(networks.blocks_by_size(encoder.operations)) == models.NETWORKS[model].blocks


def test_blocks_of_another_encoder():
    """MobileNetV2 at 64 px: its expansions to 32, 16, 8 and 4 px start blocks; each end is on every path."""
    encoder = models.encoder("MobileNetV2", 64, 0.25, "none")
    ends = networks.blocks_by_size(encoder.operations)
    assert ends == ["block_1_pad", "block_3_pad", "block_6_pad", "block_13_pad", "out_relu"]
    for end in ends[:-1]:  # Keras refuses a model whose output needs more than its input
        keras.Model(encoder.get_layer(end).output, encoder.output)


def test_frozen_dropout_does_not_drop_during_training(batch):
    """So that cached features are those that training would see: EfficientNet drops within its blocks."""
    network = models.build("EfficientNetB0", 64, fc_units=4, encoder_weights="none")
    frozen, trained = models.halves(network, 1)
    images = np.random.default_rng(0).random((2, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(values(frozen(images, training=True)), values(frozen(images, training=False)))
    rates = [layer.rate for layer in trained.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates and min(rates) > 0  # those that are trained go on


def test_unpooling_of_a_map_of_another_size_is_refused():
    with pytest.raises(InputError, match="give twice their height and width"):
        networks.MaxUnpooling()([np.zeros((1, 2, 2, 3)), np.zeros((1, 5, 5, 3))])


def test_an_encoder_with_paths_around_its_blocks_is_frozen_up_to_its_stem():
    encoder = models.encoder("NASNetMobile", 64, 1.0, "none")
    first, last = encoder.layers[0].name, encoder.layers[-1].name
    assert networks.blocks_by_size(encoder.operations) == [first, first, first, "stem_bn1", last]


@pytest.mark.parametrize("model", ["MobileNetV2", "VGG19", "fcn8s"])
def test_preprocess_is_that_of_the_encoder_on_a_copy(model):
    images = np.random.default_rng(3).integers(0, 256, (2, 8, 8, 3), "uint8")
    before = images.copy()
    found = models.preprocess(model, images)
    expected = (
        images / 127.5 - 1 if model == "MobileNetV2" else images[..., ::-1] - np.array([103.939, 116.779, 123.68])
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(images, before)
    assert found.dtype == "float32"


def test_encoder_weights_from_a_file(tmp_path):
    encoder = models.encoder("MobileNetV2", 64, 0.25, "none")
    path = tmp_path / "mobile.weights.h5"
    encoder.save_weights(path)
    network = models.build("MobileNetV2", 64, 0.25, 4, str(path), 1)
    loaded = {weight.path: values(weight) for weight in network.weights}
    for weight in encoder.weights:
        np.testing.assert_array_equal(loaded[weight.path], values(weight), err_msg=weight.path)
    with pytest.raises(InputError, match="mobile.weights.h5 does not fit VGG19 at encoder_width 0.25"):
        models.encoder("VGG19", 64, 0.25, str(path))


def test_demo_weights_serve_the_decoders():
    network = models.build("unet", 64, 0.25, 4, "demo", 1)
    demo = models.encoder("bfcn32s", 64, 0.25, "demo")
    np.testing.assert_array_equal(
        values(network.get_layer("block3_conv1").kernel), values(demo.get_layer("block3_conv1").kernel)
    )


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("lenet", 64), "model: 'lenet' is unknown; use bfcn32s, fcresnet, .*segnet.*MobileNetV2"),
        (("MobileNetV2", 64, 0.25, 4, "demo"), "MobileNetV2 has no demo weights"),
        (("MobileNetV2", 64, 0.25, 4, "imagenet"), "imagenet weights exist for encoder_width 1.0, not 0.25"),
        (("Xception", 64, 1.0, 4, "none"), "Xception at 64 px with weights none is not available"),
        (("InceptionV3", 96, 1.0, 4, "none"), "InceptionV3 shrinks 96 px to 1, not to the 3 of FCN-32s"),
        (("ConvNeXtTiny", 64, 0.5, 4, "none"), "ConvNeXtTiny cannot be scaled to 0.5; set it to 1.0"),
    ],
)
def test_bad_input_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        models.build(*arguments)


@pytest.mark.parametrize("model", ["bfcn32s", "fcresnet", "fcn8s", "unet_resnet50", "segnet", "MobileNetV2"])
@pytest.mark.parametrize("size", [0, 16, 100, 96.0])
def test_sides_that_are_no_multiple_of_the_stride_are_refused(model, size):
    with pytest.raises(InputError, match=f"image_size: {size} is not valid, it must be a multiple of 32"):
        models.build(model, size, 0.25, 8, "none")


def test_a_side_may_be_numpys():
    assert models.build("bfcn32s", np.int64(64), 0.125, 8, "none").output.shape == (None, 64, 64, 1)
