"""notebooks/train.ipynb by hand: under papermill alone, and under nbval."""

import subprocess
import sys

from tiny_runs import RUN, TINY
from under_nbval import under_nbval

from lib import PROJECT
from lib.config import NOTEBOOK
from lib.record import SUPERSEDED, claim, read_run


def test_papermill_alone_refuses_an_unknown_parameter(tmp_path):
    called = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            str(NOTEBOOK),
            str(tmp_path / "out.ipynb"),
            "--log-level",
            "ERROR",
            "-f",
            "params/profiles/demo.yaml",
            "-f",
            f"params/{RUN}iou.yaml",
            "-p",
            "epohcs",
            "3",
        ],
        cwd=PROJECT,
        text=True,
        capture_output=True,
    )
    assert called.returncode != 0 and "unknown parameter 'epohcs': did you mean 'epochs'?" in called.stderr


def test_the_training_notebook_under_nbval(tmp_path):
    """By hand: the notebook as it is, but for tiny parameters, run by nbval; an earlier run is set aside."""
    import papermill

    papermill.execute_notebook(
        str(NOTEBOOK),
        str(tmp_path / "train.ipynb"),
        {**TINY, "out_dir": str(tmp_path)},
        prepare_only=True,
        progress_bar=False,
    )
    folder = tmp_path / "bfcn32s-lfw-big-nohair-iou"
    folder.mkdir()
    (folder / "record.json").write_text("an earlier run")
    claim(folder)
    under_nbval(tmp_path / "train.ipynb", "--nbval-lax")
    assert read_run(folder).record["epochs_run"] == 2
    (kept,) = (tmp_path / SUPERSEDED).iterdir()
    assert (kept / "record.json").read_text() == "an earlier run"
