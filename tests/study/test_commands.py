"""The batch: plan, run, status and the notebooks it executes, with real kernels on tiny nets."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lib import PROJECT, InputError, data, params
from lib.config import NOTEBOOK
from lib.outputs import read_study
from lib.record import SUPERSEDED, read_run
from lib.study import commands, execute, plan, rerun, workers
from lib.study import run as runs
from lib.study.run import decode, run

TINY = {"synthetic_images": 14, "image_size": 64, "encoder_weights": "none", "encoder_width": 0.125, "fc_units": 8,
        "epochs": 2, "batch_size": 4}
RUN = "bfcn32s-lfw-small-nohair-"


def tiny(only, **overrides):
    return params.configurations("demo", only, {**TINY, **overrides})


def cli(*arguments, **environment):
    return subprocess.run([sys.executable, "-m", "lib.study", *map(str, arguments)], cwd=PROJECT, text=True,
                          capture_output=True, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study folder with both losses of one cell done and a third run failed, executed once by the batch."""
    folder = tmp_path_factory.mktemp("study") / "tiny"
    configs = tiny(RUN + "*")
    broken = replace(tiny("bfcn32s-lfw-big-nohair-iou")[0], encoder_weights="/nowhere/weights.h5")
    assert run([broken, *configs], folder, workers.Where(2)) == 1
    return folder, configs, broken


def test_the_splits_are_table_1():
    from lib.analysis import paper
    assert paper.SPLITS == {(name, size): counts for name, facts in data.DATASETS.items()
                            for size, counts in facts.splits.items()}


def test_plan_of_the_paper_needs_no_data(tmp_path):
    planned = cli("plan", "--profile", "paper", "--data", tmp_path, "--out", tmp_path / "out")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count(" waiting") == 32 and "32 of 32 runs to do, roughly" in planned.stdout


def test_runs_leave_whole_folders(finished):
    folder, configs, _ = finished
    for config in configs:
        files = {path.name for path in (folder / config.run_id).iterdir()}
        assert files >= {"train.ipynb", "record.json", "history.csv", "per_image.csv", "probabilities.npz"}
        notebook = json.loads((folder / config.run_id / "train.ipynb").read_text())
        assert notebook["metadata"]["papermill"]["exception"] is None
        images = [output for cell in notebook["cells"] for output in cell.get("outputs", ())
                  if "image/png" in output.get("data", {})]
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


@pytest.mark.parametrize("change, part", [({"seed": 1}, "parameters"), ({"synthetic_images": 15}, "data")])
def test_other_parameters_or_data_make_a_run_stale(finished, change, part):
    folder, configs, _ = finished
    planned = plan.state(replace(configs[0], **change), folder)
    assert planned.state == "stale" and part in planned.detail and "code" not in planned.detail


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
    (tmp_path / execute.RUNNING / f"{configs[1].run_id}-0123abcd").mkdir(parents=True)  # as one that was interrupted leaves it
    called = cli("rerun", record, "--out", tmp_path)
    assert called.returncode == 0, called.stderr
    assert not list((tmp_path / execute.RUNNING).iterdir())
    assert "Versions, processor, code, notebook and data are the record's." in called.stdout
    assert called.stdout.endswith("The same to the last bit.\n")
    again = cli("rerun", record, "--out", tmp_path)
    assert again.returncode == 2 and "exists and is kept" in again.stderr


def test_a_rerun_says_what_is_not_as_in_the_record(finished):
    folder, configs, _ = finished
    run = read_run(folder / configs[1].run_id)
    run.record["versions"]["numpy"] = "1.0"
    run.record["key_parts"]["code"] = "another"
    lines = rerun.differences(run, configs[1])
    assert len(lines) == 2 and lines[0].startswith("numpy 1.0, now ") and lines[1] == "other code"


@pytest.mark.parametrize("change, line", [
    (lambda record: record["params"].pop("patience"), f"patience is not in the record, now {tiny(RUN + 'bce')[0].patience}"),
    (lambda record: record["key_parts"].update(data="another"), "other data"),
    (lambda record: record["versions"].update(cpu="Z80"), "cpu Z80, now "),
], ids=["newer parameter", "data", "processor"])
def test_a_rerun_names_each_change(finished, change, line):
    folder, configs, _ = finished
    run = read_run(folder / configs[1].run_id)
    change(run.record)
    if "patience" not in run.record["params"]:
        run.record["key_parts"]["parameters"] = "without it"
    only, = rerun.differences(run, configs[1])
    assert only.startswith(line)


def test_only_one_driver_at_a_time(tmp_path):
    from filelock import FileLock
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another `run` is at work"):
        run(tiny(RUN + "iou"), tmp_path, workers.Where(1))


def test_a_rerun_is_a_driver_too(finished, tmp_path):
    from filelock import FileLock
    folder, configs, _ = finished
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another `run` is at work"):
        rerun.rerun(folder / configs[1].run_id, tmp_path)


