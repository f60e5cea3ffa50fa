"""A copy of the project whose training notebook writes a valid record in a moment: real drivers, workers and kernels.

Its numbers follow from the configuration and the number of threads. What a run shall suffer stands in a file under
`faults/`, named by its run id: Python that the notebook executes once.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from lib import PROJECT
from lib.config import NOTEBOOK
from lib.record import read_run

TRAIN = """
import json, os, time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lib import params, provenance

config = params.from_notebook(globals())
folder = Path(out_dir) / config.run_id
fault = Path(os.environ["STUB_FAULTS"]) / config.run_id
if fault.exists():
    text = fault.read_text()
    fault.unlink()
    exec(text)
time.sleep(float(os.environ.get("STUB_SECONDS", 0.2)))
random = np.random.default_rng(list(f"{config.run_id} {config.seed}".encode()))
score = random.random() / int(os.environ["TF_NUM_INTRAOP_THREADS"])
(folder / "history.csv").write_text(f"epoch,loss,val_loss,val_iou\\n1,1,1,{score}\\n")
(folder / "per_image.csv").write_text("id,accuracy,iou,iou_soft,tp,fp,fn,tn\\na_0001,0.75,0.5,0.4,1,0,1,2\\n")
maps = random.integers(0, 256, (1, 2, 2), "uint8")
np.savez_compressed(folder / "probabilities.npz", probabilities=maps, ids=np.array(["a_0001"]))
filed_under, parts = provenance.key(config)
record = {"format": 1, "run_id": config.run_id, "params": asdict(config), "scores": dict.fromkeys(
              ("accuracy", "iou", "iou_pooled", "iou_soft"), score), "epochs_run": 1, "best_epoch": 1,
          "seconds": {"total": 1.0}, "versions": {}, "seed": config.seed, "key": filed_under, "key_parts": parts,
          "data": {"source": "stub", "note": None, "counts": {}, "scaled": False}, "written": time.time()}
partial = folder / "record.json.partial"
partial.write_text(json.dumps(record))
os.replace(partial, folder / "record.json")
"""


class Stub:
    """The copied project in `folder`; `out` is its study's folder."""

    def __init__(self, folder: Path):
        self.folder, self.faults, self.out = folder, folder / "faults", folder / "study"
        self.disk: Path | None = None  # a file system that may be filled, with `out` on it
        ignored = shutil.ignore_patterns("__pycache__", "*.h5")
        for name in ("lib", "params"):
            shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
        with open(folder / "params" / "profiles" / "demo.yaml", "a") as profile:
            profile.write("encoder_weights: none\n")  # a key that counts a weights file takes Keras' seconds to import
        (folder / "notebooks").mkdir()
        self.faults.mkdir()
        kernels = folder / "lib" / "study" / "kernels.py"
        start, end = kernels.read_text().index("LIBRARIES ="), kernels.read_text().index("class ForkedKernel")
        kernels.write_text(
            kernels.read_text()[:start]
            + 'LIBRARIES = ("numpy", "ipykernel.ipkernel", "IPython.core")\n\n\n'
            + kernels.read_text()[end:]
        )
        notebook = nbformat.read(NOTEBOOK, 4)
        parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
        notebook.cells = [parameters, nbformat.v4.new_code_cell(TRAIN)]
        nbformat.write(notebook, folder / "notebooks" / "train.ipynb")

    @property
    def environment(self) -> dict:
        return {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "STUB_FAULTS": str(self.faults),
            "IOU_STUDY_CACHE": str(self.folder / "cache"),
        }

    def start(self, *arguments, only="bfcn32s-lfw-big-*", command="run", **environment) -> subprocess.Popen:
        """A driver at work, in a session of its own; on one worker, as each takes seconds to start."""
        options = ("--out", self.out, "--only", only, "--workers", "1")
        return subprocess.Popen(
            [sys.executable, "-m", "lib.study", command, *options, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def call(self, *arguments, **options) -> tuple[int, str]:
        """A driver run to its end: (exit status, what it printed)."""
        process = self.start(*arguments, **options)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def done(self) -> dict[str, str]:
        """Finished runs and the digest of all their files."""
        return {
            path.parent.name: hashlib.sha256(
                b"".join(file.name.encode() + file.read_bytes() for file in sorted(path.parent.iterdir()))
            ).hexdigest()
            for path in sorted(self.out.glob("*/record.json"))
        }

    def bits(self) -> dict[str, str]:
        """Finished runs and the digest of their numbers: record without times, tables and maps."""
        found = {}
        for run_id in self.done():
            run = read_run(self.out / run_id)
            record = {name: value for name, value in run.record.items() if name not in ("seconds", "written")}
            tables = [(run.folder / f"{name}.csv").read_bytes() for name in ("history", "per_image")]
            parts = [json.dumps(record, sort_keys=True).encode(), *tables, run.probabilities()[0].tobytes()]
            found[run_id] = hashlib.sha256(b"".join(parts)).hexdigest()
        return found

    def processes(self) -> list[int]:
        """Live processes that were started from this copy."""
        marker, found = f"STUB_FAULTS={self.faults}".encode(), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                    if alive and marker in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    pass
        return found

    def kernels(self) -> list[int]:
        """Kernels at work: forks of a `lib.study.kernels` that have one as their parent."""
        found = []
        for pid in self.processes():
            try:
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                line, above = (Path(f"/proc/{each}/cmdline").read_bytes() for each in (pid, parent))
            except OSError:
                continue
            if b"lib.study.kernels" in line and b"lib.study.kernels" in above:
                found.append(pid)
        return found

    def workers(self) -> list[int]:
        """Dask's worker processes."""
        return [pid for pid in self.processes() if b"spawn_main" in _cmdline(pid)]


def _cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(pid: int) -> bool:
    """SIGKILL; False if the process is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def eventually(condition, seconds: float = 120):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value
