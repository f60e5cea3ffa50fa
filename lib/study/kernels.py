"""Kernels that start at once: a process that has imported the libraries forks one for each notebook.

A kernel needs most of its start-up time to import TensorFlow, Keras and matplotlib. `ForkProvisioner` forks kernels
from a server, one for each worker, that has imported these libraries and done nothing else. So every kernel is a new
process with its own environment, and notebooks do not affect each other. The kernel itself imports the modules of this
project, so that an edited file is used from the next run on. Only on Linux; elsewhere kernels start as usual.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import LocalProvisioner

PR_SET_PDEATHSIG = 1  # of Linux's prctl
PATIENCE = 300  # seconds that the server has to import the libraries and to fork
LIBRARIES = (
    "keras",
    "scipy.stats",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib_inline",
    "PIL.Image",
    "yaml",
    "filelock",
    "tqdm",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "IPython.core",
)


class ForkedKernel:
    """A kernel that the server forked, as `LocalProvisioner` expects it: like `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        """None while the process runs, then 1: only the server knows its exit status."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1
        with contextlib.suppress(OSError):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return 1  # a zombie: its server has ended and nobody waits for it
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Waits until the process is gone. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        while self.poll() is None:
            if deadline and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("kernel", timeout)
            time.sleep(0.02)
        return 1

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Server:
    """The process that forks kernels: `python -m lib.study.kernels`. It ends with the process that started it."""

    def __init__(self, environment: dict[str, str]):
        self.environment = at_start(environment)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lib.study.kernels"],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def fork(self, **request: Any) -> ForkedKernel:
        """Forks a kernel; see `become_kernel`. Raises OSError if the server has ended, or hangs and is killed."""
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.kill()  # it hangs
        answer = self.process.stdout.readline()
        if not answer:
            raise OSError("the server that forks kernels has ended")
        return ForkedKernel(int(answer))


# Variables that are read when a library is imported or a process starts, not later.
AT_START = ("KERAS_", "TF_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "PYTHON", "LD_", "JAX_", "XLA_", "MATPLOTLIB")
_server: Server | None = None  # of this process


def at_start(environment: dict[str, str]) -> dict[str, str]:
    """The variables of an environment that a fork cannot change."""
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


def server(environment: dict[str, str]) -> Server:
    """The server of this process. It is started on first use, after it has died, and for another environment."""
    global _server
    if _server is None or _server.process.poll() is not None or _server.environment != at_start(environment):
        if _server is not None:
            _server.process.stdin.close()  # this ends it and its kernels
        _server = Server(environment)
    return _server


class ForkProvisioner(LocalProvisioner):
    """Starts kernels as forks of the server; if that fails, like `LocalProvisioner`."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> dict:
        if "ipykernel_launcher" not in cmd or sys.platform != "linux":
            return await super().launch_kernel(cmd, **options)
        environment = options["env"]
        request = {
            "arguments": cmd[cmd.index("ipykernel_launcher") + 1 :],
            "environment": environment,
            "folder": str(options.get("cwd") or os.getcwd()),
            "log": options["stdout"].name,
        }
        try:
            self.process = server(environment).fork(**request)
        except OSError:
            return await super().launch_kernel(cmd, **options)
        self.pid = self.pgid = self.process.pid  # the kernel leads a session of its own
        return self.connection_info


def become_kernel(arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """Turns this new process into an IPython kernel, which runs until it is shut down.

    Args:
        arguments: of `python -m ipykernel_launcher`.
        environment: all variables of the kernel.
        folder: its working directory.
        log: file to which the output of libraries below Python is added.
    """
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # even a kernel that hangs ends with its server
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(log, "ab") as output, open(os.devnull, "rb") as nothing:
        for stream, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(stream.fileno(), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    parent = os.environ["JPY_PARENT_PID"]
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=parent)
    os.chdir(folder)
    sys.argv = ["ipykernel_launcher", *arguments]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def serve() -> None:
    """Imports the libraries, then forks a kernel for each line of standard input and prints its process id."""

    def reap(*_):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # ipykernel reads it once; a kernel ends with its parent
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            become_kernel(**request)
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()
