"""Settings of the user's libraries, and calls of public functions, for fuzz.py."""

import json
import os
import runpy
import sys
from pathlib import Path

import keras
import pytest
import scipy.stats  # noqa: F401  now, so that no case pays for it
import statsmodels.api  # noqa: F401
from calls import CASES, judge
from fuzz import Reader, damaged
from fuzz_results import JUNK
from hypothesis import strategies as st

from lib.checks import surroundings

READS = sys.modules["keras.src.backend.config"].__file__  # the part of Keras that reads the user's file
SETTINGS = {
    "floatx": ["float16", "float32", "float64", "bfloat16", "float128"],
    "image_data_format": ["channels_last", "channels_first", "channels"],
    "epsilon": [1e-7, 0.1, 1, float("nan")],
    "backend": ["tensorflow", "jax", "torch", "numpy", "openvino", "theano", "cntk", ""],
    "nnx_enabled": [True, False, "yes"],
}
FILE = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) | st.sampled_from(values) | JUNK for name, values in SETTINGS.items()}
).map(lambda settings: json.dumps(settings).encode())
VARIABLES = st.dictionaries(
    st.sampled_from(["KERAS_BACKEND", *surroundings.DROPPED, *surroundings.RECORDED]),
    st.sampled_from(["", "0", "1", "true", "tensorflow", "jax", "theano", "../x", "x" * 3000, "größe"]),
    max_size=3,
)


def look(case, folder: Path) -> None:
    """What `run` and `doctor` do first; Keras itself must then be able to read the file."""
    content, variables = case
    (folder / "keras.json").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KERAS_BACKEND", *surroundings.DROPPED, *surroundings.RECORDED):
            patch.delenv(name, raising=False)
        for name, value in (variables | {"KERAS_HOME": str(folder)}).items():
            patch.setenv(name, value)
        with pytest.MonkeyPatch.context() as without:
            without.delitem(sys.modules, "keras")
            surroundings.check()
            assert all(isinstance(line, str) for line in surroundings.overruled())
            surroundings.own()
        assert not set(surroundings.DROPPED) & {*os.environ, *surroundings.of_kernels(os.environ, folder)}
        assert runpy.run_path(READS)["_BACKEND"] in surroundings.BACKENDS
        surroundings.own()
        json.dumps(held := surroundings.held(), allow_nan=False)
        assert held["floatx"] == keras.config.floatx() == "float32" and len(str(held)) < 2000


def call(case, folder: Path) -> None:
    judge(case)


NAMES = (
    *("mask", "logits", "probabilities", "predicted", "maps", "sample_weight", "alpha", "beta", "gamma", "weight"),
    *("bins", "dilation_ratio", "function", "reduction", "metric", "train", "confidence", "margin", "a and b", "pair "),
    *(
        "values",
        "scores",
        "is_first",
        "differences",
        "clusters",
        "seeds",
        "cells",
        "cell ",
        "a: ",
        "b: ",
        "p: ",
        "mixed model",
    ),
)
FILES = FILE | damaged(b'{"floatx": "float64"}', b"[1]", b"{")
READERS = [
    Reader("settings of libraries", st.tuples(FILES, VARIABLES), look, ("keras.json", "KERAS")),
    Reader("calls", CASES, call, NAMES, 3),
]
