"""Names of pictures as people have them: other endings, letters of a Mac, one name in two folders, edited lists."""

import os
import posixpath
import re
from collections.abc import Collection, Iterable
from unicodedata import normalize

from lib import InputError, as_text
from lib.data.archives import Container

READ = (".jpg", ".jpeg", ".jpe", ".jfif", ".ppm", ".pnm", ".pgm", ".png")  # endings of pictures, in any case
UNREAD = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2")  # those of other formats


def by_name(names: Iterable[str], endings: Collection[str] = READ) -> dict[str, list[str]]:
    """The pictures among file names: path without its ending, letters composed (a Mac decomposes them) -> names."""
    found = {}
    for name in sorted(names):
        path, ending = posixpath.splitext(name)
        if ending.lower() in endings:
            found.setdefault(normalize("NFC", path), []).append(name)
    return found


def only(container: Container, same: list[str], official: str) -> str:
    """Of pictures that differ in their ending alone, the one with the official ending. Raises InputError without it."""
    chosen = [name for name in same if name.endswith(official)] or same
    if len(chosen) > 1:
        raise InputError(f"{container.path}: {chosen[0]} and {chosen[1]} have one name; remove one of the two")
    return chosen[0]


def missing(container: Container, name: str, of: str) -> InputError:
    """The sentence about a file that is not there."""
    remedy = "get the official file again"
    for place in container.path.rglob("*") if container.path.is_dir() else ():
        if os.path.islink(place) and not os.path.exists(place):
            remedy = f"the link {place} leads nowhere, mend or remove it"
    return InputError(f"{container.path}: {name} of {of} is missing: {remedy}")


def by_last_part(paths: Iterable[str]) -> dict[str, list[str]]:
    """File name -> the paths that end in it."""
    found = {}
    for path in paths:
        found.setdefault(posixpath.basename(path), []).append(path)
    return found


def listed(text: bytes) -> list[str]:
    """The images that one of HELEN's lists names: the last column of each line, after a comma, semicolon or tab."""
    try:
        lines = as_text(text).splitlines()
    except UnicodeDecodeError:  # the encoding of an old editor
        lines = text.decode("cp1252", "replace").splitlines()
    columns = [[column.strip(" \t\"'\ufeff") for column in re.split("[,;\t]", line)] for line in lines]
    return [next(filter(None, reversed(line))) for line in columns if any(line)]


def meant(entry: str, files: Collection[str]) -> str:
    """The id that an entry of a list means: as it stands, or without folder, ending or a number before it."""
    path, ending = posixpath.splitext(entry)
    short = (path if ending.lower() in READ else entry).removeprefix("images/")
    meant = (entry, short, short.split()[-1] if short.split() else entry)
    return next((id for id in meant if normalize("NFC", f"images/{id}") in files), entry)
