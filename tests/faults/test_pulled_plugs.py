"""Pull the plug on a study: after every fault the same `run` completes it, and no finished run is touched."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from stub import Stub, eventually, kill

from lib.study import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
DIE = {
    "big-hair-bce": "raise ValueError('a notebook that raises')",
    "big-hair-iou": "import signal; os.kill(os.getpid(), signal.SIGKILL)",
    "big-nohair-bce": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
        "hoard = [np.empty(1 << 28) for _ in range(99)]"
    ),
    "big-nohair-iou": "import ctypes; ctypes.PyDLL(None).sleep(600)",  # holding Python's lock
}


@pytest.fixture
def stub(tmp_path):
    stub = Stub(tmp_path)
    yield stub
    for pid in stub.processes():
        kill(pid)


def completes(stub, before, runs=4, **options):
    """`run` does what is missing and nothing else, leaves no process, and a second one finds nothing to do."""
    eventually(lambda: not stub.processes(), 30)
    for run_id, digest in stub.done().items():
        assert before.get(run_id, digest) == digest
    before = stub.done()
    status, output = stub.call(**options)
    assert status == 0 and "Traceback" not in output, output
    after = stub.done()
    assert len(after) == runs and before.items() <= after.items()
    assert f"{len(before)} runs are done, {runs - len(before)} to do" in output
    assert not list(stub.out.glob(".superseded/*")) and not list(stub.out.glob(".running/*"))
    eventually(lambda: not stub.processes(), 30)


def test_kernels_that_raise_die_run_out_of_memory_or_hang(stub):
    """The study goes on past them, each is filed with its cause and log, and the next `run` does them again."""
    for name, fault in DIE.items():
        (stub.faults / f"bfcn32s-lfw-{name}").write_text(fault)
    status, output = stub.call("--timeout", 0.12, "--workers", 2, only="bfcn32s-lfw-*")
    assert status == 1 and "4 runs finished, 4 failed" in output, output
    errors = {
        path.parent.name[len("bfcn32s-lfw-") :]: path.read_text() for path in stub.out.glob(".failed/*/error.txt")
    }
    assert errors["big-hair-bce"] == "cell 3: ValueError: a notebook that raises\n"
    assert "died" in errors["big-hair-iou"].lower()
    assert "MemoryError" in errors["big-nohair-bce"]
    assert errors["big-nohair-iou"].startswith(
        "a notebook cell took longer than the 0.12 minutes of --timeout; raise it"
    )
    for name in DIE:
        assert {"kernel.log", "train.ipynb"} <= {
            path.name for path in (stub.out / ".failed" / f"bfcn32s-lfw-{name}").iterdir()
        }
    _, status = stub.call(command="status", only="bfcn32s-lfw-*")
    assert status.count(" failed ") == 4 and "cell 3: ValueError" in status and "4 of 8 runs to do" in status
    completes(stub, stub.done(), runs=8, only="bfcn32s-lfw-*")
    assert not list(stub.out.glob(".failed/*"))


def test_ctrl_c_in_a_terminal_is_one_sentence(stub):
    """The terminal sends it to the driver and to the workers."""
    driver = stub.start(STUB_SECONDS="1")
    eventually(lambda: stub.done() and stub.kernels())
    for process in [driver.pid, *stub.workers()]:
        os.kill(process, signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "the same command goes on from here" in output and "Traceback" not in output, (
        output
    )
    eventually(lambda: not stub.processes(), 30)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_killed_or_asked_to_stop(stub, number):
    driver = stub.start(STUB_SECONDS="1")
    eventually(lambda: stub.done() and stub.kernels())
    eventually(lambda: ", cell 3" in map(plan.progress, stub.out.glob(".running/*/*/train.ipynb")))
    status = stub.call(command="status")[1]
    assert " done " in status and re.search(r" running  for \d+ s(, cell \d)?\n", status)
    driver.send_signal(number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or "the same command goes on from here" in output
    eventually(lambda: not stub.processes(), 30)
    if number == signal.SIGKILL:
        assert " interrupted " in stub.call(command="status")[1]
    completes(stub, stub.done())


def test_workers_and_servers_that_are_killed_are_replaced_while_the_study_goes_on(stub):
    driver = stub.start("--workers", 2, STUB_SECONDS="0.5")
    eventually(stub.kernels)
    kill(stub.workers()[0])
    before = eventually(stub.done)
    driver.communicate(timeout=240)
    assert before.items() <= stub.done().items()
    completes(stub, stub.done())


def test_a_worker_that_is_killed_when_its_run_is_filed_but_not_yet_reported(stub):
    """Dask gives the run to another worker, which finds it done and does not repeat it."""
    execute, armed = stub.folder / "lib" / "study" / "execute.py", stub.faults / "filed"
    end = "    shutil.rmtree(workspace, ignore_errors=True)\n    return"
    before, after = execute.read_text().split(end)
    execute.write_text(
        f"{before}    if (armed := Path({str(armed)!r})).exists():\n        armed.unlink()\n"
        f"        os.kill(os.getpid(), 9)\n{end}{after}"
    )
    armed.touch()
    status, output = stub.call("--workers", 2)
    assert status == 0 and not armed.exists() and "4 runs finished, 0 failed" in output, output
    completes(stub, stub.done())


def test_a_scheduler_that_is_killed(stub):
    """Its workers end, the driver fails with a sentence, what was finished stays."""
    file = stub.folder / "scheduler.json"
    dask = [
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
    ]
    scheduler = subprocess.Popen(dask, cwd=stub.folder, env=stub.environment, stderr=subprocess.DEVNULL)
    eventually(file.exists)
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            "--scheduler-file",
            file,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--death-timeout",
            "5",
        ],
        cwd=stub.folder,
        env=stub.environment,
        stderr=subprocess.DEVNULL,
    )
    driver = stub.start("--scheduler", json.loads(eventually(file.read_text))["address"], STUB_SECONDS="0.5")
    eventually(stub.done)
    scheduler.kill()
    scheduler.wait()
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 2 and "Traceback" not in output, output
    assert "error: --scheduler: the connection to tcp://" in output and "goes on from here" in output
    worker.terminate()
    worker.wait(timeout=60)
    completes(stub, stub.done())


def test_braces_in_the_path_of_a_study_and_a_dangling_link_in_a_runs_place(stub):
    """papermill fills in the braces of paths; a link to nothing is set aside like a run."""
    stub.out = stub.folder / "a {seed} {"
    stub.out.mkdir()
    (stub.out / "bfcn32s-lfw-big-hair-iou").symlink_to("nowhere")
    status, output = stub.call()
    assert status == 0 and "4 runs finished, 0 failed" in output and len(stub.done()) == 4, output
    assert not (stub.folder / "a 0 {").exists() and len(list((stub.out / ".superseded").iterdir())) == 1


def test_two_drivers_on_one_study(stub):
    first = stub.start(STUB_SECONDS="0.5")
    eventually(stub.kernels)
    status, output = stub.call()
    assert status == 2 and output.startswith("error: --out: another `run` is at work on ") and output.count("\n") == 1
    output, _ = first.communicate(timeout=240)
    assert first.returncode == 0, output
    completes(stub, stub.done())


def test_the_clock_does_not_count(stub):
    """All files are dated 1980 and then 2100: nothing runs again."""
    assert stub.call()[0] == 0
    before = stub.done()
    for year in (315532800, 4102444800):
        for path in stub.out.rglob("*"):
            os.utime(path, (year, year))
        completes(stub, before)
        assert stub.done() == before


@pytest.fixture
def mounted(stub):
    """The study's folder as a file system of 300 KB; a function that mounts it again with other options."""
    stub.out.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "stub", stub.out], capture_output=True)
    if mounting.returncode:
        pytest.skip("only root may mount a file system")
    yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", stub.out], check=True)
    subprocess.run(["umount", "-l", stub.out], check=True)


