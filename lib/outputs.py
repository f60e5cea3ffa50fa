"""The studies in `outputs/` or $IOU_STUDY_OUTPUTS: the list of them, the state of each, the finished runs of one.

A study is a folder with one folder for each run, named by its run id (see `record`), or packed (see `packs`).
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import PROJECT, InputError, config, outputs_folder, packs, printable, reason
from lib.config import NAMED, STARTED, Config
from lib.record import Run, read_run

if TYPE_CHECKING:
    import pandas

PUBLISHED = PROJECT / "outputs" / "published"
LONGEST_ERROR = 2_000  # bytes of `error.txt` that are read
RERUN = "rerun"  # folder beside the studies for runs that are run again; it is not a study
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
        """See `name_of`."""
        return name_of(self.folder)


def state(folder: Path) -> State | None:
    """The state of a study; None for a folder that has no run of any state."""
    try:
        study = read_study(folder)
        done, problems, has_maps = list(study), study.problems, next(iter(study.values())).has_maps
    except InputError as error:
        done, problems, has_maps = [], [str(error)] if count_finished(folder) else [], False
    failed = {path.parent.name: error_of(path.parent) for path in sorted(folder.glob(".failed/*/error.txt"))}
    running = sorted({path.name.rpartition("-")[0] for path in folder.glob(".running/*")})
    return State(folder, done, failed, running, problems, has_maps) if done or failed or running or problems else None


def roots(outputs: Path | None = None) -> tuple[Path, Path]:
    """The folders that studies are in: `outputs`, by default `outputs_folder`, and that of the published ones.

    The latter is the project's, unless `outputs` has one of its own.
    """
    outputs = outputs or outputs_folder()
    own = outputs / PUBLISHED.name
    return outputs, own if own.is_dir() else PUBLISHED


def name_of(folder: Path) -> str:
    """A study's folder as people see it: relative to that of all studies if it is in there."""
    inside = [root for root in (outputs_folder(), PUBLISHED.parent) if folder.is_relative_to(root)]
    return str(folder.relative_to(inside[0]) if inside else folder)


def folder_of(name: str | Path) -> Path:
    """The folder of a study: absolute, from the project's folder, or as `name_of` says. Raises InputError."""
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(f"{name}: is in the home folder of an unknown user; give the folder of a study") from error
    places = [root / path for root in (PROJECT, outputs_folder(), PUBLISHED.parent)]
    return next(filter(os.path.isdir, places), places[0])


def error_of(failed: Path) -> str:
    """Why a run failed: the beginning of `error.txt` in its folder below `.failed/`, printable. No link is followed."""
    path = failed / "error.txt"
    if path.is_file() and not any(each.is_symlink() for each in (path, failed, failed.parent)):
        try:
            with open(path, "rb") as file:
                return printable(file.read(LONGEST_ERROR).decode("utf-8", "replace").strip())
        except OSError:
            pass
    return "its error is not there"


def refuse_links(study: Path, *names: str) -> None:
    """Raises InputError if one of these entries of a study, into which files are to be written, is a link."""
    for path in (study / name for name in names):
        if path.is_symlink():
            raise InputError(f"{path}: is a link, so files elsewhere could be overwritten; put the folder itself there")


def studies(outputs: Path | None = None) -> list[State]:
    """Every study in both `roots`."""
    own, published = roots(outputs)
    folders = [
        folder
        for root in (own, published)
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".") and folder not in (own / RERUN, published)
    ]
    return [found for folder in folders if (found := state(folder))]


def default_study(outputs: Path | None = None, published: str = "demo") -> Path:
    """The study that a notebook opens by default: that of `make study`, else this one of the published studies."""
    own = roots(outputs)[0] / "demo"
    return own if count_finished(own) else roots(outputs)[1] / published


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
