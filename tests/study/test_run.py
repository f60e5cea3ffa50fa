"""lib/study/run.py: a study executed once by real kernels on tiny nets; what is refused before."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from stub import eventually
from tiny_runs import RUN, cli, tiny

from lib import PROJECT, InputError
from lib.data import datasets
from lib.outputs import read_study
from lib.record import SUPERSEDED, read_run
from lib.study import commands, execute, plan, workers
from lib.study.run import decode, run

# Sizes at which a second thread changes digits; with smaller ones it does not.
LARGER = {"encoder_weights": "demo", "encoder_width": 0.25, "fc_units": 32, "image_size": 96, "synthetic_images": 40}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study folder with both losses of one cell done and a third run failed, executed once by the batch."""
    folder = tmp_path_factory.mktemp("study") / "tiny"
    configs = tiny(RUN + "*", **LARGER)
    broken = replace(tiny("bfcn32s-lfw-big-nohair-iou", **LARGER)[0], encoder_weights="/nowhere/weights.h5")
    assert run([broken, *configs], folder, workers.Where(2)) == 1
    return folder, configs, broken


def bits(folder):
    """All numbers of a run: its record without seconds, its tables and its maps."""
    found = read_run(folder)
    record = {name: value for name, value in found.record.items() if name != "seconds"}
    return (
        record,
        *((folder / f"{name}.csv").read_bytes() for name in ("history", "per_image")),
        (found.probabilities()[0].tobytes()),
    )


def test_a_run_repeats_to_the_last_bit_whatever_else_runs(finished, tmp_path, monkeypatch):
    """Two workers and runs side by side; one worker, stopped, and the last run alone, as it goes on with two."""
    folder, configs, _ = finished
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "cache"))  # encoded anew, too
    script = (
        "from tiny_runs import RUN, tiny; from lib.study import run, workers; from pathlib import Path\n"
        f"if __name__ == '__main__':\n    configs = tiny(RUN + '*', **{LARGER})\n"
        f"    run.run(configs, Path({str(tmp_path / 'study')!r}), workers.Where(1))"
    )
    (tmp_path / "driver.py").write_text(script)
    search = os.pathsep.join([str(PROJECT), str(PROJECT / "tests" / "helpers")])
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py"], env={**os.environ, "PYTHONPATH": search}, stdout=subprocess.DEVNULL
    )
    second = f"{execute.RUNNING}/{configs[1].run_id}-*/*/train.ipynb"
    eventually(lambda: list((tmp_path / "study").glob(second)) or driver.poll() is not None, 240)
    driver.kill()
    driver.wait()
    assert [plan.state(config, tmp_path / "study").state for config in configs] == ["done", "interrupted"]
    assert run(configs, tmp_path / "study", workers.Where(2)) == 0
    for config in configs:
        assert bits(tmp_path / "study" / config.run_id) == bits(folder / config.run_id)


def test_runs_leave_whole_folders(finished):
    folder, configs, _ = finished
    for config in configs:
        files = {path.name for path in (folder / config.run_id).iterdir()}
        assert files >= {"train.ipynb", "record.json", "history.csv", "per_image.csv", "probabilities.npz"}
        notebook = json.loads((folder / config.run_id / "train.ipynb").read_text())
        assert notebook["metadata"]["papermill"]["exception"] is None
        images = [
            output
            for cell in notebook["cells"]
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", {})
        ]
        assert len(images) == 3  # samples, curves, masks
    assert list(read_study(folder)) == [RUN + "iou", RUN + "bce"]
    assert not any((folder / execute.RUNNING).iterdir())


def test_a_failed_run_is_kept_and_told(finished, capsys):
    folder, configs, broken = finished
    failed = plan.state(broken, folder)
    assert failed.state == "failed"
    assert "InputError: encoder_weights: no file /nowhere/weights.h5" in failed.detail and "cell " in failed.detail
    assert (folder / execute.FAILED / broken.run_id / "train.ipynb").is_file()
    assert [plan.state(config, folder).state for config in configs] == ["done", "done"]


def test_finished_runs_are_not_repeated(finished, monkeypatch):
    folder, configs, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("bfcn*/*")}
    monkeypatch.setattr(workers, "execute_all", lambda *arguments: pytest.fail("a finished run was started again"))
    assert run(configs, folder, workers.Where(1)) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("bfcn*/*")}


