"""lib/study/kernels.py: kernels forked from a warm process are fresh and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from lib import PROJECT
from lib.study import kernels
from lib.study.execute import execute_notebook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def execute(tmp_path):
    """Executes the lines of one cell in a kernel and returns what they print."""

    def execute(*lines, timeout=None, **environment):
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("\n".join(lines))],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, tmp_path / "in.ipynb")
        execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, environment, tmp_path / "log", timeout)
        outputs = nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs
        return "".join(output.get("text", "") for output in outputs).split()

    return execute


@pytest.fixture
def light(tmp_path, monkeypatch):
    """Servers with empty modules in place of Keras and scipy: where it does not matter what they have imported."""
    (tmp_path / "light" / "scipy").mkdir(parents=True)
    for name in ("keras.py", "scipy/__init__.py", "scipy/stats.py"):
        (tmp_path / "light" / name).touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'light'}{os.pathsep}{os.environ.get('PYTHONPATH', PROJECT)}")


SHOW = (
    "import os, sys",
    "print(os.getpid(), os.getppid(), os.environ.get('MARK'), 'keras' in sys.modules,",
    "      'lib.config' in sys.modules, hasattr(sys, 'left_behind'))",
    "sys.left_behind = True",
    "import numpy; print(numpy.random.default_rng().integers(1 << 60))",
)


def test_kernels_are_fresh_forks_with_an_environment_of_their_own(execute):
    first, second = execute(*SHOW, MARK="one"), execute(*SHOW, MARK="two")
    assert first[1] == second[1] == str(kernels._server.process.pid) and first[0] != second[0]
    assert first[2:6] == ["one", "True", "False", "False"] and second[2:6] == ["two", "True", "False", "False"]
    assert first[6] != second[6]
    eventually(lambda: gone(first[0]) and gone(second[0]))


def test_a_server_that_died_is_started_again(light, execute):
    execute("1")
    process = kernels._server.process
    process.kill()
    process.wait()
    assert execute("import os; print(os.getppid())") == [str(kernels._server.process.pid)]
    assert kernels._server.process.pid != process.pid


def test_a_server_that_hangs_is_replaced(light, execute, monkeypatch):
    execute("1")
    server = kernels._server
    os.kill(server.process.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "PATIENCE", 1)
        assert execute("print(2)") == ["2"]  # in a kernel that started as kernels do elsewhere
    eventually(lambda: gone(server.process.pid))
    execute("1")
    assert kernels._server is not server


def test_what_a_library_prints_below_python_goes_to_the_log(light, execute, tmp_path):
    assert execute("import os", "os.write(2, b'from a library')", "print('shown')")[-1] == "shown"
    assert b"from a library" in (tmp_path / "log").read_bytes()


def test_the_kernel_and_its_server_end_when_the_process_that_started_them_is_killed(light):
    script = (
        "import os, time; from lib.study import kernels; s = kernels.server(dict(os.environ)); "
        "k = s.fork(arguments=['-f', os.environ['CONNECTION']], environment=dict(os.environ), "
        "folder='.', log=os.devnull); print(s.process.pid, k.pid, flush=True); time.sleep(60)"
    )
    from jupyter_client.connect import write_connection_file

    path, _ = write_connection_file()
    driver = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"CONNECTION": path},
    )
    pids = driver.stdout.readline().split()
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    os.unlink(path)
    assert len(pids) == 2
    eventually(lambda: all(map(gone, pids)))


def test_a_forked_kernel_is_waited_for_like_a_process():
    process = subprocess.Popen(["sleep", "60"])
    kernel = kernels.ForkedKernel(process.pid)
    assert kernel.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        kernel.wait(timeout=0.05)
    kernel.terminate()
    process.wait()
    assert kernel.poll() == kernel.wait() == 1
    kernel.kill()  # of a process that is gone: nothing happens


def test_a_zombie_counts_as_ended():
    """A kernel whose server is gone, in a container whose first process waits for nobody."""
    if not (pid := os.fork()):
        os._exit(0)
    try:
        assert kernels.ForkedKernel(pid).wait(timeout=10) == 1
    finally:
        os.waitpid(pid, 0)


def test_a_stopped_kernel_ends_with_its_server(light, execute):
    """One that hangs outside Python cannot look for its parent; the system ends it."""
    execute("1")
    server = kernels._server
    from jupyter_client.connect import write_connection_file

    path, _ = write_connection_file()
    kernel = server.fork(arguments=["-f", path], environment=dict(os.environ), folder=".", log=os.devnull)
    with open(f"/proc/{kernel.pid}/stat") as file:
        assert file.read().rpartition(")")[2].split()[1] == str(server.process.pid)
    time.sleep(0.5)
    kernel.send_signal(signal.SIGSTOP)
    server.process.kill()
    server.process.wait()
    os.unlink(path)
    eventually(lambda: gone(kernel.pid))


def test_another_environment_at_the_start_needs_another_server(light, execute):
    execute("1")
    first = kernels._server.process
    execute("1", MARK="only a fork's")
    assert kernels._server.process is first
    assert execute("import os; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS="3") == ["3"]
    assert kernels._server.process is not first
    eventually(lambda: first.poll() is not None)


def test_nothing_is_left_waiting_after_a_timeout(execute):
    """asyncio would say of it "Task was destroyed but it is pending!" when the worker ends."""
    import asyncio

    from jupyter_core.utils import ensure_event_loop
    from nbclient.exceptions import CellTimeoutError

    with pytest.raises(CellTimeoutError):
        execute("import time; time.sleep(60)", timeout=1)
    assert not asyncio.all_tasks(ensure_event_loop())
