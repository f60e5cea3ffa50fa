"""Distributes the runs of a study over Dask workers: of this machine, of a cluster, or of machines that share no files.

    python -m lib.study.workers params/clusters/slurm.yaml      # the job script that each worker's job would have

With `--no-shared-files` the data go to every worker once and each finished run comes back whole.
"""

import contextlib
import hashlib
import importlib.util
import itertools
import json
import logging
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
STARTED = "iou-study-started"  # the topic of what workers say to the driver when they begin a run
AHEAD = 64  # runs handed out at least, so that workers that join find some
PATIENCE = {"distributed.comm.timeouts.tcp": "300s", "distributed.comm.timeouts.connect": "120s"}  # on busy machines


@dataclass(frozen=True)
class Where:
    """On which workers a study runs: `workers` processes of this machine, unless one of the others is given.

    scheduler: address of a Dask scheduler.  cluster: a file of `params/clusters/`.
    shared: workers see the study's folder, the project and the data under the same paths; else only the project,
        their own copy of it.
    """

    workers: int = 1
    scheduler: str | None = None
    cluster: Path | None = None
    shared: bool = True


def execute_all(
    configs: list[Config], study: Path, where: Where, done: Callable[[dict], None], timeout: float | None = None
) -> None:
    """Executes many configurations on Dask and calls `done` with the outcome of each as it comes in.

    `timeout` is that of `execute.execute`. Raises InputError if the workers cannot be had or were all lost.
    """
    silence()
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(PATIENCE))
        ignore = stack.enter_context(signals.deaf_at_the_end())
        if where.scheduler:
            client = stack.enter_context(connected(where.scheduler))
        elif where.cluster:
            client = stack.enter_context(Client(stack.enter_context(started(where.cluster))))
        else:  # with certificates for its time alone: Dask runs what it is sent, by whoever can connect
            with signals.uninterrupted():
                local = stack.enter_context(
                    LocalCluster(
                        n_workers=where.workers,
                        threads_per_worker=1,
                        processes=True,
                        memory_limit=0,
                        dashboard_address="127.0.0.1:0",
                        silence_logs=logging.CRITICAL,
                        security=True,
                    )
                )
                client = stack.enter_context(Client(local))
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
            """Hands out runs, some more than there are workers: thousands at once would keep the driver busy."""
            ahead = AHEAD
            with contextlib.suppress(OSError):  # the scheduler is gone, which the runs that wait will say
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
            if not where.shared:  # its traces and what `receive` left
                for folder in (study / execute.RUNNING).glob(f"{config.run_id}-????????"):
                    shutil.rmtree(folder, ignore_errors=True)
            done(outcome)
            go_on()


def silence() -> None:
    """Lets Dask say nothing in this process: what goes wrong is said here, once."""
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def refuse_unreachable(where: Where) -> None:
    """Raises InputError if the scheduler does not answer, or the file's kind of cluster cannot be had here."""
    if where.scheduler:
        connected(where.scheduler).close()
    elif where.cluster:
        submittable(where.cluster)


def connected(scheduler: str) -> Client:
    """A client of the Dask scheduler at this address. Raises InputError if none answers.

    For tls:// addresses the certificates are those that Dask's own configuration names.
    """
    silence()
    try:
        return Client(scheduler, timeout=30, security=Security() if scheduler.startswith("tls") else None)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(
            f"--scheduler: no Dask scheduler answers at {scheduler} ({reason(error)}); "
            "give an address such as tcp://host:8786"
        ) from error


# ---- clusters ----------------------------------------------------------------------------------------------


def described(path: Path) -> tuple[type, dict[str, Any], int]:
    """What a cluster's file asks for: `kind` (slurm or cuda), `workers` and `options` of the library's class.

    Returns:
        (class, options, workers). Jobs run this very Python, unless `options` say otherwise.
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
    if "shared_temp_directory" in options:  # of the certificates, which jobs look for from other folders
        options["shared_temp_directory"] = str(PROJECT / options["shared_temp_directory"])
    return cluster, ({"python": sys.executable} if kind == "slurm" else {}) | options, workers


def submittable(path: Path) -> tuple[type, dict[str, Any], int]:
    """`described`, where this machine has the command that submits jobs; else raises InputError."""
    cluster, options, workers = described(path)
    submit = cluster.job_cls.submit_command.split()[0] if hasattr(cluster, "job_cls") else ""
    if submit and not shutil.which(submit):
        raise InputError(f"{path}: there is no command {submit} here; start the study on a machine that submits jobs")
    return cluster, options, workers


def started(path: Path):
    """The cluster of a file, its workers asked for; a context manager that ends them. Raises InputError."""
    cluster, options, workers = submittable(path)
    try:
        return cluster(**{"n_workers": workers} | options)
    except Exception as error:  # the library's and the queue's own, of many types
        raise InputError(f"{path}: the cluster cannot be started ({reason(error)}); correct its options") from error


def job_script(path: Path) -> str:
    """The script of one worker's job, as it would be submitted. Raises InputError."""
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
    """Files that each worker gets once, also one that joins later: names and their content.

    They lie in the worker's own folder, which ends with it, below `name`, which tells other files from these.
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
    """The data and weights files that these runs read, to be sent. Raises InputError if they are missing."""
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
    """The name that a data root or weights file goes by on workers: one for each path, its ending kept."""
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
    """Leaves a trace of a run that a worker began, as `execute.execute` would, by which `study.state` calls it running."""
    with contextlib.suppress(OSError):  # a full disk stops no run here, which is said when it comes back
        (study / execute.RUNNING / f"{run_id}-{uuid.uuid4().hex[:8]}").mkdir(parents=True)


def receive(
    config: Config, study: Path, expected: dict[str, str], replaced: str, outcome: dict, files: dict[str, bytes]
) -> dict:
    """Files a run that a worker sent under `<study>/<run_id>/`, whole or not at all; the outcome, as `execute.execute`.

    The record then names the data and weights of this machine. A run whose key has other parts than `expected`, those
    of this machine, was made by other code or data and is refused.
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
    try:
        print(job_script(Path(sys.argv[1])))
    except (IndexError, InputError) as problem:
        print(
            f"error: {problem}"
            if isinstance(problem, InputError)
            else "usage: python -m lib.study.workers params/clusters/slurm.yaml",
            file=sys.stderr,
        )
        sys.exit(2)
