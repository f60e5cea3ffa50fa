"""What a study's runs wrote, read back: records, histories, scores per image. Nothing here trains.

A study is a folder with one folder for each run, named by its run id, which holds `record.json` (written
last: without it the run is not finished), `history.csv`, `per_image.csv`, `probabilities.npz` and the
executed `train.ipynb`.
"""

import csv
import json
import os
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lib import InputError, paper
from lib.paper import Cell

FORMAT = 1
RECORD_KEYS = {"run_id": str, "params": dict, "scores": dict, "epochs_run": int, "best_epoch": int,
               "seconds": dict, "versions": dict, "seed": int, "data": dict, "key": str, "format": int}
PARAMS = ("model", "dataset", "size", "hair", "loss")
SCORES = ("accuracy", "iou", "iou_pooled", "iou_soft")
METRICS = (*SCORES, "epochs")
SUPERSEDED = ".superseded"  # where a study keeps earlier runs
NOT_RUNS = ("tables", "logs", "pictures")


@dataclass(frozen=True)
class Run:
    """One finished run: its record, and its other files, read when first asked for.

    Reading a file that is missing or damaged raises `InputError`.
    """

    folder: Path
    record: dict

    @property
    def run_id(self) -> str:
        """For example "bfcn32s-lfw-big-nohair-iou"."""
        return self.record["run_id"]

    @property
    def cell(self) -> Cell:
        """What was segmented with what; the same for the two losses."""
        return Cell(*(self.record["params"][name] for name in PARAMS[:4]))

    @property
    def loss(self) -> str:
        """iou, bce or another loss of the study."""
        return self.record["params"]["loss"]

    @property
    def tag(self) -> str:
        """What tells the run apart from others of its cell and loss, for example "seed1"; else empty."""
        return str(self.record["params"].get("tag", ""))

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / "train.ipynb"

    def score(self, metric: str) -> float:
        """accuracy, iou, iou_pooled or iou_soft on the test part, in [0, 1]; or epochs, those run."""
        return float(self.record["epochs_run"] if metric == "epochs" else self.record["scores"][metric])

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """Column name -> (epochs,) float64, a value for each epoch (column `epoch`, from 1), NaN if empty."""
        return _read_columns(self.folder / "history.csv", {"epoch": "float64"})

    @cached_property
    def per_image(self) -> dict[str, np.ndarray]:
        """Scores of each test image, in the test part's order.

        `id` (images,) str; `accuracy`, `iou` (thresholded at 0.5), `iou_soft` (equation 3), (images,) float64
        in [0, 1]; `tp`, `fp`, `fn`, `tn`, (images,) int64 pixels.
        """
        return _read_columns(self.folder / "per_image.csv",
                             {"id": "str", "accuracy": "float64", "iou": "float64", "iou_soft": "float64",
                              "tp": "int64", "fp": "int64", "fn": "int64", "tn": "int64"})

    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions on the test part: ((images, height, width) uint8, 255 times P; (images,) str ids)."""
        probabilities, ids = read_arrays(self.folder / "probabilities.npz", "probabilities", "ids")
        return probabilities, ids


@dataclass(frozen=True, eq=False)
class Study(Mapping):
    """The finished runs of a study by run id: the 32 of the paper in its order, then any others by name."""

    folder: Path
    runs: dict[str, Run]
    problems: list[str]  # a sentence for each folder that holds no finished run

    def __getitem__(self, run_id: str) -> Run:
        return self.runs[run_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


def read_study(folder: str | Path) -> Study:
    """Reads the records of all finished runs in a study's folder.

    Files, folders whose names start with "." and the folders in `NOT_RUNS` are passed over; what else
    is not a finished run becomes a sentence in `problems`.

    Raises:
        InputError: if there is no such folder or no finished run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such study folder; write one with `python -m lib.study run`")
    runs, problems = {}, []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name not in NOT_RUNS:
            try:
                runs[path.name] = read_run(path)
            except InputError as error:
                problems.append(str(error))
    if not runs:
        raise InputError(f"{folder}: holds no finished run ({len(problems)} unfinished or unreadable); "
                         "run the study with `python -m lib.study run`")
    planned = [cell.run_id(loss) for cell in paper.CELLS for loss in paper.LOSSES]
    order = [run_id for run_id in planned if run_id in runs]
    order += [run_id for run_id in runs if run_id not in planned]
    return Study(folder, {run_id: runs[run_id] for run_id in order}, problems)


