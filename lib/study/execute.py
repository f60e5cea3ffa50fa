"""Executes the notebook of one run with papermill in its own kernel process and stores what it wrote."""

import asyncio
import contextlib
import errno
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from lib import InputError, printable
from lib.checks import surroundings
from lib.config import NOTEBOOK, Config
from lib.outputs import refuse_links
from lib.record import SUPERSEDED, set_aside

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors of a full or read-only disk
FAILED, RUNNING = ".failed", ".running"  # folders of a study beside its runs


def cores() -> int:
    """Number of processor cores that this process may use, within the quota of a container."""
    from dask.system import cpu_count

    return cpu_count()


def gpus() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES of the GPUs that this process may use; none without an NVIDIA driver."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name and name != "-1"]
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(index) for index, line in enumerate(listing.splitlines()) if line.startswith("GPU ")]


@contextlib.contextmanager
def claimed_gpu(names: list[str], folder: Path | None = None) -> Iterator[str | None]:
    """One of the GPUs `names`, locked by a file until the block ends; waits while all are locked. None without GPUs.

    Raises InputError if the lock files cannot be written.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"iou-loss-study-gpus-{os.getuid() if os.name == 'posix' else 0}"
    while names:
        for name in names:
            lock = FileLock(folder / f"{name}.lock")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
            except Timeout:
                continue
            except OSError as error:
                raise InputError(
                    f"the folder {folder}, which tells which GPUs are taken, cannot be written "
                    f"({error.strerror}): move it away or set TMPDIR"
                ) from error
            try:
                yield name
            finally:
                lock.release()
            return
        time.sleep(0.5)
    yield None


def kernel_manager(environment: dict[str, str], log: Path, ipython: Path) -> type:
    """A Jupyter kernel manager whose kernel gets these environment variables, and `ipython` as IPython's folder.

    What libraries print outside Python, mainly TensorFlow's messages, goes to the file `log` and not into the notebook.
    """
    from jupyter_client.manager import AsyncKernelManager

    from lib.study.kernels import ForkProvisioner

    class LoggingKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options):
            with open(log, "ab") as file:
                options["extra_arguments"] = [
                    *options.get("extra_arguments", ()),
                    "--IPKernelApp.capture_fd_output=False",
                ]
                self.provisioner = self.provisioner or ForkProvisioner(
                    kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
                )
                await super().start_kernel(
                    **options, env=surroundings.of_kernels(os.environ, ipython) | environment, stdout=file, stderr=file
                )

    return LoggingKernelManager


def execute_notebook(
    notebook: Path, output: Path, parameters: dict, environment: dict[str, str], log: Path, timeout: float | None = None
) -> None:
    """Executes one notebook with papermill in its own kernel.

    Kernels that start at the same time can collide on TCP ports, so this one uses sockets in its own folder.

    Args:
        timeout: seconds that each notebook cell may take; after that the kernel is ended.
    Raises:
        papermill.PapermillExecutionError: a notebook cell raised.
        nbclient.exceptions.CellTimeoutError: a notebook cell took too long. Others if the kernel died or did not start.
    """
    import papermill
    from traitlets.config import Config as Traits

    with tempfile.TemporaryDirectory(prefix="iou-") as sockets:
        check_socket(sockets)
        transport = {"transport": "ipc", "ip": f"{sockets}/kernel"} if os.name == "posix" else {}
        # Papermill formats them.
        paths = (str(path).replace("{", "{{").replace("}", "}}") for path in (notebook, output))
        try:
            papermill.execute_notebook(
                *paths,
                parameters,
                progress_bar=False,
                start_timeout=300,
                execution_timeout=timeout,
                kernel_manager_class=kernel_manager(environment, log, Path(sockets) / "ipython"),
                config=Traits({"KernelManager": transport}),
            )
        finally:
            end_tasks()


def end_tasks() -> None:
    """Ends what nbclient left waiting in this thread after a timeout; asyncio would complain of it at the very end."""
    from jupyter_core.utils import ensure_event_loop

    loop = ensure_event_loop()
    if not loop.is_running() and (tasks := asyncio.all_tasks(loop)):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def check_socket(folder: str) -> None:
    """Raises InputError if a path is too long for the sockets of a kernel: some systems allow only 103 bytes."""
    if os.name == "posix" and len(os.fsencode(f"{folder}/kernel-5")) > 102:
        raise InputError(
            f"TMPDIR: the path {folder} is too long for the sockets of kernels; set TMPDIR to a folder whose path is "
            "shorter than 80 characters"
        )


def check_machine() -> None:
    """Raises InputError if no kernel can run on this machine, because of the temporary folder or Keras' backend."""
    surroundings.check()
    check_socket(os.path.join(tempfile.gettempdir(), "iou-12345678"))


