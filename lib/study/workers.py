"""Distributes the runs of a study over Dask workers: on this machine, a cluster, or machines without shared files.

    python -m lib.study.workers params/clusters/slurm.yaml      # prints the job script of a worker

With `--no-shared-files` the data are sent to every worker once, and each finished run is sent back.
"""

import contextlib
import errno
import gc
import hashlib
import importlib.util
import itertools
import json
import logging
import shlex
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Security, WorkerPlugin, as_completed, get_worker
from distributed.client import FutureCancelledError

from lib import PROJECT, InputError, reason
from lib.config import Config
from lib.data import cache, layouts
from lib.params import read_yaml
from lib.provenance import key
from lib.study import execute, signals

KINDS = {"slurm": ("dask_jobqueue", "SLURMCluster", "cluster"), "cuda": ("dask_cuda", "LocalCUDACluster", "cuda")}
STARTED = "iou-study-started"  # topic of the messages to the driver when a worker starts a run
AHEAD = 64  # smallest number of submitted runs, so that there are some for workers that join
PATIENCE = {"distributed.comm.timeouts.tcp": "300s", "distributed.comm.timeouts.connect": "120s"}  # on busy machines


@dataclass(frozen=True)
class Where:
    """The workers of a study: `workers` processes of this machine, unless a scheduler or cluster is given.

    scheduler: address of a Dask scheduler.  cluster: a file of `params/clusters/`.
    shared: whether workers have the study's folder, the project and the data at the same paths; otherwise they have
        only their own copy of the project.
    """

    workers: int = 1
    scheduler: str | None = None
    cluster: Path | None = None
    shared: bool = True


def execute_all(
    configs: list[Config], study: Path, where: Where, done: Callable[[dict], None], timeout: float | None = None
) -> None:
    """Executes many configurations on Dask and calls `done` with the outcome of each when it ends.

    `timeout` is that of `execute.execute`. Raises InputError if workers are not available or all were lost.
    """
    silence()
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(PATIENCE))
        ignore = stack.enter_context(signals.deaf_at_the_end())
        if where.scheduler:
            client = stack.enter_context(connected(where.scheduler))
        elif where.cluster:
            client = stack.enter_context(Client(stack.enter_context(started(where.cluster))))
        else:  # with temporary certificates, as Dask runs code of anyone who can connect
            with signals.uninterrupted():
                client = stack.enter_context(Client(stack.enter_context(local_cluster(where.workers))))
        stack.callback(ignore)
        if not client.nthreads():
            print("No worker is there yet: the study begins as soon as one joins.", flush=True)
        if importlib.util.find_spec("bokeh"):
            print(f"Dask's dashboard: {client.dashboard_link}", flush=True)
        replaced = {config.run_id: execute.fingerprint(study / config.run_id) for config in configs}
        if not where.shared:
            client.register_plugin(sent := inputs(configs))
            client.subscribe_topic(STARTED, lambda event: mark(study, event[1]))
            expected = {config.run_id: key(config)[1] for config in configs}

        def submit(config):
            if where.shared:
                task = (execute.execute, config, study, timeout, replaced[config.run_id])
            else:
                task = (execute_apart, config, sent.name, timeout)
            return client.submit(*task, pure=False, retries=1)

        waiting, running, completed = iter(configs), {}, as_completed()

        def go_on():
            """Submits runs, some more than there are workers: thousands at once would overload the driver."""
            ahead = AHEAD
            with contextlib.suppress(OSError):  # the scheduler is gone: the submitted runs report it
                ahead = max(AHEAD, 2 * sum(client.nthreads().values()))
            for config in itertools.islice(waiting, max(0, ahead - len(running))):
                running[future := submit(config)] = config
                completed.add(future)

        go_on()
        for future in completed:
            config = running.pop(future)
            try:
                outcome = future.result()
                if not where.shared:
                    outcome = receive(config, study, expected[config.run_id], replaced[config.run_id], *outcome)
            except FutureCancelledError as failure:
                raise InputError(
                    f"--scheduler: the connection to {where.scheduler or 'the cluster'} was lost; "
                    "finished runs are kept, the same command goes on from here"
                ) from failure
            except Exception as failure:  # the worker itself was lost, twice
                outcome = {
                    "run_id": config.run_id,
                    "seconds": 0.0,
                    "error": f"{type(failure).__name__}: {reason(failure)}",
                }
            if not where.shared:  # of `mark` and `receive`
                for folder in (study / execute.RUNNING).glob(f"{config.run_id}-????????"):
                    shutil.rmtree(folder, ignore_errors=True)
            done(outcome)
            go_on()