@pytest.mark.parametrize("arguments, words", [
    (["run", "--profile", "huge"], ["--profile", "huge", "paper"]),
    (["run", "--only", "*-imagenet-*"], ["--only", "*-imagenet-*", "plan"]),
    (["run", "--workers", "0"], ["--workers", "1 or more"]),
    (["run", "--seed", "-1"], ["seed", "-1"]),
    (["plan", "--seeds", "300000"], ["--seeds", "10000"]),
    (["run", "--timeout", "inf"], ["--timeout", "a million"]),
    (["plan", "--out", "n" * 300], ["nnn", "name too long", "another path"]),
    (["run", "--profile", "small", "--data", "/nowhere"], ["/nowhere", "fetch"]),
    (["run", "--out", "/dev/null/study"], ["--out", "/dev/null/study", "cannot be written"]),
    (["report", "--out", "/nowhere/study"], ["/nowhere/study", "run"]),
    (["run", "--out", b"st\xff".decode(errors="surrogateescape")], ["--out", "no text"]),
    (["plan", "--out", "a\nb"], ["--out", "no text"]),
    (["report", "--out", "/nowhere/\u00a0\u3000"], ["/nowhere/", "there is no such study folder"]),
    (["run", "--out", "outputs/none", "--scheduler", "tls://127.0.0.1:1"],
     ["--scheduler", "no Dask scheduler answers at tls://127.0.0.1:1"]),
    (["run", "--out", "outputs/none", "--scheduler", "ucx://h:1"],
     ["--scheduler", "no Dask scheduler answers at ucx://h:1"]),
])
def test_bad_input_gets_one_sentence(arguments, words):
    called = cli(*arguments)
    assert called.returncode == 2 and called.stdout == ""
    assert called.stderr.startswith("error: ") and called.stderr.count("\n") == 1
    for word in words:
        assert word in called.stderr


@pytest.mark.parametrize("arguments", [["report", "--only", "*"], ["check", "--data", "x"], ["doctor", "--workers", "2"],
                                       ["publish", "--to", "x", "--force"], ["rerun", "x", "--seed", "1"]])
def test_what_a_command_does_not_use_is_no_option_of_it(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_error():
    piped = subprocess.run(f"{sys.executable} -m lib.study plan --profile rates | head -1", shell=True, cwd=PROJECT,
                           capture_output=True, text=True)
    assert piped.stdout.count("\n") == 1 and "error" not in piped.stderr


def test_without_an_output_the_status_is_told_all_the_same():
    closed = subprocess.run(f"{sys.executable} -m lib.study plan --profile small >&-", shell=True, cwd=PROJECT, text=True,
                            stderr=subprocess.PIPE)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_working_directory_that_is_gone(tmp_path):
    called = subprocess.run(f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m lib.study plan", shell=True, cwd=tmp_path,
                            text=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(PROJECT)})
    assert called.returncode == 2 and called.stderr == "error: the working directory is gone; change to another one\n"


@pytest.mark.parametrize("variable, value, words", [
    ("KERAS_BACKEND", "nonsense", "KERAS_BACKEND: 'nonsense' cannot be used here; set it to one that is installed of tensorflow"),
    ("TMPDIR", "long", "is too long a path for the kernels' sockets; set TMPDIR to a folder"),
])
def test_a_machine_on_which_no_kernel_could_work(variable, value, words, tmp_path, finished):
    if variable == "TMPDIR":
        (tmp_path / ("n" * 120)).mkdir()
        value = tmp_path / ("n" * 120)
    record = finished[0] / finished[1][0].run_id
    for arguments in (["run", "--out", tmp_path / "study"], ["rerun", record, "--out", tmp_path / "study"]):
        called = cli(*arguments, **{variable: str(value)})
        assert called.returncode == 2 and words in called.stderr and called.stderr.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_a_broken_pipe_does_not_make_a_run_a_success(monkeypatch, tmp_path, capsys):
    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")
    monkeypatch.setattr(commands, "run", broken)
    assert commands.main(["run", "--out", str(tmp_path / "study")]) == 2
    assert "Broken pipe" in capsys.readouterr().err
    monkeypatch.setattr(commands, "read_study", broken)
    assert commands.main(["check", "--out", str(tmp_path / "study")]) == 2