def set_aside(folder: Path) -> None:
    """Moves what stands in a run's folder to `.superseded/<run_id>-<time>` beside it, so that nothing is lost."""
    if folder.exists():
        kept = folder.parent / SUPERSEDED / f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        kept.parent.mkdir(exist_ok=True)
        os.replace(folder, kept)


def pairs(study: Study) -> list[tuple[Cell, Run, Run]]:
    """The cells of which both runs are finished, in the paper's order: (cell, IoU loss, BCE loss)."""
    return [(cell, study[cell.run_id("iou")], study[cell.run_id("bce")])
            for cell in paper.CELLS if cell.run_id("iou") in study and cell.run_id("bce") in study]


def scores(study: Study, metric: str) -> tuple[list[Cell], np.ndarray]:
    """One metric of the study's pairs, as `paper.scores` has it for the paper.

    Args:
        metric: accuracy, iou, iou_pooled, iou_soft (in [0, 1]) or epochs (run until the stop, `epochs_run`).
    Returns:
        (cells, (cells, 2) float64 for IoU loss and BCE loss); a cell with a run missing is left out.
    Raises:
        InputError: for an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric is {metric!r}: use one of {', '.join(METRICS)}")
    found = pairs(study)
    values = [[iou.score(metric), bce.score(metric)] for _, iou, bce in found]
    return [cell for cell, _, _ in found], np.array(values, "float64").reshape(-1, 2)


def data_note(runs: list[Run]) -> str:
    """Which data these runs are from, and which splits are scaled down: a clause for each case."""
    sentences = []
    for run in runs:
        data = run.record["data"]
        name = paper.DATASETS.get(run.cell.dataset, run.cell.dataset)
        sentence = f"{name}: {(data['note'] or data['source']).rstrip('.')}"
        if data["scaled"]:
            counts = ", ".join(f"{count} {part}" for part, count in data["counts"].items())
            sentence += f" (split scaled to fewer images: {counts})"
        if sentence not in sentences:
            sentences.append(sentence)
    return "Data: " + "; ".join(sentences) + "." if sentences else ""


def read_run(folder: Path) -> Run:
    """Reads the record of one finished run. Raises InputError if the folder holds none."""
    path = folder / "record.json"
    if not path.is_file():
        raise InputError(f"{folder}: has no record.json, so it is no finished run; `python -m lib.study run` "
                         "completes it if it is a run of the study, else move it elsewhere")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    wrong = _wrong_key(record)
    if wrong:
        raise InputError(f"{path}: {wrong} is missing or of the wrong type; delete the folder and run it "
                         "again with `python -m lib.study run`")
    if record["format"] != FORMAT:
        raise InputError(f"{path}: has format {record['format']}, this version reads {FORMAT}; read it with "
                         "the version that wrote it, or run it again")
    if record["run_id"] != folder.name:
        raise InputError(f"{path}: belongs to the run {record['run_id']!r}; rename its folder to that")
    run = Run(folder, record)
    expected = "-".join([run.cell.run_id(run.loss), *([run.tag] if run.tag else [])])
    if run.run_id != expected:
        raise InputError(f"{path}: has the parameters of {expected!r}; delete the folder "
                         "and run it again with `python -m lib.study run`")
    return run


def _wrong_key(record: object) -> str | None:
    """The first key of a record that is missing or has the wrong type, or None."""
    if not isinstance(record, dict):
        return "a mapping of keys"
    wrong = [key for key, kind in RECORD_KEYS.items() if not isinstance(record.get(key), kind)]
    if wrong:
        return wrong[0]
    parts = [("params", name, bool if name == "hair" else str) for name in PARAMS]
    parts += [("scores", name, (int, float)) for name in SCORES]
    parts += [("data", "source", str), ("data", "note", (str, type(None))), ("data", "counts", dict),
              ("data", "scaled", bool)]
    return next((f"{key}.{name}" for key, name, kind in parts
                 if name not in record[key] or not isinstance(record[key][name], kind)), None)


def _read_columns(path: Path, dtypes: dict[str, str]) -> dict[str, np.ndarray]:
    """Columns of a CSV file with a header: those in `dtypes` are required, others float64 (empty: NaN)."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        missing = [name for name in dtypes if name not in header]
        if missing:
            raise ValueError(f"it has no column {missing[0]}")
        columns = zip(*rows, strict=True) if rows else [()] * len(header)
        return {name: np.array([value or "nan" for value in values], dtypes.get(name, "float64"))
                for name, values in zip(header, columns, strict=True)}
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a .npz file by name, never pickled objects. Raises InputError if one cannot be read."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({error}); delete the run's folder and run it again with "
                      "`python -m lib.study run`")
