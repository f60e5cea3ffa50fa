"""The cache: one process at a time writes a folder beside its place and moves it there when it is complete."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock

from lib import PROJECT, InputError, outputs_folder, reason

ATTEMPTS = 3  # to fill a folder that is deleted meanwhile


def cache_root(cache: str | Path | None = None) -> Path:
    """The cache folder: `cache`, else $IOU_STUDY_CACHE, else `cache` in that of studies. It is made if it is missing.

    Raises InputError if it cannot be made.
    """
    path = cache or os.environ.get("IOU_STUDY_CACHE") or outputs_folder() / "cache"
    with writing(path, RuntimeError, ValueError):  # the last two: the path is not valid
        path = PROJECT / Path(path).expanduser()
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def writing(folder: str | Path, *others: type[Exception]) -> Iterator[None]:
    """Turns errors in its block into an InputError about the cache `folder`."""
    try:
        yield
    except (OSError, *others) as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({reason(error)}): "
            "set IOU_STUDY_CACHE to a folder that can be written"
        ) from error


def build_once(folder: Path, opened: Callable, write: Callable[[Path], None]):
    """The result of `opened()`. If it is None, `write` first fills a new folder, which is then moved to `folder`.

    If the cache is deleted meanwhile, as it may be at any time, this is done again, `ATTEMPTS` times at most.
    Raises InputError if the folder cannot be written, or if what was written is not there even so.
    """
    for _ in range(ATTEMPTS):
        with writing(folder.parent), suppress(FileNotFoundError):
            if (found := opened()) is not None:
                return found
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if opened() is None:
                    _fill(folder, write)
                if (found := opened()) is not None:
                    return found
    raise InputError(
        f"the cache folder {folder} was removed {ATTEMPTS} times while it was filled; let nothing else clean it, or "
        "set IOU_STUDY_CACHE to another folder"
    )


def _fill(folder, write):
    """Fills a folder beside its place and moves it there. Raises FileNotFoundError if it is removed meanwhile."""
    partial = folder.with_name(folder.name + ".partial")
    for leftover in (partial, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        write(partial)
        os.replace(partial, folder)
    except InputError as error:  # about what is missing in the cache
        if not partial.is_dir():
            raise FileNotFoundError(partial) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises InputError if the disk of `folder` has fewer than `needed` bytes free.

    Otherwise a memory map on a full disk would kill the process without a message.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the cache folder {folder.parent} has {free:,} bytes free but {what} needs "
            f"{needed:,}: make room or set IOU_STUDY_CACHE"
        )


# ---- where the data are ------------------------------------------------------------------------------------


def data_root(root: str | Path | None = None) -> Path | Literal["synthetic"]:
    """The folder of the archives: `root`, else $IOU_STUDY_DATA, else `data/`; or the word "synthetic".

    Paths are relative to the project's folder, so that they mean the same in every notebook. One that is typed after
    --data goes through `typed_root` first.
    Raises InputError for the home folder of an unknown user.
    """
    root = root or os.environ.get("IOU_STUDY_DATA") or "data"
    try:
        return "synthetic" if str(root) == "synthetic" else PROJECT / Path(root).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"the data root {root} is in the home folder of an unknown user ({reason(error)}): give another folder"
        ) from error


def typed_root(root: str) -> str:
    """What --data means on every command line: the word "synthetic", or a folder as seen from where it is typed.

    Returns the absolute path. Raises InputError if it is none.
    """
    try:
        return root if root == "synthetic" else str(Path(root).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"--data: {root!r} cannot be used as a folder ({reason(error)}): give another") from error