def local_cluster(workers: int) -> LocalCluster:
    """So many worker processes of this machine. Raises InputError if they cannot be started."""
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            security=True,
        )
    except Exception as error:  # of Dask, which wraps those of the system
        first: BaseException = error
        while first.__cause__ or first.__context__:
            first = first.__cause__ or first.__context__
        if getattr(first, "errno", None) == errno.ENOSPC:
            raise InputError(
                "the workers cannot be started: there is no room in shared memory, /dev/shm; make some, for a "
                "container with --shm-size"
            ) from error
        raise InputError(
            f"the workers cannot be started ({reason(first)}); fewer --workers need less of everything, and "
            "`python -m lib.study doctor` checks the machine"
        ) from error


def silence() -> None:
    """Silences Dask in this process: the commands report each error once."""
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def refuse_unreachable(where: Where) -> None:
    """Raises InputError if the scheduler does not answer, or the cluster of the file is not available here."""
    if where.scheduler:
        connected(where.scheduler).close()
    elif where.cluster:
        submittable(where.cluster)


def connected(scheduler: str) -> Client:
    """A client of the Dask scheduler at this address. Raises InputError if none answers.

    For tls:// addresses the certificates are those of Dask's configuration.
    """
    silence()
    try:
        return Client(scheduler, timeout=30, security=Security() if scheduler.startswith("tls") else None)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        why = reason(error)
    # Dask closes a client that failed in its finalizer. In a garbage collection later, while Dask starts a thread, that
    # waits for ever: both need one lock.
    gc.collect()
    raise InputError(
        f"--scheduler: no Dask scheduler answers at {scheduler} ({why}); give an address such as tcp://host:8786"
    )


# ---- clusters ----------------------------------------------------------------------------------------------


def described(path: Path) -> tuple[type, dict[str, Any], int]:
    """Reads the file of a cluster: `kind` (slurm or cuda), `workers` and `options` of the library's class.

    Returns:
        (class, options, workers). Jobs use the Python that runs here, unless `options` name another.
    Raises:
        InputError: a file that cannot be read, an unknown kind, or a library that is not installed.
    """
    content = read_yaml(path)
    kind, workers, options = content.get("kind"), content.get("workers"), content.get("options") or {}
    if (
        not isinstance(kind, str)
        or kind not in KINDS
        or content.keys() - {"kind", "workers", "options"}
        or not isinstance(options, dict)
        or type(workers) is not int
        or not 1 <= workers <= 10_000
    ):
        raise InputError(f"{path}: give kind ({' or '.join(KINDS)}), workers (1 or more) and options, nothing else")
    module, name, extra = KINDS[kind]
    try:
        cluster = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError(f"{path}: {module} is not installed; `.venv/bin/pip install -e '.[{extra}]'`") from error
    if "shared_temp_directory" in options:  # for the certificates; jobs start in other folders
        options["shared_temp_directory"] = str(PROJECT / options["shared_temp_directory"])
    if kind != "slurm":
        return cluster, options, workers
    options = {"python": shlex.quote(sys.executable)} | options
    if "local_directory" in options:
        options["local_directory"] = shlex.quote(str(options["local_directory"]))
    return quoted(cluster), options, workers


def quoted(cluster: type) -> type:
    """A cluster of dask-jobqueue whose job script quotes the paths of the certificates."""

    class Quoted(cluster):
        def _get_worker_security(self, security):
            security = super()._get_worker_security(security)
            for name in ("tls_ca_file", "tls_worker_key", "tls_worker_cert"):
                if path := getattr(security, name, None):
                    setattr(security, name, shlex.quote(path))
            return security

    Quoted.__name__ = cluster.__name__
    return Quoted


def submittable(path: Path) -> tuple[type, dict[str, Any], int]:
    """`described`, if this machine has the command that submits jobs; else raises InputError."""
    cluster, options, workers = described(path)
    submit = cluster.job_cls.submit_command.split()[0] if hasattr(cluster, "job_cls") else ""
    if submit and not shutil.which(submit):
        raise InputError(f"{path}: there is no command {submit} here; start the study on a machine that submits jobs")
    return cluster, options, workers


def started(path: Path):
    """The cluster of a file with its workers requested; a context manager that ends them. Raises InputError."""
    cluster, options, workers = submittable(path)
    try:
        return cluster(**{"n_workers": workers} | options)
    except Exception as error:  # the library and the queue raise many types
        raise InputError(f"{path}: the cluster cannot be started ({reason(error)}); correct its options") from error


