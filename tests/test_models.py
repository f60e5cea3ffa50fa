"""lib/models.py: up-sampling against the transposed convolution, what is frozen, and encoder weights."""

import h5py
import keras
import numpy as np
import pytest
from autodiff import gradients
from scipy import ndimage

from lib import InputError, models
from lib.config import PAPER
from lib.losses import IoULoss

FIRST = {"bfcn32s": "block1_conv1", "fcresnet": "conv1_conv"}
LAST = {"bfcn32s": "block5_conv3", "fcresnet": "conv5_block3_3_conv"}
# How the names of the layers with weights start, block by block.
BLOCKS = {
    model: tuple(f"{prefix}{n}_" for n in range(1, 6)) for model, prefix in (("bfcn32s", "block"), ("fcresnet", "conv"))
}
HEAD = {"bfcn32s": ["fc6", "fc7", "score", "logits"], "fcresnet": ["fc6", "score", "logits"]}
# Weights of the encoder (Keras' tables of `keras.applications`, without the top), and of its block 5.
VGG16, VGG16_BLOCK5 = 14_714_688, 3 * (9 * 512 * 512 + 512)
RESNET50 = 23_587_712


def small(model, trainable_blocks=1, **changes):
    return models.build(
        model,
        **{
            "image_size": 64,
            "encoder_width": 0.125,
            "fc_units": 8,
            "encoder_weights": "none",
            "trainable_blocks": trainable_blocks,
            **changes,
        },
    )


@pytest.fixture(scope="module")
def networks():
    """Both networks at 64 px, width 0.125, one trainable block."""
    keras.utils.set_random_seed(0)
    return {model: small(model) for model in PAPER["model"]}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), "uint8")


# ---- up-sampling ------------------------------------------------------------------------------------------


def applied(layer):
    """The layer as a function (input, kernel, bias) -> output."""
    return lambda x, kernel, bias: layer.stateless_call([kernel, bias], [], x)[0]


@pytest.mark.parametrize("stride, n", [(32, 3), (4, 5), (8, 7), (3, 4)])
def test_upsampling_equals_the_transposed_convolution(stride, n):
    """In value and in the gradients of input, kernel and bias, with the same weights."""
    rng = np.random.default_rng(stride)
    x, kernel, bias, weight = (
        rng.normal(size=shape).astype("float32")
        for shape in ((2, n, n, 1), (2 * stride, 2 * stride, 1, 1), (1,), (2, stride * n, stride * n, 1))
    )
    ours = models.Upsampling(stride)
    theirs = keras.layers.Conv2DTranspose(1, 2 * stride, strides=stride, padding="same")
    for layer in (ours, theirs):
        layer.build(x.shape)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    assert ours.compute_output_shape(x.shape) == tuple(theirs.compute_output_shape(x.shape)) == weight.shape
    values, slopes = [], []
    for layer in (ours, theirs):
        values.append(keras.ops.convert_to_numpy(applied(layer)(x, kernel, bias)))
        slopes.append(gradients(lambda *arrays: keras.ops.multiply(applied(layer)(*arrays), weight), x, kernel, bias))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5, atol=1e-5)
    for name, found, expected in zip(("input", "kernel", "bias"), *slopes):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("stride", [4, 32])
def test_upsampling_starts_as_bilinear_interpolation(stride):
    """Away from the border, where the transposed convolution sees zeros; the oracle is scipy's."""
    n = 5
    maps = np.random.default_rng(0).normal(size=(1, n, n, 1)).astype("float32")
    found = keras.ops.convert_to_numpy(models.Upsampling(stride)(maps))[0, :, :, 0]
    at = (np.arange(n * stride) + 0.5) / stride - 0.5  # the place of each output in the input's grid
    expected = ndimage.map_coordinates(maps[0, :, :, 0], np.meshgrid(at, at, indexing="ij"), order=1)
    inside = slice(stride // 2, -(stride // 2))
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], rtol=1e-4, atol=1e-5)


def test_upsampling_takes_one_map():
    with pytest.raises(ValueError, match="one map"):
        models.Upsampling().build((None, 7, 7, 2))


def test_upsampling_is_restored_from_its_configuration():
    assert models.Upsampling.from_config(models.Upsampling(8, name="up").get_config()).stride == 8


