"""The cache: folders that are written beside their place and moved there whole, by one process at a time."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock

from lib import PROJECT, InputError, reason


def cache_root(cache: str | Path | None = None) -> Path:
    """The cache folder: `cache`, else $IOU_STUDY_CACHE, else `outputs/cache`; made if it is missing.
    Raises InputError if that fails."""
    path = cache or os.environ.get("IOU_STUDY_CACHE") or "outputs/cache"
    with writing(path, RuntimeError, ValueError):  # these two: a path that cannot be one
        path = PROJECT / Path(path).expanduser()
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def writing(folder: str | Path, *others: type[Exception]) -> Iterator[None]:
    """Turns what goes wrong in its block into an InputError about the cache `folder`."""
    try:
        yield
    except (OSError, *others) as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({reason(error)}): "
            "set IOU_STUDY_CACHE to a folder that can be"
        ) from error


def build_once(folder: Path, opened: Callable, write: Callable[[Path], None]):
    """What `opened()` returns; if that is None, `write` fills a folder that then takes `folder`'s place.
    Raises InputError if the folder cannot be written."""
    if (found := opened()) is None:
        with writing(folder.parent), FileLock(f"{folder}.lock"):
            if (found := opened()) is None:
                partial = folder.with_name(folder.name + ".partial")
                for leftover in (partial, folder):
                    shutil.rmtree(leftover, ignore_errors=True)
                partial.mkdir()
                try:
                    write(partial)
                    os.replace(partial, folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                found = opened()
    return found


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises InputError if `needed` bytes do not fit beside `folder`: a memory map on a full disk kills the
    process without a message."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the cache folder {folder.parent} has {free:,} bytes free but {what} needs "
            f"{needed:,}: make room or set IOU_STUDY_CACHE"
        )


# ---- where the data are ------------------------------------------------------------------------------------


def data_root(root: str | Path | None = None) -> Path | Literal["synthetic"]:
    """The folder of the archives: `root`, else $IOU_STUDY_DATA, else `data/`; or the word "synthetic".
    Relative paths are taken from the project's folder, so that notebooks and command lines mean the same.
    Raises InputError for the home folder of an unknown user."""
    root = root or os.environ.get("IOU_STUDY_DATA") or "data"
    try:
        return "synthetic" if str(root) == "synthetic" else PROJECT / Path(root).expanduser()
    except RuntimeError as error:
        raise InputError(f"the data root {root} is in no home folder ({reason(error)}): give another") from error
