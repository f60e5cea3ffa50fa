"""Weights files: what is not loaded into a network, as its layers would get the weights of others."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py


def check_layers(network: Any, path: str | Path) -> None:
    """Raises ValueError for a file of Keras 2 whose layers are others or stand in another order than the network's.

    Keras loads such a file by position, so that layers of equal shapes would get each other's weights.
    """
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:  # a file of Keras 3
            return
        names = [name if isinstance(name, str) else name.decode() for name in group.attrs["layer_names"]]
        stored = [name for name in names if len(group[name].attrs["weight_names"])]
    wanted = [layer.name for layer in network.layers if layer.weights]
    for one, other in zip_longest(stored, wanted):
        if one != other:
            raise ValueError(f"it has layer {one} where the network has {other}")
