"""The studies in `outputs/`: the list of them, the state of each, and the finished runs of one.

A study is a folder with one folder for each run, named by its run id (see `record`), or packed (see `packs`).
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import PROJECT, InputError, config, packs, reason
from lib.config import NAMED, STARTED, Config
from lib.record import Run, read_run

if TYPE_CHECKING:
    import pandas

OUTPUTS = PROJECT / "outputs"
PUBLISHED = OUTPUTS / "published"
RERUN = "rerun"  # folder in `outputs/` for runs that are run again; it is not a study
PICTURES = "pictures"  # folder of a published study with the images and labels of its test parts


# ---- which studies there are -------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """The state of a study: ids of its runs that are done, have failed (id -> sentence) or are running.

    `problems` has a sentence for each folder that cannot be read.
    """

    folder: Path
    done: list[str]
    failed: dict[str, str]
    running: list[str]
    problems: list[str]
    has_maps: bool = False  # of its first run

    @property
    def name(self) -> str:
        """Its folder, relative to `outputs/` if it is in there."""
        return str(self.folder.relative_to(OUTPUTS) if self.folder.is_relative_to(OUTPUTS) else self.folder)


def state(folder: Path) -> State | None:
    """The state of a study; None for a folder that has no run of any state."""
    try:
        study = read_study(folder)
        done, problems, has_maps = list(study), study.problems, next(iter(study.values())).has_maps
    except InputError as error:
        done, problems, has_maps = [], [str(error)] if count_finished(folder) else [], False
    failed = {
        path.parent.name: path.read_text(encoding="utf-8", errors="replace").strip()
        for path in sorted(folder.glob(".failed/*/error.txt"))
        if path.is_file()
    }
    running = sorted({path.name.rpartition("-")[0] for path in folder.glob(".running/*")})
    return State(folder, done, failed, running, problems, has_maps) if done or failed or running or problems else None


def studies(outputs: Path = OUTPUTS) -> list[State]:
    """Every study in `outputs/`, then every study in `outputs/published/`."""
    folders = [
        folder
        for root in (outputs, outputs / PUBLISHED.name)
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".") and folder != outputs / RERUN
    ]
    return [found for folder in folders if folder != outputs / PUBLISHED.name and (found := state(folder))]


def default_study(outputs: Path = OUTPUTS, published: str = "demo") -> Path:
    """The study that a notebook opens by default: that of `make study`, else this one of the published studies."""
    own = outputs / "demo"
    return own if count_finished(own) else outputs / PUBLISHED.name / published


def count_finished(folder: Path) -> int:
    """How many runs of a study have a record, without reading it."""
    if packs.is_packed(folder):
        with open(folder / packs.RECORDS, "rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(1_000_000), b""))
    return len(list(folder.glob("*/record.json")))


# ---- one study ---------------------------------------------------------------------------------------------

NOT_RUNS = ("tables", "logs", PICTURES)


@dataclass(frozen=True, eq=False)
class Study(Mapping):
    """The finished runs of a study by run id: the 32 of the paper in its order, then any others by name."""

    folder: Path
    runs: dict[str, Run]
    problems: list[str]  # a sentence for each folder without a finished run

    def __getitem__(self, run_id: str) -> Run:
        return self.runs[run_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


def read_study(folder: str | Path) -> Study:
    """Reads the records of all finished runs in a study's folder.

    Of a packed study (`packs`) all records are read. Otherwise files, hidden folders (their names start with ".") and
    the folders in `NOT_RUNS` are skipped. Each folder that is not a finished run becomes a sentence in `problems`.

    Raises:
        InputError: if there is no such folder or no finished run in it.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: there is no such study folder; write one with `python -m lib.study run`")
    runs, problems = packs.read(folder) if packs.is_packed(folder) else ({}, [])
    try:
        paths = [] if packs.is_packed(folder) else sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({reason(error)}); change its permissions") from error
    for path in paths:
        if path.is_dir() and not path.name.startswith(".") and path.name not in NOT_RUNS:
            try:
                runs[path.name] = read_run(path)
            except InputError as error:
                problems.append(str(error))
    if not runs:
        raise InputError(
            f"{folder}: holds no finished run ({len(problems)} unfinished or unreadable); "
            "run the study with `python -m lib.study run`"
        )
    planned = [cell.run_id(loss) for cell in config.CELLS for loss in config.PAPER["loss"]]
    order = [run_id for run_id in planned if run_id in runs]
    order += [run_id for run_id in runs if run_id not in planned]
    return Study(folder, {run_id: runs[run_id] for run_id in order}, problems)


def frame(study: Study, per_image: bool = False) -> "pandas.DataFrame":
    """A study as a pandas `DataFrame`: a row for each run, or for each run and test image.

    Args:
        study: of `read_study`.
        per_image: whether to give the scores of every test image.
    Returns:
        columns `study`, `run`, every parameter (also those that are younger than a record: what its run had), the
        scores, `epochs_run`, `best_epoch`, `seconds`, `images`, `positive_share` and `source` of the data; or, for each
        image, `run`, the parameters that name a run, `seed`, `tag`, `id` and the
        columns of `Run.per_image`. Values that a run does not have are NaN.
    """
    import pandas

    if per_image:
        return pandas.concat(
            [
                pandas.DataFrame(
                    {
                        "run": run.run_id,
                        **{name: run.record["params"][name] for name in NAMED},
                        "seed": run.record["seed"],
                        "tag": run.tag,
                        **run.per_image,
                    }
                )
                for run in study.values()
            ],
            ignore_index=True,
        )
    return pandas.DataFrame(
        [
            {
                "study": study.folder.name,
                "run": run.run_id,
                **asdict(Config()) | STARTED | run.record["params"],
                **run.record["scores"],
                "epochs_run": run.record["epochs_run"],
                "best_epoch": run.record["best_epoch"],
                "seconds": run.record["seconds"].get("total"),
                "images": run.record["data"].get("images"),
                "positive_share": run.record["data"].get("positive_share"),
                "source": run.record["data"]["source"],
            }
            for run in study.values()
        ]
    )