# ---- the networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", PAPER["model"])
def test_build(model, networks, images):
    network = networks[model]
    assert network.name == model and network.output_shape == (None, 64, 64, 1)
    names = [layer.name for layer in network.layers]
    published = getattr(keras.applications, models.NETWORKS[model].encoder)(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    assert names[1:] == [layer.name for layer in published.layers][1:] + HEAD[model] + ["probabilities"]
    for name, share in ((FIRST[model], 0.125), (LAST[model], 0.125)):
        assert network.get_layer(name).filters == share * published.get_layer(name).filters
    assert network.get_layer("score").output.shape == (None, 2, 2, 1)
    probabilities = keras.ops.convert_to_numpy(network(models.preprocess(model, images)))
    assert probabilities.dtype == "float32" and (0 <= probabilities).all() and (probabilities <= 1).all()


@pytest.mark.parametrize("model", PAPER["model"])
def test_frozen_layers_are_those_up_to_the_cut(model):
    network = small(model, trainable_blocks=5, image_size=32)
    for trainable_blocks in range(5, -1, -1):  # more and more is frozen
        models.freeze(model, network, trainable_blocks)
        frozen = BLOCKS[model][: 5 - trainable_blocks]
        for layer in network.layers:
            if layer.weights:
                assert layer.trainable == (not layer.name.startswith(frozen)), (trainable_blocks, layer.name)
    assert {layer.name for layer in network.layers if layer.trainable_weights} == set(HEAD[model])


@pytest.mark.parametrize("model", PAPER["model"])
def test_build_freezes_as_asked(model, networks):
    """The paper's cut: block 5 and the head are trained."""
    for layer in networks[model].layers:
        if layer.weights:
            trained = layer.name.startswith(BLOCKS[model][4]) or layer.name in HEAD[model]
            assert bool(layer.trainable_weights) == trained, layer.name


@pytest.mark.parametrize("model", PAPER["model"])
def test_a_training_step_moves_what_is_trainable_and_nothing_else(model, images):
    """Batch statistics of frozen batch normalisation stay too, those of res5 move."""
    keras.utils.set_random_seed(0)
    network = small(model, score_start="glorot")  # from zeros, the first step moves the score layer alone
    whole = keras.Model(network.input, network.get_layer("logits").output)
    before = {weight.path: keras.ops.convert_to_numpy(weight) for weight in network.weights}
    whole.compile(keras.optimizers.RMSprop(1e-3), IoULoss(), run_eagerly=keras.backend.backend() != "jax")
    whole.train_on_batch(models.preprocess(model, images), (images[..., :1] > 100).astype("uint8"))
    for layer in network.layers:
        for weight in layer.weights:
            moved = (keras.ops.convert_to_numpy(weight) != before[weight.path]).any()
            trained_here = layer.name.startswith(BLOCKS[model][4]) or layer.name in HEAD[model]
            assert moved == trained_here, weight.path


@pytest.mark.parametrize("trainable_blocks, has_frozen", [(0, True), (1, True), (5, False)])
@pytest.mark.parametrize("model", PAPER["model"])
def test_halves_make_the_whole(model, trainable_blocks, has_frozen, networks, images):
    network, x = networks[model], models.preprocess(model, images)
    frozen, trained = models.halves(network, trainable_blocks)
    assert (frozen is not None) == has_frozen
    logits = trained(frozen(x) if frozen else x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.sigmoid(logits)), keras.ops.convert_to_numpy(network(x)), atol=1e-6
    )
    if trainable_blocks:
        assert any(w is trained.get_layer(LAST[model]).kernel for w in network.weights)  # shared, not copied


def test_weights_at_full_size():
    """Counted on heads of 4 units, whose weights grow as the formula says; 4096 would take gigabytes."""

    def head(model, units):
        if model == "bfcn32s":
            return (49 * 512 * units + units) + (units * units + units) + (units + 1) + (64 * 64 + 1)
        return (49 * 2048 * units + units) + (units + 1) + (64 * 64 + 1)

    bfcn32s, fcresnet = (models.build(model, 32, 1.0, 4, "none", 1) for model in PAPER["model"])
    assert models.parameters(bfcn32s) == (VGG16_BLOCK5 + head("bfcn32s", 4), VGG16 - VGG16_BLOCK5)
    assert sum(models.parameters(fcresnet)) == RESNET50 + head("fcresnet", 4)
    assert head("bfcn32s", 4096) == 119_554_050 and head("fcresnet", 4096) == 411_054_082


@pytest.mark.parametrize("model", PAPER["model"])
def test_summary_has_a_row_for_each_block_and_head_layer(model, networks):
    network, rows = networks[model], models.summary(networks[model])
    assert [row[0] for row in rows] == [f"block {n}" for n in range(1, 6)] + HEAD[model] + ["probabilities"]
    assert sum(row[1] for row in rows) == len(network.layers)
    assert sum(row[3] for row in rows) == sum(models.parameters(network)) == network.count_params()
    assert [row[4] for row in rows] == ["frozen"] * 4 + ["trained"] * (len(rows) - 5) + [""]
    assert rows[-1][2] == (64, 64, 1)


