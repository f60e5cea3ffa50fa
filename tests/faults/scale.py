"""A study of 2,000 stub runs on 16 workers: `python tests/faults/scale.py --runs 2000 --workers 16`.

Prints, for each quarter of the study, the driver's memory and the wall time of a run, which must stay flat, and how much
of a core a run's bookkeeping takes: everything but training, which the stub does not do.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from stub import Stub

SET_CHILD_SUBREAPER = 36  # of Linux's prctl: processes whose parents ended become children of this one


def memory(pid: int) -> float:
    """Resident memory of a process in MiB; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def scale(stub: Stub, runs: int, workers: int) -> dict:
    """Executes the study; (runs done, seconds, driver's MiB) at each quarter, and the end."""
    profile = stub.folder / "params" / "profiles" / "scale.yaml"
    profile.write_text(
        json.dumps(
            {
                "data": "synthetic",
                "encoder_weights": "none",
                "grid": {"loss": ["iou", "bce"], "seed": list(range(runs // 2))},
            }
        )
    )
    start = time.monotonic()
    driver = stub.start("--profile", "scale", "--workers", workers, only="*", STUB_SECONDS="0")
    printed = []
    reader = threading.Thread(target=lambda: printed.extend(driver.stdout), daemon=True)  # a full pipe would stop it
    reader.start()
    quarters, seen = [], 0.0
    while driver.poll() is None:
        seen = memory(driver.pid) or seen
        done = sum(1 for entry in os.scandir(stub.out) if not entry.name.startswith(".")) if stub.out.exists() else 0
        while len(quarters) < 4 and done >= (len(quarters) + 1) * runs // 4:
            quarters.append((done, time.monotonic() - start, seen))
        time.sleep(0.2)
    reader.join(10)
    return {"quarters": quarters, "status": driver.returncode, "done": len(stub.done()), "printed": printed}


def processor_seconds() -> float:
    """Processor time of all processes started from here, once they have ended; those whose parents are gone, too."""
    stop = time.monotonic() + 30
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < stop:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        found = scale(Stub(Path(folder) / "project"), options.runs, options.workers)
    before = (0, 0.0)
    for done, seconds, mib in found["quarters"]:
        print(f"{done:5} runs done: driver {mib:.0f} MiB, {(seconds - before[1]) / (done - before[0]):.3f} s a run")
        before = (done, seconds)
    print(
        f"{found['done']} of {options.runs} runs on {options.workers} workers and {os.cpu_count()} cores in {before[1]:.0f} s; "
        f"{processor_seconds() / options.runs:.2f} s of processor time a run for kernel, papermill, Dask and files"
    )
    if found["status"]:
        print(f"the driver ended with status {found['status']}:", *found["printed"][-200:], sep="\n")
    return int(found["done"] != options.runs or found["status"] != 0)


if __name__ == "__main__":
    sys.exit(main())
