"""Packed studies: all runs of a study in a few files. Published studies have this form.

records.jsonl      one record per line, sorted by run id
per_image.csv.xz   a row for each run and test image; without accuracy and IoU, which follow from the counts
history.csv.xz     a row for each run and epoch
probabilities.npz  `differences` of the predicted maps, if there are any: (images, height, width) uint8 by run id
"""

import csv
import io
import json
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lib import InputError, reason
from lib.record import Run, as_columns, checked, read_arrays, rows_of, text_of

RECORDS, MAPS = "records.jsonl", "probabilities.npz"
SINGLE = ":float32"  # ends the names of columns of single precision, which take half the digits
MAX_BYTES = 200_000_000  # largest unpacked size of a table


def is_packed(study: Path) -> bool:
    """Whether a study's folder is a packed study."""
    return (study / RECORDS).is_file()


@dataclass(frozen=True)
class Pack:
    """The files that the runs of a packed study share, read on first use."""

    folder: Path

    @cached_property
    def per_image(self) -> dict[str, tuple[list[str], list[list[str]]]]:
        """Header and rows of each run."""
        return self._by_run("per_image")

    @cached_property
    def history(self) -> dict[str, tuple[list[str], list[list[str]]]]:
        """Header and rows of each run."""
        return self._by_run("history")

    def _by_run(self, table):
        path = self.folder / f"{table}.csv.xz"
        try:
            header, rows = rows_of(text_of(path, MAX_BYTES))
            if header[:1] != ["run"] or any(len(row) != len(header) for row in rows):
                raise ValueError("its first column is not run, or its rows differ in length")
        except (OSError, ValueError, csv.Error) as error:
            raise unreadable(path, error) from error
        found = {}
        for run, *row in rows:
            found.setdefault(run, []).append(row)
        return {run: _without_empty(header[1:], rows) for run, rows in found.items()}


def _without_empty(header, rows):
    """Header and rows without the columns that only other runs have."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


@dataclass(frozen=True)
class PackedRun(Run):
    """A run of a packed study. `folder` is the path that it would have in an unpacked study."""

    pack: Pack

    @property
    def has_maps(self) -> bool:
        """See `Run`."""
        return (self.pack.folder / MAPS).is_file()

    def check_has_maps(self) -> None:
        """See `Run`."""
        if not self.has_maps:
            why = "its masks are not passed on"
            if self.record["params"].get("data") != "synthetic":
                why = "pictures of people are not passed on, nor are their masks"
            raise InputError(
                f"{self.pack.folder}: {why}; the scores are in {self.pack.folder / 'tables'}, "
                "`python -m lib.study run` makes your own"
            )

    def probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Run`."""
        path, ids = self.pack.folder / MAPS, self.per_image["id"]
        (probabilities,) = read_arrays(path, self.run_id)
        if probabilities.dtype != np.uint8 or probabilities.ndim != 3 or len(probabilities) != len(ids):
            raise unreadable(path, f"it has no uint8 map for each image of {self.run_id}")
        return undone(probabilities), ids

    def _columns(self, table, dtypes):
        rows = getattr(self.pack, table).get(self.run_id)
        if rows is None:
            raise self._unreadable(table, f"it has no rows of {self.run_id}")
        header, rows = rows
        single = {name.removesuffix(SINGLE) for name in header if name.endswith(SINGLE)}
        names = [name.removesuffix(SINGLE) for name in header]
        try:
            columns = as_columns(names, rows, {**dtypes, **dict.fromkeys(single, "float32")})
        except (ValueError, OverflowError) as error:
            raise self._unreadable(table, error) from error
        return {name: column.astype("float64") if name in single else column for name, column in columns.items()}

    def _unreadable(self, table, why):
        return unreadable(self.pack.folder / f"{table}.csv.xz", why)


def unreadable(path: Path, why: Exception | str) -> InputError:
    """The sentence about a file of a packed study that cannot be read."""
    return InputError(f"{path}: cannot be read ({why if isinstance(why, str) else reason(why)}); get the study again")


def read(study: Path) -> tuple[dict[str, Run], list[str]]:
    """The runs of a packed study by run id, and a sentence for each record that cannot be used. Raises InputError."""
    path, pack = study / RECORDS, Pack(study)
    runs, problems = {}, []
    try:
        lines = text_of(path, MAX_BYTES).split("\n")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():  # after the last one
            continue
        place = f"{path}, line {number}"
        try:
            record = checked(json.loads(line), place, "get the study again")
            if record["run_id"] in runs:
                raise InputError(f"{place}: the run {record['run_id']} is given twice; keep one of the two lines")
            runs[record["run_id"]] = PackedRun(study / record["run_id"], record, pack)
        except InputError as error:
            problems.append(str(error))
        except (ValueError, RecursionError) as error:
            problems.append(str(unreadable(path, f"line {number}: {reason(error)}")))
    return runs, problems


def write(folder: Path, runs: Iterable[Run], with_maps: Iterable[str] = ()) -> None:
    """Packs runs into `folder`, with maps for the run ids in `with_maps`. The same runs give the same bytes.

    Raises:
        InputError: a file of a run that cannot be read.
    """
    runs = sorted(runs, key=lambda run: run.run_id)
    lines = [json.dumps(run.record) + "\n" for run in runs]
    (folder / RECORDS).write_text("".join(lines), encoding="utf-8")
    left_out = ("accuracy", "iou")
    _write_table(
        folder / "per_image.csv.xz",
        [(run, {name: column for name, column in run.per_image.items() if name not in left_out}) for run in runs],
    )
    _write_table(folder / "history.csv.xz", [(run, run.history) for run in runs])
    if maps := {run.run_id: differences(run.probabilities()[0]) for run in runs if run.run_id in set(with_maps)}:
        np.savez_compressed(folder / MAPS, **maps)


def differences(images: np.ndarray) -> np.ndarray:
    """Each pixel minus those above and to the left, modulo 256: these pack to less. `undone` takes them back.

    Args, returns: (images, height, width, ...) uint8.
    """
    zero = np.uint8(0)
    return np.diff(np.diff(images, axis=1, prepend=zero), axis=2, prepend=zero)


def undone(found: np.ndarray) -> np.ndarray:
    """Images of their `differences`; shape and dtype stay."""
    return np.cumsum(np.cumsum(found, axis=2, dtype=np.uint8), axis=1, dtype=np.uint8)


def _write_table(path, tables):
    header = list(dict.fromkeys(name for _, columns in tables for name in columns))
    single = {name for name in header if all(_is_single(columns[name]) for _, columns in tables if name in columns)}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["run", *(name + SINGLE * (name in single) for name in header)])
    for run, columns in tables:
        n = len(next(iter(columns.values())))
        texts = [_as_text(columns[name], name in single) if name in columns else [""] * n for name in header]
        writer.writerows(zip([run.run_id] * n, *texts))
    path.write_bytes(lzma.compress(text.getvalue().encode("utf-8"), preset=9))


def _is_single(column):
    """Whether single precision holds the numbers of a column exactly."""
    column = np.asarray(column)
    return column.dtype.kind == "f" and np.array_equal(
        column.astype("float32").astype("float64"), column, equal_nan=True
    )


def _as_text(column, single):
    """Numbers in the fewest digits that are exact, whole ones without a decimal point, NaN as an empty text."""
    column = np.asarray(column)
    if column.dtype.kind != "f":
        return column.tolist()
    texts = map(str, column.astype("float32")) if single else map(repr, column.tolist())
    return ["" if text == "nan" else text.removesuffix(".0") for text in texts]
