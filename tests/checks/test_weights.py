"""lib/checks/weights.py: files of Keras 2 are loaded by position, so their layers must stand in the network's order."""

import importlib

import h5py
import numpy as np
import pytest

from lib import InputError, models


def keras_2(network, path, layers=None):
    """Writes weights as Keras 2 did: layers by name, and the order of their names, which may be another."""
    legacy = importlib.import_module("keras.src.legacy.saving.legacy_h5_format")
    with h5py.File(path, "w") as file:
        legacy.save_weights_to_hdf5_group(file, network)
        names = [layer.name for layer in network.layers]
        one, other = layers or (0, 0)
        names[one], names[other] = names[other], names[one]
        file.attrs["layer_names"] = [name.encode() for name in names]


def test_a_file_of_keras_2_is_loaded_if_its_layers_stand_in_the_networks_order(tmp_path):
    network = models.encoder("bfcn32s", 32, 0.125, "none")
    keras_2(network, tmp_path / "mine.h5")
    loaded = models.encoder("bfcn32s", 32, 0.125, str(tmp_path / "mine.h5"))
    for one, other in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    keras_2(network, tmp_path / "mine.h5", (-2, -3))  # block5_conv3 and block5_conv2, of equal shapes
    with pytest.raises(InputError, match="layer block5_conv3 where the network has block5_conv2.*give"):
        models.encoder("bfcn32s", 32, 0.125, str(tmp_path / "mine.h5"))
