"""Executes notebooks of a study: one run with papermill in a kernel process of its own, many on Dask."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from lib import InputError
from lib.config import NOTEBOOK, Config
from lib.results import set_aside

# glibc hands freed memory back to the system and every training step asks for it again: the page faults took a
# fifth of the processor time, and more where memory is virtual. Kept, it is only used again.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
FAILED, RUNNING = ".failed", ".running"  # folders of a study beside its runs


def cores() -> int:
    """Processor cores that this process may use, a container's quota respected."""
    from dask.system import cpu_count
    return cpu_count()


def gpus() -> list[str]:
    """Names that CUDA_VISIBLE_DEVICES takes for the GPUs this process may use; none without an NVIDIA driver."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name and name != "-1"]
    if not shutil.which("nvidia-smi"):
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(index) for index, line in enumerate(listing.splitlines()) if line.startswith("GPU ")]


@contextlib.contextmanager
def claimed_gpu(names: list[str], folder: Path | None = None, poll: float = 0.5) -> Iterator[str | None]:
    """One of the GPUs `names`, held by a lock file until the block ends; waits while others hold all. None without."""
    folder = folder or Path(tempfile.gettempdir()) / f"iou-loss-study-gpus-{os.getuid() if os.name == 'posix' else 0}"
    folder.mkdir(parents=True, exist_ok=True)
    while names:
        for name in names:
            lock = FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield name
            finally:
                lock.release()
            return
        time.sleep(poll)
    yield None


def kernel_manager(environment: dict[str, str], log: Path) -> type:
    """A Jupyter kernel manager whose kernel gets these environment variables.

    What its libraries print past Python, TensorFlow's messages above all, goes to the file `log`, not into cells.
    """
    from jupyter_client.manager import AsyncKernelManager

    from lib.warm import ForkProvisioner

    class LoggingKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options):
            with open(log, "ab") as file:
                options["extra_arguments"] = [*options.get("extra_arguments", ()),
                                              "--IPKernelApp.capture_fd_output=False"]
                self.provisioner = self.provisioner or ForkProvisioner(
                    kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
                await super().start_kernel(**options, env=os.environ | environment, stdout=file, stderr=file)

    return LoggingKernelManager


def execute_notebook(notebook: Path, output: Path, parameters: dict, environment: dict[str, str], log: Path,
                     timeout: float | None = None) -> None:
    """Executes one notebook with papermill in a kernel of its own.

    Kernels that start at once collide on TCP ports, so this one listens on sockets in a folder of its own.

    Args:
        timeout: seconds that a cell may take; the kernel of one that takes longer is ended.
    Raises:
        papermill.PapermillExecutionError: a cell raised.
        nbclient.exceptions.CellTimeoutError: a cell took too long. Others where the kernel died or did not start.
    """
    import papermill
    from traitlets.config import Config as Traits

    with tempfile.TemporaryDirectory(prefix="iou-") as sockets:
        transport = {"transport": "ipc", "ip": f"{sockets}/kernel"} if os.name == "posix" else {}
        papermill.execute_notebook(
            str(notebook), str(output), parameters, progress_bar=False, start_timeout=300,
            execution_timeout=timeout,
            kernel_manager_class=kernel_manager(environment, log), config=Traits({"KernelManager": transport}))


def execute(config: Config, study: Path, threads: int, timeout: float | None = None, replaced: str = "") -> dict:
    """Executes the training notebook for one configuration and files what it wrote under `<study>/<run_id>/`.

    Everything is written under `<study>/.running/` first and moved in one step when the notebook has ended well,
    so a run's folder is whole or absent. An earlier run in its place is kept under `.superseded/`. A notebook that
    fails is kept under `.failed/<run_id>/` with its executed cells.

    Args:
        timeout: minutes that a cell of the notebook, so above all the training, may take.
        replaced: `fingerprint` of the run in its place that this one shall replace. If another one stands there, it
            was filed since by a worker that was lost before it could say so: it stays, and nothing is repeated.
    Returns:
        {"run_id", "seconds", "error"}: `error` is None or one line, the cell's number in it.
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
        return {"run_id": run_id, "seconds": time.time() - start, "error": _unwritable(study, failure)}
    environment = {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads),
                   "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **KEEP_MEMORY}
    error = None
    with claimed_gpu(gpus()) as gpu:
        try:
            execute_notebook(NOTEBOOK, folder / NOTEBOOK.name, {**asdict(config), "out_dir": str(workspace)},
                             environment | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}), folder / "kernel.log",
                             60 * timeout if timeout else None)
        except PapermillExecutionError as failure:
            error = f"cell {failure.exec_count}: {failure.ename}: {_one_line(failure.evalue)}"
        except CellTimeoutError:
            error = f"a cell took longer than the {timeout:g} minutes of --timeout; raise it, or see why the run hangs"
        except Exception as failure:  # a kernel that died or did not start: the study goes on
            error = f"{type(failure).__name__}: {_one_line(failure)}"
    if error is None and not (folder / "record.json").is_file():
        error = "the notebook ended without a record"
    try:
        if error or fingerprint(study / run_id) in ("", replaced):
            _file(folder, study / (FAILED if error else "") / run_id, study, error)
    except OSError as failure:
        error = error or _unwritable(study, failure)
    shutil.rmtree(workspace, ignore_errors=True)
    return {"run_id": run_id, "seconds": time.time() - start, "error": error}


