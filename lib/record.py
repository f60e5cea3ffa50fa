"""Writes, reads and checks the files of a run.

A run's folder, named by its run id, has `record.json` (written last: without it the run is not finished),
`history.csv`, `per_image.csv`, `probabilities.npz` and the executed `train.ipynb`. See `packs` for published studies.
"""

import csv
import io
import itertools
import json
import lzma
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TextIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from lib import InputError, as_text, reason
from lib.checks.arrays import LARGEST
from lib.config import NAMED, Cell, Config, is_word

FORMAT = 1
RECORD_KEYS = {
    "run_id": str,
    "params": dict,
    "scores": dict,
    "epochs_run": int,
    "best_epoch": int,
    "seconds": dict,
    "versions": dict,
    "seed": int,
    "data": dict,
    "key": str,
    "format": int,
}
KINDS = {field.name: field.type for field in fields(Config)}  # of parameters
SCORES = ("accuracy", "iou", "iou_pooled", "iou_soft")
METRICS = (*SCORES, "epochs")
COUNTS = ("tp", "fp", "fn", "tn")
AGAIN = "delete the folder and run it again with `python -m lib.study run`"  # what helps against a damaged run
SUPERSEDED = ".superseded"  # where a study keeps earlier runs
MAX_TEXT, MAX_ARRAYS = 50_000_000, 2_000_000_000  # largest text file and unpacked arrays that are read, in bytes
MAX_ROWS = 2_000_000  # of a table
MAX_VALUE = 300  # characters of a value in a table


@dataclass(frozen=True)
class Run:
    """One finished run: its record, and its other files, which are read on first use.

    A file that is missing or damaged raises `InputError` when it is read.
    """

    folder: Path
    record: dict

    @property
    def run_id(self) -> str:
        """For example "bfcn32s-lfw-big-nohair-iou"."""
        return self.record["run_id"]

    @property
    def cell(self) -> Cell:
        """Model, data set, size and hair; the same for both losses."""
        return Cell(*(self.record["params"][name] for name in NAMED[:4]))

    @property
    def loss(self) -> str:
        """iou, bce or another loss of the study."""
        return self.record["params"]["loss"]

    @property
    def tag(self) -> str:
        """What distinguishes the run from others with its cell and loss, for example "seed1"; else empty."""
        return str(self.record["params"].get("tag", ""))

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / "train.ipynb"

    def score(self, metric: str) -> float:
        """accuracy, iou, iou_pooled or iou_soft on the test part, in [0, 1]; or epochs, the number run."""
        return float(self.record["epochs_run"] if metric == "epochs" else self.record["scores"][metric])

    @property
    def has_maps(self) -> bool:
        """Whether the predicted probabilities of the test part are stored."""
        return (self.folder / "probabilities.npz").is_file()

    def check_has_maps(self) -> None:
        """Raises InputError if the run came without predicted probabilities: some published studies do."""

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """Column name -> (epochs,) float64, a value for each epoch (column `epoch`, from 1), NaN if empty."""
        return self._columns("history", {"epoch": "float64"})

    @cached_property
    def per_image(self) -> dict[str, np.ndarray]:
        """Scores of each test image, in the test part's order.

        `id` (images,) str; `accuracy`, `iou` (thresholded at 0.5), `iou_soft` (equation 3), (images,) float64
        in [0, 1]; `tp`, `fp`, `fn`, `tn`, (images,) int64 pixels; further scores where the run has them.
        """
        columns = self._columns("per_image", {"id": "str", "iou_soft": "float64", **dict.fromkeys(COUNTS, "int64")})
        if not len(columns["id"]):
            raise self._unreadable("per_image", "it has no images")
        if not all(map(str.isprintable, columns["id"].tolist())):
            raise self._unreadable("per_image", "a name in its column id is not printable")
        for name in ("accuracy", "iou", "iou_soft", *COUNTS):
            if name in columns and ((columns[name] < 0).any() or name not in COUNTS and (columns[name] > 1).any()):
                raise self._unreadable("per_image", f"a value of its column {name} is out of range")
        return {"id": columns.pop("id"), **from_counts(*(columns[name] for name in COUNTS)), **columns}

    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions on the test part: ((images, height, width) uint8, 255 times P; (images,) str ids)."""
        path = self.folder / "probabilities.npz"
        probabilities, ids = read_arrays(path, "probabilities", "ids")
        if (probabilities.dtype, probabilities.ndim, ids.dtype.kind, ids.shape) != (
            np.uint8,
            3,
            "U",
            probabilities.shape[:1],
        ):
            raise unreadable(path, "it has no uint8 map with an id for each image")
        return probabilities, ids

    def _columns(self, table, dtypes):
        path = self.folder / f"{table}.csv"
        try:
            return as_columns(*rows_of(text_of(path)), dtypes)
        except (OSError, ValueError, OverflowError, csv.Error) as error:
            raise unreadable(path, error) from error

    def _unreadable(self, table, why):
        return unreadable(self.folder / f"{table}.csv", why)


def from_counts(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> dict[str, np.ndarray]:
    """`accuracy` and `iou` of each image, (images,) float64, as in `metrics.Confusion`; every image has pixels."""
    union, pixels = tp + fp + fn, np.maximum(tp + fp + fn + tn, 1)
    return {"accuracy": (tp + tn) / pixels, "iou": np.where(union == 0, 1.0, tp / np.maximum(union, 1))}


# ---- writing -----------------------------------------------------------------------------------------------


def claim(folder: Path) -> None:
    """Makes `folder` and checks that files can be written there. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another output folder or change its permissions"
        ) from error


