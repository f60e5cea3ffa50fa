"""Random faults at random moments until enough were survived: `python tests/faults/soak.py --faults 60 --seed 0`.

Studies of 32 stub runs, one after the other; each is run again after every fault that ends its driver, until it is
complete. Prints the faults by kind and what was lost: finished runs that changed, were repeated, or differ in any bit
from those of a study that was not disturbed, and processes left over.
"""

import argparse
import contextlib
import fnmatch
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from stub import Stub, eventually, kill

KINDS = ("kernel", "worker", "server", "driver", "SIGTERM", "raise", "full disk")


def inject(kind: str, stub: Stub, driver, rng: random.Random) -> bool:
    """One fault; False if there was nothing to hit."""
    if kind in ("driver", "SIGTERM"):
        driver.send_signal(signal.SIGKILL if kind == "driver" else signal.SIGTERM)
        return True
    if kind == "raise":
        waiting = sorted(set(all_runs(stub)) - stub.done().keys())
        if waiting:
            (stub.faults / rng.choice(waiting)).write_text("raise ValueError('a fault')")
        return bool(waiting)
    kernels = stub.kernels()
    if kind == "full disk":
        return bool(stub.disk) and fill(stub.disk, rng.uniform(0.5, 2))
    victims = {
        "kernel": kernels,
        "worker": stub.workers(),
        "server": [pid for pid in stub.processes() if pid not in kernels and is_server(pid)],
    }[kind]
    return bool(victims) and kill(rng.choice(victims))


def fill(disk: Path, seconds: float) -> bool:
    """Takes all room on a file system for a while."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    time.sleep(seconds)
    filler.unlink()
    return True


@contextlib.contextmanager
def mounted(stub: Stub) -> Iterator[None]:
    """The studies on a file system of 16 MB that can be filled, where this user may mount one."""
    disk = stub.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "soak", disk]
    if shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0:
        stub.disk, stub.out = disk, disk / "study"
    try:
        yield
    finally:
        if stub.disk:
            subprocess.run(["umount", "-l", disk], check=True)


def is_server(pid: int) -> bool:
    try:
        return b"lib.study.kernels" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def all_runs(stub: Stub) -> list[str]:
    return [path.stem for path in (stub.folder / "params").glob("*.yaml")]


def complete(stub: Stub, only: str) -> dict[str, str]:
    """The numbers of a study that no fault disturbs, on one worker (`Stub.bits`); the study is removed again."""
    status, output = stub.call("--workers", 1, only=only, STUB_SECONDS="0")
    assert status == 0, output
    bits = stub.bits()
    shutil.rmtree(stub.out)
    return bits


def soak(stub: Stub, faults: int, seed: int, only: str = "*") -> dict:
    """Injects `faults` faults and completes the last study; returns the figures that `main` prints."""
    total = sum(fnmatch.fnmatch(run_id, only) for run_id in all_runs(stub))
    undisturbed, different = complete(stub, only), 0
    rng, injected, changed, repeated, drivers, studies = random.Random(seed), Counter(), 0, 0, 0, 0
    before = {}
    start = time.monotonic()
    while True:
        driver = stub.start("--workers", 2, only=only, STUB_SECONDS="0.3")
        drivers += 1
        while driver.poll() is None:
            time.sleep(rng.uniform(0.3, 2))
            if injected.total() < faults and driver.poll() is None and (stub.kernels() or stub.done()):
                kind = rng.choice(KINDS)
                injected[kind] += inject(kind, stub, driver, rng)
        driver.communicate()
        eventually(lambda: not stub.processes(), 60)
        now = stub.done()
        changed += sum(now.get(run_id) != digest for run_id, digest in before.items())
        before = now
        if len(now) == total:
            studies += 1
            different += sum(undisturbed[run_id] != digest for run_id, digest in stub.bits().items())
            repeated += len(list(stub.out.glob(".superseded/*")))
            if injected.total() >= faults:
                break
            before = {}
            shutil.rmtree(stub.out)
    return {
        "faults": dict(injected),
        "drivers": drivers,
        "studies": studies,
        "changed": changed,
        "repeated": repeated,
        "different": different,
        "orphans": len(stub.processes()),
        "seconds": round(time.monotonic() - start),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stub = Stub(Path(folder))
        with mounted(stub):
            figures = soak(stub, options.faults, options.seed)
    print(
        f"{sum(figures['faults'].values())} faults in {figures['seconds']} s: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(figures["faults"].items()) if count)
    )
    print(
        f"{figures['studies']} studies of 32 runs completed by {figures['drivers']} drivers; finished runs lost or "
        f"changed: {figures['changed']}, repeated: {figures['repeated']}, other than in an undisturbed study: "
        f"{figures['different']}; processes left over: {figures['orphans']}"
    )
    return int(any(figures[name] for name in ("changed", "repeated", "different", "orphans")))


if __name__ == "__main__":
    sys.exit(main())