def fingerprint(folder: Path) -> str:
    """Digest of the record in a run's folder; empty where there is none."""
    try:
        return hashlib.sha256((folder / "record.json").read_bytes()).hexdigest()
    except OSError:
        return ""


def _file(folder, target, study, error):
    """Moves a run's folder to its place; what was there goes to `.superseded/`, except an earlier failure."""
    if error:
        shutil.rmtree(target, ignore_errors=True)
        (folder / "error.txt").write_text(error + "\n", encoding="utf-8")
    else:
        set_aside(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, target)
    if not error:
        shutil.rmtree(study / FAILED / target.name, ignore_errors=True)


def _unwritable(study, failure):
    return (f"{study} cannot be written ({failure.strerror}); make room or change its permissions, then type the same "
            "command again")


def _one_line(text):
    return " ".join(str(text).split())[:500]


def execute_all(configs: list[Config], study: Path, workers: int, scheduler: str | None,
                done: Callable[[dict], None], timeout: float | None = None) -> None:
    """Executes many configurations on Dask and calls `done` with the outcome of each as it comes in.

    Args:
        workers: processes of the local cluster that is started; each runs one notebook at a time.
        scheduler: address of a Dask scheduler to use instead; its workers must see this project and `study`.
        timeout: see `execute`.
    """
    import logging

    from distributed import Client, LocalCluster, as_completed
    from distributed.client import FutureCancelledError

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said here, once
    with contextlib.ExitStack() as stack:
        if scheduler:
            try:
                client = stack.enter_context(Client(scheduler, timeout=30))
            except (OSError, ValueError) as error:
                raise InputError(f"--scheduler: no Dask scheduler answers at {scheduler} ({_one_line(error)}); give an "
                                 "address such as tcp://host:8786") from error
            threads = 1
        else:
            cluster = stack.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1, processes=True,
                                                       memory_limit=0, dashboard_address="127.0.0.1:0",
                                                       silence_logs=logging.CRITICAL))
            client = stack.enter_context(Client(cluster))
            threads = max(1, cores() // workers)
        if importlib.util.find_spec("bokeh"):
            print(f"Dask's dashboard: {client.dashboard_link}", flush=True)
        futures = {client.submit(execute, config, study, threads, timeout, fingerprint(study / config.run_id),
                                 pure=False, retries=1): config
                   for config in configs}
        for future in as_completed(list(futures)):
            try:
                outcome = future.result()
            except FutureCancelledError as failure:
                raise InputError(f"--scheduler: the connection to {scheduler or 'the local cluster'} was lost; "
                                 "finished runs are kept, the same command goes on from here") from failure
            except Exception as failure:  # the worker itself was lost, twice
                outcome = {"run_id": futures[future].run_id, "seconds": 0.0,
                           "error": f"{type(failure).__name__}: {_one_line(failure)}"}
            done(outcome)