@contextlib.contextmanager
def locked(study: Path) -> Iterator[None]:
    """Locks a study's folder, which is made, until the block ends. Raises InputError if another process holds it."""
    refuse_links(study, ".lock", FAILED, RUNNING, SUPERSEDED)
    try:
        study.mkdir(parents=True, exist_ok=True)
        lock = FileLock(study / ".lock")
        lock.acquire(timeout=1)  # `status` holds it for a moment
    except Timeout as error:
        raise InputError(f"--out: another `run` is at work on {study}; wait for it or choose another folder") from error
    except OSError as error:
        raise InputError(f"--out: {study} cannot be written ({error.strerror}); choose another folder") from error
    with lock:
        yield


def execute(config: Config, study: Path, timeout: float | None = None, replaced: str = "") -> dict:
    """Executes the training notebook for one configuration and stores what it wrote in `<study>/<run_id>/`.

    Everything is first written to `<study>/.running/` and moved in one step when the notebook has succeeded, so a run's
    folder is complete or missing. An earlier run in its place is kept in `.superseded/`. A notebook that fails is kept
    in `.failed/<run_id>/` with its executed cells.

    Args:
        timeout: minutes that each notebook cell, mainly the training, may take.
        replaced: `fingerprint` of the existing run that this one replaces. If there is another run by now, a worker
            that was lost before it could report has stored it: it is kept, and nothing is repeated.
    Returns:
        {"run_id", "seconds", "error"}: `error` is None or one line with the number of the notebook cell.
    """
    from nbclient.exceptions import CellTimeoutError
    from papermill import PapermillExecutionError

    start = time.time()
    run_id = config.run_id
    if fingerprint(study / run_id) not in ("", replaced):
        return {"run_id": run_id, "seconds": 0.0, "error": None}
    workspace = study / RUNNING / f"{run_id}-{uuid.uuid4().hex[:8]}"
    folder = workspace / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as failure:
        return {"run_id": run_id, "seconds": time.time() - start, "error": unwritable(study, failure)}
    environment = {**surroundings.thread_limits(config.threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
    error = None
    try:
        with claimed_gpu(gpus()) as gpu:
            execute_notebook(
                NOTEBOOK,
                folder / NOTEBOOK.name,
                {**asdict(config), "out_dir": str(workspace)},
                environment | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}),
                folder / "kernel.log",
                math.ceil(60 * timeout) if timeout else None,
            )
    except PapermillExecutionError as failure:
        error = f"cell {failure.exec_count}: {failure.ename}: {_one_line(failure.evalue)}"
        if f"[Errno {errno.ENOSPC}]" in error:
            error += "; make room, then run the same command again"
    except CellTimeoutError:
        error = (
            f"a notebook cell took longer than the {timeout:g} minutes of --timeout; raise it, or find out why the "
            "run hangs"
        )
    except InputError as failure:
        error = _one_line(failure)
    except Exception as failure:  # a kernel that died or did not start: the study goes on
        error = (
            unwritable(study, failure)
            if getattr(failure, "errno", None) in FULL
            else f"{type(failure).__name__}: {_one_line(failure)}"
        )
    if error is None and not (folder / "record.json").is_file():
        error = "the notebook ended without a record"
    try:
        file_away(folder, study, replaced, error)
    except OSError as failure:
        error = error or unwritable(study, failure)
    shutil.rmtree(workspace, ignore_errors=True)
    return {"run_id": run_id, "seconds": time.time() - start, "error": error}


def fingerprint(folder: Path) -> str:
    """Digest of the record in a run's folder; empty if there is none."""
    try:
        return hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def file_away(folder: Path, study: Path, replaced: str, error: str | None) -> None:
    """Moves a run's folder, named by its run id, to its place in the study, or to `.failed/` with its error.

    An earlier run there goes to `.superseded/`; an earlier failure is removed. `replaced` is as in `execute`.
    Raises OSError.
    """
    target = study / (FAILED if error else "") / folder.name
    if error:
        shutil.rmtree(target, ignore_errors=True)
        (folder / "error.txt").write_text(error + "\n", encoding="utf-8")
    elif fingerprint(target) in ("", replaced):
        set_aside(target)
    else:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, target)
    if not error:
        shutil.rmtree(study / FAILED / target.name, ignore_errors=True)


def unwritable(study: Path, failure: OSError) -> str:
    """The sentence about a study's folder that cannot be written."""
    return (
        f"{study} cannot be written ({failure.strerror}); make room or change its permissions, then run the same "
        "command again"
    )


def _one_line(text):
    return printable(" ".join(str(text).split())[:500])
