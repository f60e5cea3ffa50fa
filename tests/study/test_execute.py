"""lib/study/execute.py: GPUs are shared out, unfit machines are told; `test_run.py` executes."""

import pytest
from tiny_runs import cli

from lib import InputError
from lib.study import execute, plan


@pytest.mark.parametrize(
    "variable, value, words",
    [
        (
            "KERAS_BACKEND",
            "nonsense",
            "KERAS_BACKEND: 'nonsense' cannot be used here; set it to an installed one of tensorflow",
        ),
        ("TMPDIR", "long", "is too long for the sockets of kernels; set TMPDIR to a folder"),
    ],
)
def test_a_machine_on_which_no_kernel_could_work(variable, value, words, tmp_path, recorded):
    if variable == "TMPDIR":
        (tmp_path / ("n" * 120)).mkdir()
        value = tmp_path / ("n" * 120)
    record = recorded[0] / recorded[1][0].run_id
    for arguments in (["run", "--out", tmp_path / "study"], ["rerun", record, "--out", tmp_path / "study"]):
        called = cli(*arguments, **{variable: str(value)})
        assert called.returncode == 2 and words in called.stderr and called.stderr.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_each_gpu_is_claimed_once(tmp_path):
    with execute.claimed_gpu(["0", "1"], tmp_path) as first, execute.claimed_gpu(["0", "1"], tmp_path) as second:
        assert {first, second} == {"0", "1"}
    with execute.claimed_gpu(["7"], tmp_path) as name:
        assert name == "7"
    with execute.claimed_gpu([], tmp_path) as name:
        assert name is None


def test_a_folder_of_gpu_locks_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="which tells which GPUs are taken, cannot be written .*set TMPDIR"):
        execute.claimed_gpu(["0"], tmp_path / "file").__enter__()


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert execute.gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert execute.gpus() == []


@pytest.mark.parametrize("name", [".lock", ".failed", ".running", ".superseded"])
def test_a_study_with_a_link_where_runs_would_write_is_refused_and_its_state_touches_nothing(name, tmp_path, recorded):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name}: is a link"), execute.locked(tmp_path / "study"):
        pass
    assert not plan.is_active(tmp_path / "study") and (tmp_path / "elsewhere").read_text() == "mine"