def job_script(path: Path) -> str:
    """The job script of one worker, as it is submitted. Raises InputError."""
    cluster, options, _ = described(path)
    if not hasattr(cluster, "job_script"):
        raise InputError(f"{path}: workers of this kind are processes of this machine, without a job script")
    try:
        with cluster(**options | {"n_workers": 0}) as idle:
            return idle.job_script()
    except Exception as error:
        raise InputError(f"{path}: the cluster cannot be described ({reason(error)}); correct its options") from error


# ---- workers that share no files ---------------------------------------------------------------------------


class Inputs(WorkerPlugin):
    """Files (name -> content) that each worker gets once, also a worker that joins later.

    They are in the folder `name` of the worker's own folder, which is removed when the worker ends.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        digest = hashlib.sha256(
            b"".join(name.encode() + hashlib.sha256(files[name]).digest() for name in sorted(files))
        )
        self.name = f"iou-study-inputs-{digest.hexdigest()[:16]}"

    def setup(self, worker) -> None:
        """Writes the files on a worker."""
        for name, content in self.files.items():
            path = Path(worker.local_directory) / self.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.files = {}


def inputs(configs: list[Config]) -> Inputs:
    """The data and weights files of these runs, to send to workers. Raises InputError if they are missing."""
    files = {}
    for name, given in {(config.dataset, config.data) for config in configs if config.data != "synthetic"}:
        root = cache.data_root(given)
        for container in layouts.find(name, root):
            files |= {
                f"{sent_as(given)}/{file.relative_to(root).as_posix()}": file.read_bytes() for file in container.files()
            }
    for weights in {config.encoder_weights for config in configs}:
        if (path := PROJECT / Path(weights).expanduser()).is_file():
            files[sent_as(weights)] = path.read_bytes()
    return Inputs(files)


def sent_as(given: str) -> str:
    """The name of a data root or weights file on workers: one for each path, with the same extension."""
    return hashlib.sha256(given.encode()).hexdigest()[:16] + "".join(Path(given).suffixes[-2:])


def execute_apart(config: Config, inputs_name: str, timeout: float | None = None) -> tuple[dict, dict[str, bytes]]:
    """`execute.execute` on a worker, in a folder of its own: (outcome, the files of the run's folder)."""
    get_worker().log_event(STARTED, config.run_id)
    own = Path(get_worker().local_directory)
    sent = {name: own / inputs_name / sent_as(getattr(config, name)) for name in ("data", "encoder_weights")}
    here = replace(config, **{name: str(path) for name, path in sent.items() if path.exists()})
    with tempfile.TemporaryDirectory(dir=own) as study:
        outcome = execute.execute(here, Path(study), timeout)
        folder = Path(study) / (execute.FAILED if outcome["error"] else "") / config.run_id
        return outcome, {file.name: file.read_bytes() for file in folder.glob("*") if file.is_file()}


def mark(study: Path, run_id: str) -> None:
    """Makes the folder of a run that a worker has started, like `execute.execute`, so that it is shown as running."""
    with contextlib.suppress(OSError):  # on a full disk the run goes on; it is reported when the run is received
        (study / execute.RUNNING / f"{run_id}-{uuid.uuid4().hex[:8]}").mkdir(parents=True)


def receive(
    config: Config, study: Path, expected: dict[str, str], replaced: str, outcome: dict, files: dict[str, bytes]
) -> dict:
    """Stores a run that a worker has sent in `<study>/<run_id>/`; returns the outcome like `execute.execute`.

    The record then names the data and weights of this machine. `expected` are the digests in the key of the run on this
    machine; a run with others was made by other code or data and is refused.
    """
    folder = study / execute.RUNNING / f"{config.run_id}-{uuid.uuid4().hex[:8]}" / config.run_id
    error = outcome["error"]
    try:
        if not error:
            record = json.loads(files["record.json"])
            if changed := [part for part, value in expected.items() if record["key_parts"].get(part) != value]:
                error = (
                    f"its worker has other {', '.join(changed)} than this machine; "
                    "give all workers the same version of the project"
                )
            files["record.json"] = json.dumps(record | {"params": asdict(config)}, indent=1).encode()
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / Path(name).name).write_bytes(content)
        execute.file_away(folder, study, replaced, error)
    except OSError as failure:
        error = error or execute.unwritable(study, failure)
    return outcome | {"error": error}


if __name__ == "__main__":
    if sys.argv[1:2] in ([], ["-h"], ["--help"]):
        print("usage: python -m lib.study.workers params/clusters/slurm.yaml", file=sys.stderr)
        sys.exit(0 if sys.argv[1:] else 2)
    try:
        print(job_script(Path(sys.argv[1])))
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
