"""Reads the files of an archive, or of the folder extracted from it, in memory. Nothing is extracted to disk.

Only regular files with a plain relative name are read. Devices, hidden files, absolute names, names with `..` or
control characters and links in an archive are skipped; links in a folder are followed. Sizes in the headers of an
archive are not trusted: the limits below always hold.
"""

import gzip
import os
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib import InputError, reason

MAX_BYTES = 200_000_000  # of one file; larger files are refused before they are read
MAX_UNPACKED = 4_000_000_000  # of a whole .tgz; gzip can compress a thousand times
MAX_FILES = 200_000  # in a .tgz (LFW has 13,233); tarfile keeps all headers in memory
MAX_HEADERS = 1 << 16  # bytes between two members of a .tgz; tarfile reads as many as a header says
MAX_PADDING = 1 << 24  # bytes after the last member of a .tgz


class _Metered:
    """A stream that gives `left` more bytes and raises ValueError after them, or if its end is read many times.

    tarfile reads the end many times to skip the size in a wrong header.
    """

    def __init__(self, stream):
        self.stream, self.left, self.ends = stream, MAX_HEADERS, 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        self.ends += not data
        if self.left < 0 or self.ends > 10:
            raise ValueError("the sizes in its headers are wrong")
        return data


@dataclass(frozen=True)
class Container:
    """The regular files of an archive (.tgz, .zip) or of the folder `top` extracted from it.

    Names are relative to `top`, with forward slashes.
    """

    path: Path
    top: str

    def files(self) -> list[Path]:
        """The archive itself, or every file of the folder that is not hidden, sorted."""
        if not self.path.is_dir():
            return [self.path]
        with self._readable("its list of files"):
            return sorted(self._walk())

    def _walk(self) -> Iterator[Path]:
        """The files of the folder. Links to files and folders are followed; InputError if one leads back to itself."""
        outside = [os.stat(folder) for folder in self.path.resolve().parents]
        above, folders = {self.path.parent: tuple((each.st_dev, each.st_ino) for each in outside)}, 0
        for place, inside, files in os.walk(self.path, followlinks=True):
            folder, status, folders = Path(place), os.stat(place), folders + 1
            identity, parents = (status.st_dev, status.st_ino), above[folder.parent]
            if identity in parents:
                raise InputError(f"{folder}: this link leads back to a folder above it; remove it")
            if folders > MAX_FILES:
                raise ValueError(f"it has more than {MAX_FILES:,} folders")
            above[folder] = (*parents, identity)
            inside[:] = [name for name in inside if self._is_plain(folder / name)]
            yield from (
                folder / name for name in files if self._is_plain(folder / name) and os.path.isfile(folder / name)
            )

    def _is_plain(self, path: Path) -> bool:
        return self._plain(path.relative_to(self.path).as_posix()) is not None

    def place(self, name: str) -> str:
        """Where the file `name` is, for messages."""
        return f"{self.path / name}" if self.path.is_dir() else f"{self.path}: {name}"

    def names(self) -> list[str]:
        """Names of all regular files. Raises InputError if the archive is corrupt."""
        if self.path.is_dir():
            return [file.relative_to(self.path).as_posix() for file in self.files()]
        if self.path.suffix == ".zip":
            return list(self._zip_members())
        return [name for name, _ in self._tar_members(())]

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of the wanted files, in the order of `wanted`; those of a .tgz in the order of the archive.

        Raises an InputError that names the file if one cannot be read or has more than MAX_BYTES.
        """
        if self.path.is_dir():
            for name in wanted:
                with self._readable(name):
                    self._check_size(name, (self.path / name).stat().st_size)
                    data = (self.path / name).read_bytes()
                yield name, data
        elif self.path.suffix == ".zip":
            members = self._zip_members()
            with zipfile.ZipFile(self.path) as archive:
                for name in wanted:
                    with self._readable(name):
                        size = members[name].file_size
                        self._check_size(name, size)
                        if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                            raise ValueError("compressed with another method than deflate")
                        with archive.open(members[name]) as file:
                            data = file.read(size)  # without a size it would read all bytes, more than the header says
                    yield name, data
        else:
            yield from (member for member in self._tar_members(wanted) if member[0] in wanted)

    def _zip_members(self) -> dict[str, zipfile.ZipInfo]:
        with self._readable("its list of contents"), zipfile.ZipFile(self.path) as archive:
            return {
                name: info
                for info in archive.infolist()
                if not info.is_dir()
                and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                and (name := self._plain(info.filename))
            }

    def _tar_members(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(name, bytes) of all regular files; those that are not wanted have b""."""
        place, unpacked, files = "its beginning", 0, 0
        with self._readable(place):
            packed = gzip.open(self.path)
        with packed:
            stream = _Metered(packed)
            with self._readable(place):
                archive = tarfile.open(fileobj=stream, mode="r|")
            while True:
                with self._readable(place):
                    member = archive.next()
                    if member is None:
                        stream.left = MAX_PADDING
                        while stream.read(1 << 20):  # to the end, where gzip verifies its checksum
                            pass
                        return
                    place = f"what follows {member.name[-200:]!r}"
                    self._check_size(repr(member.name[-200:]), member.size)
                    unpacked, files = unpacked + member.size, files + 1
                    if unpacked > MAX_UNPACKED or files > MAX_FILES:
                        raise ValueError(f"it unpacks to more than {MAX_UNPACKED:,} bytes or {MAX_FILES:,} files")
                    stream.left = member.size + MAX_HEADERS
                    name = self._plain(member.name) if member.isreg() else None
                    data = b""
                    if name in wanted:
                        data = archive.extractfile(member).read()
                if name:
                    yield name, data

    def _plain(self, name: str) -> str | None:
        """The name relative to `top`; None for a hidden file, and a name outside `top` or not printable."""
        parts = posixpath.normpath(name).removeprefix(self.top + "/")
        hidden = any(part.startswith(".") for part in parts.split("/"))  # .., ._name.jpg, .DS_Store
        plain = parts.isprintable() and not parts.startswith(("/", "__MACOSX"))
        return parts if plain and not hidden else None

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_BYTES:
            raise InputError(
                f"{self.path}: {name} has {size:,} bytes, the limit is "
                f"{MAX_BYTES:,}: remove it or get the official file again"
            )

    @contextmanager
    def _readable(self, member: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # of any bytes: zlib, gzip, tarfile and zipfile raise many types
            raise InputError(
                f"{self.path}: cannot read {member}, truncated or corrupt ({reason(error)}): get the file again"
            ) from error
