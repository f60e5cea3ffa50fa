"""The benchmark: tables of what the study costs against other ways, with the ratios that are wanted.

`python tests/bench/bench.py` (or `make bench`) prints the table and writes `<backend>.csv`, `environment.json`,
`growth.csv` and `growth.png` to outputs/bench/. `--only WORD` runs the rows whose name has that word, `--quick`
takes one turn and small sizes; what they measure goes to outputs/bench/trial/. Times are medians of several
turns, in turn with what they are compared with, in one process, with their spread (max - min). Rows against
torch, segmentation_models_pytorch and MONAI need `pip install -e '.[peers]'`.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from unittest import mock

import bench_batch
import bench_data
import bench_growth
import bench_peers
import bench_training
import keras
from bench_timing import MISSING, MODELS, Row, Timing  # first: it imports torch before TensorFlow

from lib import PROJECT, provenance
from lib.study import execute

BENCH = [  # name, function from `quick` to rows
    ("IoU loss, value and gradient", bench_peers.loss),  # first: torch is slower in a process that has trained
    ("up-sampling by 32", bench_training.upsampling),
    *(
        (f"training epoch, {name}", lambda quick, model=model: bench_training.epoch(model, quick))
        for model, name in MODELS.items()
    ),
    ("share of the peak", bench_training.peak),
    ("the whole paper profile", bench_training.paper_profile),
    ("decoding LFW, reading epochs", bench_data.reading),
    ("predicting masks", bench_peers.predicting),
    ("how the cost grows: images", bench_growth.by_images),
    ("how the cost grows: image size", bench_growth.by_image_size),
    ("how the cost grows: seeds, workers", bench_growth.by_seeds_and_workers),
    ("runs by the batch, start-up and bookkeeping", bench_batch.all_runs),
    ("memory", bench_batch.memory),
]
COLUMNS = (
    "what",
    "against",
    "unit",
    "ours",
    "ours_spread",
    "theirs",
    "theirs_spread",
    "ratio",
    "wanted",
    "verdict",
    "note",
)


def environment() -> dict:
    """What the figures depend on: machine, versions, commit, load at the start."""

    def first_line(*command):
        if not shutil.which(command[0]):
            return None
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        return done.stdout.strip().partition("\n")[0] or None

    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cores": execute.cores(),
        "gpu": first_line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "commit": first_line("git", "describe", "--always", "--dirty"),
        **provenance.versions(),
    }
    for package in ("tensorflow", "jax", "torch", "segmentation-models-pytorch", "monai"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def figure(timing: Timing | None, unit: str) -> str:
    """A median and half its spread, in text: "12.3 ms ±0.4"."""
    if timing is None:
        return "-"
    scale, unit = (1e3, "ms") if unit == "s" and timing.median < 1 else (1, unit)
    return f"{scale * timing.median:.1f} {unit} ±{scale * timing.spread / 2:.1f}"


def line(row: Row) -> str:
    """A row as text, its note and the cause of a miss on lines of their own."""
    if row.note == MISSING:
        return f"{row.what:66}{row.against:38}{MISSING}"
    wanted = "" if row.wanted is None else f"{row.wanted:g}"
    text = (
        f"{row.what:66}{row.against:38}{figure(row.ours, row.unit):>18}{figure(row.theirs, row.unit):>18}"
        f"{row.ratio:8.2f}{wanted:>8}  {row.verdict if row.verdict == 'miss' else ''}"
    ).rstrip()
    return "\n    ".join([text, *remarks(row)])


def remarks(row: Row) -> list[str]:
    """The note of a row and, where the wanted ratio is missed, the cause."""
    return [each for each in (row.note, row.cause if row.verdict == "miss" else "") if each]


def record(row: Row) -> list:
    """A row as values of `COLUMNS`; empty where there is none."""
    figures = [
        value for timing in (row.ours, row.theirs) for value in ((timing.median, timing.spread) if timing else ("", ""))
    ]
    return [
        row.what,
        row.against,
        row.unit,
        *figures,
        "" if row.ratio is None else row.ratio,
        "" if row.wanted is None else row.wanted,
        row.verdict,
        "; ".join(remarks(row)),
    ]


def write(path: Path, table: list) -> None:
    """Writes a CSV file in one step."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    os.chmod(file.name, 0o644)
    Path(file.name).replace(path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/bench.py", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose name has this word")
    parser.add_argument("--quick", action="store_true", help="one turn, small sizes: to see that it works")
    parser.add_argument("--out", type=Path, help="folder to write to (default: outputs/bench, or its trial/)")
    options = parser.parse_args(argv)
    chosen = [(name, measure) for name, measure in BENCH if options.only.lower() in name.lower()]
    if not chosen:
        names = "; ".join(name for name, _ in BENCH)
        parser.error(f"--only: no row has {options.only!r} in its name; there are {names}")
    whole = not (options.only or options.quick)
    out = options.out or PROJECT / "outputs" / "bench" / ("" if whole else "trial")
    out.mkdir(parents=True, exist_ok=True)
    about, start, rows = environment(), time.perf_counter(), []
    print("\n".join(f"{name}: {value}" for name, value in about.items() if value is not None))
    print(f"\n{'what':66}{'against':38}{'ours':>18}{'theirs':>18}{'ratio':>8}{'wanted':>8}", flush=True)
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, IOU_STUDY_CACHE=cache):
        for name, measure in chosen:
            begun = time.perf_counter()
            found = measure(options.quick)
            rows += found
            print("\n".join(map(line, found)), flush=True)
            print(f"    [{name}: {time.perf_counter() - begun:.0f} s]", flush=True)
    write(out / f"{keras.backend.backend()}.csv", [COLUMNS, *map(record, rows)])
    about |= {"quick": options.quick, "only": options.only, "seconds": round(time.perf_counter() - start)}
    (out / "environment.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if growing := [row for row in rows if row.points]:
        write(
            out / "growth.csv",
            [
                ("what", "x", "seconds", "linear_seconds"),
                *(
                    (row.what, x, seconds, row.points[0][1] * x / row.points[0][0])
                    for row in growing
                    for x, seconds in row.points
                ),
            ],
        )
        bench_growth.draw(growing).savefig(out / "growth.png", dpi=120)
    missed = sum(row.verdict == "miss" for row in rows)
    wanted = sum(row.verdict != "" for row in rows)
    print(f"\n{wanted - missed} of {wanted} wanted ratios reached, {about['seconds']} s; written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