def test_a_full_disk_and_a_read_only_one(stub, mounted):
    (stub.out / "filler").write_bytes(bytes(280_000))
    status, output = stub.call()
    assert status == 1 and "Traceback" not in output, output
    assert "No space left" in output and "make room" in output and "4 failed" in output
    before = stub.done()
    mounted("size=50m")
    (stub.out / ".running" / "bfcn32s-lfw-big-hair-iou-0123abcd").mkdir(parents=True)  # as a killed driver leaves it
    shutil.rmtree(stub.out / ".failed", ignore_errors=True)  # for which there may have been no room
    mounted("ro")
    status, output = stub.call()
    assert status == 2 and "cannot be written (Read-only file system); choose another folder" in output
    assert " interrupted " in stub.call(command="status")[1]
    holder = subprocess.Popen(["flock", stub.out / ".lock", "cat"], stdin=subprocess.PIPE)
    assert " running " in eventually(lambda: re.search(" running ", stub.call(command="status")[1])).group()
    holder.communicate()
    mounted("rw")
    completes(stub, before)


def test_a_cache_that_a_killed_run_left_half_written(stub):
    """A decode that is cut off leaves a folder beside the cache's place, which nobody reads; the next one is whole."""
    script = (
        "import os, signal; from lib import data; from lib.data import datasets, layouts\n"
        "real = layouts.READERS['lfw']\n"
        "def cut(containers, pictures, images, labels):\n"
        "    real(containers, pictures, images, labels); os.kill(os.getpid(), signal.SIGKILL)\n"
        "datasets.READERS['lfw'] = cut\n"
        "data.load('lfw', 32, 'synthetic', synthetic_images=10)"
    )
    cut = subprocess.run([sys.executable, "-c", script], cwd=stub.folder, env=stub.environment)
    assert cut.returncode == -signal.SIGKILL
    left = {path.name for path in (stub.folder / "cache").iterdir()}
    assert not any(
        name.startswith("lfw-32px-")
        and not name.endswith(".lock")
        and (stub.folder / "cache" / name / "meta.json").exists()
        for name in left
    )
    script = "from lib import data; print(len(data.load('lfw', 32, 'synthetic', synthetic_images=10).ids))"
    again = subprocess.run(
        [sys.executable, "-c", script], cwd=stub.folder, env=stub.environment, capture_output=True, text=True
    )
    assert again.stdout == "10\n", again.stderr
    shutil.rmtree(stub.folder / "cache")