@pytest.mark.parametrize("model", PAPER["model"])
def test_preprocess_is_bgr_less_the_imagenet_mean_on_a_copy(model, images):
    before = images.copy()
    found = models.preprocess(model, images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(found, images[..., ::-1] - np.array([103.939, 116.779, 123.68]), atol=1e-4)
    assert found.dtype == "float32"


# ---- encoder weights --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file with the weights of a VGG-16 of width 0.125, and these weights."""
    encoder = models.encoder("bfcn32s", 32, 0.125, "none")
    path = tmp_path_factory.mktemp("weights") / "narrow.weights.h5"
    encoder.save_weights(path)
    return path, encoder.get_weights()


def test_encoder_weights_from_a_file(saved):
    path, expected = saved
    network = small("bfcn32s", encoder_weights=str(path))
    for layer, kernel in (("block1_conv1", expected[0]), ("block5_conv3", expected[-2])):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(network.get_layer(layer).kernel), kernel)


def test_encoder_weights_that_do_not_fit(saved, tmp_path):
    path, _ = saved
    with pytest.raises(InputError, match="narrow.weights.h5 does not fit VGG16 at encoder_width 0.25"):
        models.encoder("bfcn32s", 32, 0.25, str(path))
    with pytest.raises(InputError, match="narrow.weights.h5 does not fit ResNet50 at encoder_width 0.125"):
        models.encoder("fcresnet", 32, 0.125, str(path))
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged.weights.h5 does not fit"):
        models.encoder("bfcn32s", 32, 0.125, str(damaged))


def test_encoder_weights_that_are_no_weights_file(tmp_path):
    with pytest.raises(InputError, match="encoder_weights: no file .*missing.weights.h5; use imagenet, photographs"):
        models.encoder("bfcn32s", 32, 0.125, str(tmp_path / "missing.weights.h5"))
    (tmp_path / "weights.txt").write_text("1 2 3")
    with pytest.raises(InputError, match="weights.txt is not a .h5"):
        models.encoder("bfcn32s", 32, 0.125, str(tmp_path / "weights.txt"))


def test_imagenet_weights_load_from_a_file_of_the_published_layout(tmp_path, monkeypatch):
    """The download is replaced by a file as Keras publishes it (groups by layer, names in attributes)."""
    path = tmp_path / "vgg16_notop.h5"
    shapes = {
        layer.name: [weight.shape for weight in layer.weights]
        for layer in models.encoder("bfcn32s", 32, 1.0, "none").layers
    }
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in shapes]
        for number, (name, (*kernel_and_bias,)) in enumerate(shapes.items()):
            group = file.create_group(name)
            names = [f"{name}_{kind}_1:0" for kind in "Wb"[: len(kernel_and_bias)]]
            group.attrs["weight_names"] = [weight.encode() for weight in names]
            for weight, shape in zip(names, kernel_and_bias):
                group.create_dataset(weight, shape, "float32", fillvalue=number / 100)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *args, **kwargs: str(path))
    encoder = models.encoder("bfcn32s", 64, 1.0, "imagenet")
    for number, layer in enumerate(encoder.layers):
        for weight in layer.get_weights():
            np.testing.assert_array_equal(weight, np.float32(number / 100), err_msg=layer.name)


def test_imagenet_weights_that_cannot_be_downloaded(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on an address: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    with pytest.raises(
        InputError, match="VGG16 at 64 px with weights imagenet is not available .*URL fetch failure.*give the path"
    ):
        models.encoder("bfcn32s", 64, 1.0, "imagenet")


def test_imagenet_weights_have_one_width():
    with pytest.raises(InputError, match="imagenet weights exist for encoder_width 1.0, not 0.5"):
        models.encoder("bfcn32s", 64, 0.5, "imagenet")


@pytest.mark.parametrize("model", PAPER["model"])
def test_demo_weights_load(model):
    encoder = models.encoder(model, 64, 0.25, "demo")
    with h5py.File(models.weights_path(model, "demo")) as file:
        items = []
        file.visititems(lambda name, item: items.append(item))
        stored = [item[()] for item in items if isinstance(item, h5py.Dataset)]
    loaded = encoder.get_weights()
    assert all(np.isfinite(weight).all() and weight.dtype == "float32" for weight in loaded)

    def fingerprints(weights):
        return sorted((weight.shape, float(np.abs(weight.astype("float64")).sum())) for weight in weights)

    assert fingerprints(loaded) == fingerprints(stored)