def check_size(images: int, size: int, ids: Sequence[str] = ()) -> None:
    """Raises InputError if a run has more test images or longer names than can be read again."""
    if images >= MAX_ROWS or images * (size**2 + 4 * max(map(len, ids), default=0)) > MAX_ARRAYS:
        raise InputError(
            f"image_size: the maps of {images} test images of {size} px have more than {MAX_ARRAYS:,} bytes, which are "
            "not read again; give fewer test images or a smaller image_size"
        )
    if longest := max((id for id in ids if len(id) > MAX_VALUE), key=len, default=""):
        raise InputError(f"data: the name of image {longest[:80]!r}… has more than {MAX_VALUE} characters; rename it")


def write(
    folder: Path,
    record: dict,
    history: Mapping[str, Sequence],
    per_image: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
) -> None:
    """Writes a finished run into `folder`, the record last. An earlier run there is set aside, never overwritten.

    Args:
        record: with the keys of `RECORD_KEYS`.
        history: column -> a value for each epoch.
        per_image: column -> (images,) of the test part, with a column `id`.
        probabilities: (images, height, width) uint8, 255 P.
    """
    if (folder / "record.json").exists():
        set_aside(folder)
        folder.mkdir()
    for name, columns in (("history", history), ("per_image", per_image)):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            write_csv(file, columns)
    np.savez_compressed(folder / "probabilities.npz", probabilities=probabilities, ids=per_image["id"])
    partial = folder / "record.json.partial"
    partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / "record.json")


def write_csv(file: TextIO, columns: Mapping[str, Sequence]) -> None:
    """Columns as CSV with a header, numbers at full precision."""
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*(np.asarray(column).tolist() for column in columns.values())))


def set_aside(folder: Path) -> None:
    """Moves a run's folder to `.superseded/<run_id>-<time>` beside it, so that nothing is lost."""
    if os.path.lexists(folder):
        kept = folder.parent / SUPERSEDED / f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        kept.parent.mkdir(exist_ok=True)
        os.replace(folder, kept)


# ---- reading -----------------------------------------------------------------------------------------------


def read_run(folder: Path) -> Run:
    """Reads the record of one finished run. Raises InputError if the folder has none."""
    path = folder / "record.json"
    if not os.path.isfile(path):  # Path.is_file raises for a folder that cannot be opened
        raise InputError(
            f"{folder}: has no record.json, so it is not a finished run; `python -m lib.study run` "
            "completes it if it is a run of the study, else move it elsewhere"
        )
    try:
        record = json.loads(text_of(path))
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error
    run = Run(folder, checked(record, str(path)))
    if run.run_id != folder.name:
        raise InputError(f"{path}: belongs to the run {run.run_id[:150]!r}; rename its folder to that")
    return run


def checked(record: object, place: str, remedy: str = AGAIN) -> dict:
    """The record, if every key that is used is present and in range. Raises an InputError that names `place`."""
    wrong = _wrong_key(record)
    if wrong:
        raise InputError(f"{place}: {wrong} is missing, has the wrong type or is out of range; {remedy}")
    if record["format"] != FORMAT:
        raise InputError(
            f"{place}: has format {str(record['format'])[:20]}, this version reads {FORMAT}; read it with "
            "the version that wrote it, or run it again"
        )
    params = record["params"]
    expected = "-".join(
        filter(None, [Cell(*(params[name] for name in NAMED[:4])).run_id(params["loss"]), str(params.get("tag", ""))])
    )
    if record["run_id"] != expected:
        raise InputError(f"{place}: has the parameters of {expected[:150]!r}; {remedy}")
    return record


