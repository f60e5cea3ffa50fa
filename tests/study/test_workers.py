"""lib/study/workers.py: Dask's workers here and elsewhere; `tests/faults` has clusters that fail."""

import errno
import gc
import os
import subprocess
import sys

import pytest
from distributed import Client
from tiny_runs import RUN, tiny

from lib import PROJECT, InputError
from lib.study import workers
from lib.study.run import run


def test_a_scheduler_that_does_not_answer(tmp_path):
    with pytest.raises(InputError, match="--scheduler: no Dask scheduler answers at nonsense .*tcp://host:8786"):
        run(tiny(RUN + "iou"), tmp_path / "study", workers.Where(1, "nonsense"))
    assert not (tmp_path / "study").exists()  # refused before anything is written
    assert not [each for each in gc.get_objects() if type(each) is Client]  # the failed one would stop a later cluster


STRANGERS = """
from pathlib import Path
from distributed import Client, LocalCluster
from lib.study import workers

def started(**options):
    local = LocalCluster(**options)
    for address in (local.scheduler_address, local.scheduler_address.replace("tls", "tcp")):
        try:
            Client(address, timeout=3).close()
        except (OSError, TypeError):
            print("refused", address.partition(":")[0])
    return local

workers.LocalCluster = started
if __name__ == "__main__":
    workers.execute_all([], Path("study"), workers.Where(1), lambda outcome: None)
"""


def test_the_workers_of_this_machine_listen_to_their_driver_alone(tmp_path):
    """Dask runs what it is sent: without the driver's certificates nobody may connect. In a process of its own: clients
    that fail are closed in some garbage collection, see `workers.connected`."""
    (tmp_path / "strangers.py").write_text(STRANGERS)
    command = [sys.executable, "strangers.py"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["refused tls", "refused tcp"], ran.stdout + ran.stderr


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


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "there is no room in shared memory, /dev/shm; make some"),
        (OSError(errno.EMFILE, "Too many open files"), r"\(\[Errno 24\] Too many open files\); fewer --workers need"),
    ],
)
def test_workers_for_which_the_machine_has_no_room(tmp_path, monkeypatch, error, words):
    """Dask's processes talk through queues with locks in shared memory, which are refused as the system does."""
    import multiprocessing.synchronize

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", refuse)
    with pytest.raises(InputError, match=words):
        workers.execute_all(tiny(RUN + "iou"), tmp_path, workers.Where(1), lambda outcome: None)
