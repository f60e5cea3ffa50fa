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