def _wrong_key(record: object) -> str | None:
    """The first key of a record that is missing or has the wrong type, or None."""
    if not isinstance(record, dict):
        return "a mapping of keys"
    wrong = [key for key, kind in RECORD_KEYS.items() if not isinstance(record.get(key), kind)]
    if wrong:
        return wrong[0]
    parts = [("params", name, bool if name == "hair" else str) for name in NAMED]
    parts += [("scores", name, (int, float)) for name in dict.fromkeys([*SCORES, *record["scores"]])]
    parts += [("seconds", name, (int, float)) for name in record["seconds"]]
    parts += [
        ("data", "source", str),
        ("data", "note", (str, type(None))),
        ("data", "counts", dict),
        ("data", "scaled", bool),
    ]
    wrong = [
        f"{key}.{name}"[:100]
        for key, name, kind in parts
        if name not in record[key] or not isinstance(record[key][name], kind)
    ]
    wrong += [f"params.{name}"[:100] for name, value in record["params"].items() if not _is_parameter(name, value)]
    wrong += ["data.counts"] * any(not (_is_number(n) and n >= 0) for n in record["data"].get("counts", {}).values())
    wrong += [
        f"data.{name}"
        for name, low in (("images", 1), ("positive_share", 0))
        if name in record["data"] and not (_is_number(value := record["data"][name]) and value >= low)
    ]
    wrong += [
        f"scores.{name}"
        for name in SCORES
        if f"scores.{name}" not in wrong
        and not 0 <= record["scores"][name] <= 1
        and record["scores"][name] == record["scores"][name]
    ]
    wrong += [
        f"seconds.{name}"
        for name, value in record["seconds"].items()
        if f"seconds.{name}" not in wrong and not 0 <= value < LARGEST
    ]
    wrong += [name for name in ("epochs_run", "best_epoch") if not 1 <= record[name] <= record["epochs_run"] < 2**31]
    wrong += ["surroundings"] if not isinstance(record.get("surroundings", {}), dict) else []
    wrong += [name for name in ("key_parts", "dead_units") if not isinstance(record.get(name, {}), dict)]
    wrong += ["dead_units"] * any(
        not (isinstance(shares, dict) and all(map(_is_number, shares.values())))
        for shares in (record.get("dead_units", {}).values() if "dead_units" not in wrong else ())
    )
    return wrong[0] if wrong else None


def _is_parameter(name, value):
    """Whether a value has the type, and a text the form, that `resolve` asks for; a name unknown there can have any."""
    kind = KINDS.get(name, type(value))
    if not re.fullmatch("[a-z][a-z0-9_]{0,50}", name) or kind not in (str, bool, int, float):
        return False
    return is_word(name, value) if kind is str else isinstance(value, bool) if kind is bool else _is_number(value)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def text_of(path: Path, most: int = MAX_TEXT) -> str:
    """Content of a text file, unpacked where its name ends in .xz, also if an editor saved it again (`lib.as_text`).

    Raises:
        OSError, ValueError: also for what is not a file or has more than `most` bytes.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")  # opening a pipe would wait for ever
    with open(path, "rb") as file:
        content = _unpacked(file.read(most), most + 1) if path.suffix == ".xz" else file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return as_text(content)


def _unpacked(content, most):
    """The first `most` bytes of what is packed in `content`."""
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_ARRAYS)
    try:
        found = unpacker.decompress(content, most)
    except lzma.LZMAError as error:
        raise ValueError(str(error)) from error
    if len(found) < most and not unpacker.eof:
        raise ValueError("its end is missing")
    return found


def rows_of(text: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of CSV, also as a spreadsheet saves it: with empty lines, between semicolons or tabs.

    Raises ValueError or csv.Error, also for values of more than 300 characters.
    """
    first = text.partition("\n")[0]
    mark = next((mark for mark in ",;\t" if mark in first), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    found = list(itertools.islice(lines, MAX_ROWS + 1))
    if len(found) > MAX_ROWS:
        raise ValueError(f"it has {MAX_ROWS:,} rows or more")
    header, *rows = filter(any, found)
    if mark != ",":  # where numbers have a decimal comma
        rows = [[re.sub(r"^(-?\d+),(\d+(e-?\d+)?)$", r"\1.\2", value, flags=re.I) for value in row] for row in rows]
    if max((len(value) for row in rows for value in row), default=0) > MAX_VALUE:
        raise ValueError(f"one of its values has more than {MAX_VALUE} characters")
    return header, rows


def as_columns(header: list[str], rows: list[list[str]], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Columns of CSV: those in `dtypes` are required, others are float64 (empty: NaN). Raises ValueError."""
    missing = [name for name in dtypes if name not in header]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {
        name: np.array([value or "nan" for value in values], dtypes.get(name, "float64"))
        for name, values in zip(header, columns, strict=True)
    }


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a .npz file by name, never pickled objects. Raises InputError if one cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with ZipFile(path) as archive:
            members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_ARRAYS:
            raise ValueError(f"it unpacks to more than {MAX_ARRAYS:,} bytes")
        if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
            raise ValueError("it is compressed with another method than deflate")
        with np.load(path, allow_pickle=False) as arrays:
            return [np.asarray(arrays[name]) for name in names]
    except Exception as error:  # of any bytes: the readers of zipfile and numpy raise many types
        raise unreadable(path, error) from error


def unreadable(path: Path, why: Exception | str) -> InputError:
    """The sentence about a file of a run that cannot be read."""
    return InputError(
        f"{path}: cannot be read ({why if isinstance(why, str) else reason(why)}); delete the run's folder and "
        "run it again with `python -m lib.study run`"
    )
