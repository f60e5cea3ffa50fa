"""Clusters: SLURM's queue played by two scripts, workers in folders of their own that join, leave and differ."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from stub import Stub, eventually, kill

from lib import PROJECT, InputError
from lib.data import synthetic
from lib.record import read_run
from lib.study import workers

SLURM = PROJECT / "params" / "clusters" / "slurm.yaml"
ONLY = "bfcn32s-lfw-big-*"


def test_the_job_script_of_the_configuration_that_comes_along():
    lines = workers.job_script(SLURM).splitlines()
    assert {
        "#SBATCH -p gpu",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=30G",
        "#SBATCH -t 04:00:00",
        "#SBATCH --gres=gpu:1",
    } <= set(lines)
    command = next(line for line in lines if "dask_worker" in line)
    assert command.startswith(f"{shlex.quote(sys.executable)} -m distributed.cli.dask_worker tls://")
    assert "--nthreads 1 " in command and "--death-timeout 60" in command and "--tls-key " in command


def test_the_job_script_in_a_folder_whose_path_has_a_space(tmp_path, monkeypatch):
    project = tmp_path / "my study ä'$x"
    (project / "outputs").mkdir(parents=True)
    monkeypatch.setattr(workers, "PROJECT", project)
    monkeypatch.setattr(sys, "executable", str(project / ".venv/bin/python"))
    command = next(line for line in workers.job_script(SLURM).splitlines() if "dask_worker" in line)
    words = shlex.split(command)
    assert words[:3] == [sys.executable, "-m", "distributed.cli.dask_worker"]
    for option in ("--tls-ca-file", "--tls-key", "--tls-cert"):
        assert os.path.dirname(words[words.index(option) + 1]) == str(project / "outputs")


@pytest.mark.parametrize(
    "text, words",
    [
        ("kind: pbs\nworkers: 1", r"give kind \(slurm or cuda\), workers \(1 or more\) and options, nothing else"),
        ("kind: slurm\nworkers: 0", "give kind"),
        ("kind: [slurm]\nworkers: 1", "give kind"),
        ("kind: slurm\nworkers: 1\nqueue: gpu", "give kind"),
        ("kind: slurm\nworkers: 1\noptions: [gpu]", "give kind"),
        (
            "kind: slurm\nworkers: 1\noptions: {cores: 1}",
            "the cluster cannot be described .*memory.*; correct its options",
        ),
        ("kind: slurm\nworkers: 1\noptions: {coers: 1}", "the cluster cannot be described .*; correct its options"),
        ("- slurm", "holds no parameters"),
    ],
)
def test_a_cluster_file_that_will_not_do(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"mine.yaml: {words}"):
        workers.job_script(path)


@pytest.mark.parametrize(
    "arguments, words", [([], "usage: python -m lib.study.workers"), (["nofile"], "error: nofile: there is no such")]
)
def test_the_job_script_of_nothing(arguments, words):
    called = subprocess.run(
        [sys.executable, "-m", "lib.study.workers", *arguments], cwd=PROJECT, capture_output=True, text=True
    )
    assert called.returncode == 2 and called.stderr.startswith(words) and called.stdout == ""


def test_several_gpus_get_dask_cudas_workers(tmp_path, monkeypatch):
    """dask-cuda is not installed here: a module of its name shows what it would be asked for."""
    path = PROJECT / "params" / "clusters" / "gpus.yaml"
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with pytest.raises(
        InputError, match=r"gpus.yaml: dask_cuda is not installed; `.venv/bin/pip install -e '.\[cuda\]'`"
    ):
        workers.started(path)
    (tmp_path / "dask_cuda.py").write_text("def LocalCUDACluster(**options): return options\n")
    monkeypatch.delitem(sys.modules, "dask_cuda")
    monkeypatch.syspath_prepend(tmp_path)
    assert workers.started(path) == {"n_workers": 2, "threads_per_worker": 1, "security": True}
    with pytest.raises(InputError, match="without a job script"):
        workers.job_script(path)


@pytest.fixture
def stubs(tmp_path):
    if sys.platform != "linux":
        pytest.skip("looks at /proc")
    made = {}

    def stub(name):
        made[name] = Stub(tmp_path / name)
        return made[name]

    yield stub
    for each in made.values():
        for pid in each.processes():
            kill(pid)


def test_slurms_queue(stubs, tmp_path):
    """`sbatch` and `scancel` are scripts that start the job at once and end it: the study runs on two such jobs."""
    stub, tools = stubs("project"), tmp_path / "bin"
    tools.mkdir()
    for name, script in (
        ("sbatch", 'job=$(cat "$1"); setsid bash -c "$job" >/dev/null 2>&1 & echo "Submitted batch job $!"'),
        ("scancel", 'for job; do kill -- "-$job"; done'),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (tools / name).chmod(0o755)
    path = stub.folder / "slurm.yaml"
    path.write_text(
        "kind: slurm\nworkers: 2\noptions: {cores: 1, processes: 1, memory: 2GB, interface: lo, "
        f"security: true, shared_temp_directory: {tmp_path}}}"
    )
    status, output = stub.call("--cluster", path, PATH=f"{tools}:{os.environ['PATH']}")
    assert status == 0 and "4 runs finished, 0 failed" in output, output
    eventually(lambda: not stub.processes())
    assert len(stub.done()) == 4
    status, output = stub.call("--cluster", path, "--force", PATH="/nowhere")
    assert status == 2 and f"error: {path}: there is no command sbatch here; start the study" in output, output


def worker(stub, address):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            "1",
            "--nworkers",
            "1",
            "--no-dashboard",
            "--death-timeout",
            "20",
            "--local-directory",
            stub.folder / "own",
        ],
        cwd=stub.folder,
        env=stub.environment | {"STUB_SECONDS": "0.6"},
        stderr=subprocess.DEVNULL,
    )


def test_workers_in_folders_of_their_own_join_leave_and_send_their_runs_back(stubs):
    """Data go to each worker once, a worker that is killed loses nothing, one that joins takes part, the study is the
    driver's; a worker with other code is found out."""
    driver, first, second = stubs("driver"), stubs("first"), stubs("second")
    synthetic.write_lfw(driver.folder / "data", 12)
    file = driver.folder / "scheduler.json"
    scheduler = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--scheduler-file",
            file,
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
        ],
        cwd=driver.folder,
        env=driver.environment,
        stderr=subprocess.DEVNULL,
    )
    address = json.loads(eventually(lambda: file.exists() and file.read_text()))["address"]
    here = worker(first, address)
    options = ("--scheduler", address, "--no-shared-files", "--data", driver.folder / "data")
    running = driver.start(*options)
    for run_id in {"bfcn32s-lfw-big-hair-bce", "bfcn32s-lfw-big-hair-iou"} - eventually(driver.done).keys():
        (first.faults / run_id).write_text("time.sleep(600)")
    joined = worker(second, address)
    eventually(second.kernels)
    eventually(lambda: " running  for " in driver.call(*options[-2:], command="status")[1])
    for pid in first.processes():  # its machine is switched off
        kill(pid)
    here.wait()
    output, _ = running.communicate(timeout=240)
    assert running.returncode == 0 and "4 runs finished, 0 failed" in output, output
    assert len(driver.done()) == 4 and not (first.out.exists() or second.out.exists())
    sent = list(second.folder.glob("own/**/iou-study-inputs-*/**/*.ppm"))
    assert len(sent) == 12 and not list(second.folder.glob("data"))
    for run_id in driver.done():
        run = read_run(driver.out / run_id)
        assert run.record["params"]["data"] == str(driver.folder / "data") and {
            "train.ipynb",
            "kernel.log",
            "history.csv",
            "probabilities.npz",
        } <= {path.name for path in run.folder.iterdir()}
    status, output = driver.call(*options)
    assert status == 0 and "4 runs are done, 0 to do" in output

    with open(second.folder / "lib" / "metrics.py", "a") as source:
        source.write("len(())  # a statement, as a comment would not count\n")
    before = driver.done()
    status, output = driver.call(*options, only="bfcn32s-lfw-small-nohair-iou")
    assert status == 1 and "its worker has other code than this machine; give all workers the same version" in output
    assert driver.done() == before and not list(driver.out.glob(".running/*"))
    joined.terminate()
    joined.wait(timeout=60)
    scheduler.kill()
    scheduler.wait()


def test_no_shared_files_is_for_workers_elsewhere(stubs):
    status, output = stubs("driver").call("--no-shared-files")
    assert status == 2 and output == (
        "error: --no-shared-files: give --scheduler or --cluster with it, and only one of the two\n"
    )