@pytest.mark.parametrize("damage, words", [
    (lambda lfw: cut(lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg"), ["Lu_Ba_0001.jpg", "truncated or corrupt"]),
    (lambda lfw: (lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg").write_bytes(b""), ["Lu_Ba_0001.jpg", "0 bytes"]),
    (lambda lfw: (lfw / "lfw_funneled" / "Lu_Ba" / "Lu_Ba_0001.jpg").unlink(), ["Lu_Ba_0001.jpg", "is missing"]),
    (lambda lfw: paint(lfw, (40, 40), (0, 255, 0)), ["Lu_Ba_0001.ppm", "40 x 40 pixels but its image"]),
    (lambda lfw: paint(lfw, (250, 250), (9, 9, 9)), ["Lu_Ba_0001.ppm", "(9, 9, 9) at row 0, column 0 is no label"]),
], ids=["truncated", "empty", "missing", "other size", "colour"])
def test_corrupt_data_are_reported_once_before_anything_starts(tmp_path, monkeypatch, capsys, damage, words):
    from PIL import Image
    lfw = tmp_path / "data" / "lfw"
    for folder, name, colour in (("lfw_funneled/Lu_Ba", "Lu_Ba_0001.jpg", "grey"),
                                 ("parts_lfw_funneled_gt_images", "Lu_Ba_0001.ppm", (0, 255, 0))):
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


def test_a_scheduler_that_does_not_answer(tmp_path):
    with pytest.raises(InputError, match="--scheduler: no Dask scheduler answers at nonsense .*tcp://host:8786"):
        run(tiny(RUN + "iou"), tmp_path / "study", workers.Where(1, "nonsense"))
    assert not (tmp_path / "study").exists()  # refused before anything is written


def test_the_workers_of_this_machine_listen_to_their_driver_alone(tmp_path, monkeypatch):
    """Dask runs what it is sent: without the driver's certificates nobody may connect."""
    from distributed import Client, LocalCluster
    refused = []

    def started(**options):
        local = LocalCluster(**options)
        for address in (local.scheduler_address, local.scheduler_address.replace("tls", "tcp")):
            try:
                Client(address, timeout=3).close()
            except (OSError, TypeError) as error:
                refused.append((address.partition(":")[0], error))
        return local
    monkeypatch.setattr(workers, "LocalCluster", started)
    workers.execute_all([], tmp_path, workers.Where(1), lambda outcome: None)
    assert [protocol for protocol, _ in refused] == ["tls", "tcp"]


def test_a_scheduler_without_workers_is_told(tmp_path, capsys):
    from distributed import LocalCluster
    with LocalCluster(n_workers=0, dashboard_address=":0") as dask:
        workers.execute_all([], tmp_path, workers.Where(1, dask.scheduler_address), lambda outcome: None)
    assert "No worker is there yet: the study begins as soon as one joins." in capsys.readouterr().out


def test_a_cluster_whose_queue_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    where = workers.Where(1, cluster=PROJECT / "params" / "clusters" / "slurm.yaml")
    with pytest.raises(InputError, match="slurm.yaml: there is no command sbatch here"):
        run(tiny(RUN + "iou"), tmp_path / "study", where)
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


def test_papermill_alone_refuses_an_unknown_parameter(tmp_path):
    called = subprocess.run(
        [sys.executable, "-m", "papermill", str(NOTEBOOK), str(tmp_path / "out.ipynb"), "--log-level", "ERROR",
         "-f", "params/profiles/demo.yaml", "-f", f"params/{RUN}iou.yaml", "-p", "epohcs", "3"],
        cwd=PROJECT, text=True, capture_output=True)
    assert called.returncode != 0 and "unknown parameter 'epohcs': did you mean 'epochs'?" in called.stderr


def test_the_training_notebook_under_nbval(tmp_path):
    """By hand: the notebook as it is, but for tiny parameters, run by nbval; a second run sets the first aside."""
    import papermill
    papermill.execute_notebook(str(NOTEBOOK), str(tmp_path / "train.ipynb"), {**TINY, "out_dir": str(tmp_path)},
                               prepare_only=True, progress_bar=False)
    for _ in range(2):
        called = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax",
                                 "--nbval-current-env", "--nbval-cell-timeout", "300", "train.ipynb"],
                                cwd=tmp_path, text=True, capture_output=True)
        assert called.returncode == 0, called.stdout[-3000:]
    assert (tmp_path / "bfcn32s-lfw-big-nohair-iou" / "record.json").is_file()
    assert len(list((tmp_path / SUPERSEDED).iterdir())) == 1


def test_every_data_set_of_a_grid_is_decoded_before_anything_starts(monkeypatch):
    seen = []
    configs = [replace(tiny(RUN + "iou")[0], data=root) for root in ("/one", "/one", "/two")]

    def load(**arguments):
        seen.append(arguments["root"])
        return SimpleNamespace(ids=range(99))
    monkeypatch.setattr(runs.datasets, "load", load)
    decode(configs)
    assert seen == ["/one", "/two"]


def test_an_estimate_takes_the_images_that_records_tell():
    """HELEN's place may be taken by fewer faces: 300 of them do not make LFW's images cheap."""
    lfw, helen = (replace(tiny(RUN + "iou")[0], dataset=name, data="/real") for name in ("lfw", "helen"))
    waiting = plan.Planned(lfw, "waiting")
    few, all_of_it = (plan.estimate([plan.Planned(helen, "done", "", 600.0, images), waiting], 1) for images in (300, None))
    assert few != all_of_it
    seconds = 600 * plan.operations(lfw) / plan.operations(helen, 300) + 10  # of start-up
    assert seconds > 3600 and f"roughly {plan.duration(seconds)} with" in few


def test_networks_that_encode_every_time_are_estimated_higher():
    work = {model: plan.operations(replace(tiny(RUN + "iou")[0], model=model)) for model in ("bfcn32s", "fcn8s", "unet")}
    assert work["bfcn32s"] < work["fcn8s"] < work["unet"]
