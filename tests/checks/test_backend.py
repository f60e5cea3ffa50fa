"""lib/checks/backend.py: Keras comes through it, so that the user's settings have no say in a run."""

import json
import os
import re
import subprocess
import sys

import keras
import pytest

from lib import PROJECT, training
from lib.checks import backend


def test_only_this_module_imports_keras():
    assert backend.keras is keras and backend.ops is keras.ops
    for path in (PROJECT / "lib").rglob("*.py"):
        found = re.search(r"^\s*(import|from) keras\b", path.read_text(), re.M)
        assert not found or path.name == "backend.py", path


def test_a_run_has_the_same_scores_whatever_the_user_has_set(tiny, tmp_path, cache):
    """One process with everything set at once that changed numbers or stopped runs."""
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "image_data_format": "channels_first", "epsilon": 0.1, "nnx_enabled": true}'
    )
    code = (
        "import sys; from pathlib import Path; from lib import training; from lib.config import Config\n"
        f"record = training.run({tiny!r}, Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / tiny.run_id)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / tiny.run_id / "record.json").read_text())
    expected = training.run(tiny, tmp_path / "plain" / tiny.run_id)
    assert record["epochs_run"] == expected["epochs_run"] == 2 and record["key"] == expected["key"]
    assert record["surroundings"] == expected["surroundings"]
    for name, value in expected["scores"].items():
        assert record["scores"][name] == pytest.approx(value, abs=1e-5), name


# ---- what the backend says at its start --------------------------------------------------------------------

SAID = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795681285.246551   25233 cudart_stub.cc:31] Could not find cuda drivers on your machine
2026-11-26 08:00:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate flags.
2026-11-26 08:00:00.123456: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning
E0000 00:00:1795681316.020966   25316 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register
"""
REAL = """E0000 00:00:1795681316.020966   25316 cuda_blas.cc:52] failed to create cublas handle
F0000 00:00:1795681316.020966   25316 tensor.cc:9] Check failed
Traceback (most recent call last):
ImportError: libcudart.so.12: cannot open shared object file
"""


def test_the_greeting_is_left_out_and_errors_are_not(capfd):
    with backend.without_greeting():
        os.write(2, (SAID + REAL).encode())
    os.write(2, b"later\n")
    assert capfd.readouterr().err == REAL + "later\n"
    with pytest.raises(ImportError), backend.without_greeting():
        os.write(2, REAL.encode())
        raise ImportError
    assert capfd.readouterr().err == REAL


def test_the_backend_starts_without_a_red_line():
    """As in a notebook by hand, where nothing else keeps TensorFlow quiet."""
    code = "import sys; from lib.provenance import limit_threads; limit_threads(1); print('keras' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