def test_a_scheduler_elsewhere_runs_again_and_keeps_the_old_run(finished):
    from distributed import LocalCluster

    folder, configs, _ = finished
    config = configs[0]
    key = read_run(folder / config.run_id).record["key"]
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as dask:
        assert run([replace(config, seed=3)], folder, workers.Where(1, dask.scheduler_address)) == 0
    assert read_run(folder / config.run_id).record["seed"] == 3
    kept = list((folder / SUPERSEDED).glob(config.run_id + "-*/record.json"))
    assert len(kept) == 1 and json.loads(kept[0].read_text())["key"] == key


def test_a_record_is_enough_to_run_its_run_again(finished, tmp_path):
    folder, configs, _ = finished
    record = folder / configs[1].run_id / "record.json"
    (tmp_path / execute.RUNNING / f"{configs[1].run_id}-0123abcd").mkdir(
        parents=True
    )  # as one that was interrupted leaves it
    called = cli("rerun", record, "--out", tmp_path)
    assert called.returncode == 0, called.stderr
    assert not list((tmp_path / execute.RUNNING).iterdir())
    assert "Versions, processor, code, notebook and data are the record's." in called.stdout
    assert called.stdout.endswith("The same to the last bit.\n")
    again = cli("rerun", record, "--out", tmp_path)
    assert again.returncode == 2 and "exists and is kept" in again.stderr


def test_only_one_driver_at_a_time(tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another `run` is at work"):
        run(tiny(RUN + "iou"), tmp_path, workers.Where(1))


@pytest.mark.parametrize(
    "damage, words",
    [
        (
            lambda lfw: cut(lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg"),
            ["Lu_Ba_0001.jpg", "truncated or corrupt"],
        ),
        (
            lambda lfw: (lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg").write_bytes(b""),
            ["Lu_Ba_0001.jpg", "0 bytes"],
        ),
        (lambda lfw: (lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg").unlink(), ["Lu_Ba_0001.jpg", "is missing"]),
        (lambda lfw: paint(lfw, (40, 40), (0, 255, 0)), ["Lu_Ba_0001.ppm", "40 x 40 pixels but its image"]),
        (
            lambda lfw: paint(lfw, (250, 250), (9, 9, 9)),
            ["Lu_Ba_0001.ppm", "(9, 9, 9) at row 0, column 0 is not a label"],
        ),
    ],
    ids=["truncated", "empty", "missing", "other size", "colour"],
)
def test_corrupt_data_are_reported_once_before_anything_starts(tmp_path, monkeypatch, capsys, damage, words):
    from PIL import Image

    lfw = tmp_path / "data" / "lfw"
    for folder, name, colour in (
        ("lfw_funneled/Lu_Ba", "Lu_Ba_0001.jpg", "grey"),
        ("parts_lfw_funneled_gt_images", "Lu_Ba_0001.ppm", (0, 255, 0)),
    ):
        (lfw / folder).mkdir(parents=True)
        Image.new("RGB", (250, 250), colour).save(lfw / folder / name)
    damage(lfw)
    monkeypatch.setattr(workers, "execute_all", lambda *arguments: pytest.fail("a run was started"))
    arguments = ["run", "--profile", "small", "--only", "*-lfw-*", "--data", tmp_path / "data", "--out", tmp_path / "o"]
    assert commands.main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1 and str(lfw) in message
    for word in words:
        assert word in message


def cut(path):
    path.write_bytes(path.read_bytes()[:300])


def paint(lfw, size, colour):
    from PIL import Image

    Image.new("RGB", size, colour).save(lfw / "parts_lfw_funneled_gt_images" / "Lu_Ba_0001.ppm")


def test_every_data_set_of_a_grid_is_decoded_before_anything_starts(monkeypatch):
    seen = []
    configs = [replace(tiny(RUN + "iou")[0], data=root) for root in ("/one", "/one", "/two")]

    def load(**arguments):
        seen.append(arguments["root"])
        return SimpleNamespace(ids=range(99))

    monkeypatch.setattr(datasets, "load", load)
    decode(configs)
    assert seen == ["/one", "/two"]
