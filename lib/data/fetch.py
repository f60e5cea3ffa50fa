"""Downloads of the official archives, verified by checksum (pooch)."""

import contextlib
import hashlib
import os
import re
import sys
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from lib import InputError
from lib.data.cache import data_root
from lib.data.layouts import facts


@dataclass(frozen=True)
class Remote:
    """An archive: its published checksum ("algorithm:hex", or None if there is none) and its addresses."""

    file: str
    checksum: str | None
    urls: tuple[str, ...]


REMOTES = {
    "lfw": (
        # checksum and second address as scikit-learn publishes them (sklearn/datasets/_lfw.py)
        Remote(
            "lfw-funneled.tgz",
            "sha256:b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
            ("http://vis-www.cs.umass.edu/lfw/lfw-funneled.tgz", "https://ndownloader.figshare.com/files/5976015"),
        ),
        Remote(
            "parts_lfw_funneled_gt_images.tgz",
            "md5:3e7e26e801c3081d651c8c2ef3c45cfc",
            (
                "http://vis-www.cs.umass.edu/lfw/part_labels/parts_lfw_funneled_gt_images.tgz",
                "https://vis-www.cs.umass.edu/lfw/part_labels/parts_lfw_funneled_gt_images.tgz",
            ),
        ),
    ),
    "helen": (
        Remote(
            "SmithCVPR2013_dataset_resized.zip",
            None,
            (
                "https://pages.cs.wisc.edu/~lizhang/projects/face-parsing/SmithCVPR2013_dataset_resized.zip",
                "http://pages.cs.wisc.edu/~lizhang/projects/face-parsing/SmithCVPR2013_dataset_resized.zip",
            ),
        ),
    ),
}


def fetch(name: str, root: str | Path | None = None, urls: list[str] | None = None) -> list[Path]:
    """Downloads the missing archives of data set `name` into `<root>/<name>/`; returns the paths of all.

    `urls`, else the addresses in $IOU_STUDY_URLS (separated by spaces), replace the official addresses. Each ends in
    the official file name of an archive, or in / for a folder with the archives. Addresses are tried in turn.
    An archive gets its final name after its checksum is verified. An archive that exists is verified, not downloaded
    again. If no checksum is published, the SHA-256 of the first copy is printed, written to `<file>.sha256`, and
    verified from then on.
    Raises InputError if no address works (it lists them), or if an existing file has the wrong checksum.
    """
    facts(name)
    root = data_root(root)
    if root == "synthetic":
        raise InputError(
            "synthetic faces need no download: name the folder to fetch into with --data or IOU_STUDY_DATA"
        )
    urls = urls or os.environ.get("IOU_STUDY_URLS", "").split()
    names = [remote.file for remotes in REMOTES.values() for remote in remotes]
    for url in urls:
        if not url.endswith(("/", *names)):
            raise InputError(f"address {url[:300]!r} fits no archive: it must end in / or in {' or '.join(names)}")
        if not (url.isascii() and url.isprintable() and len(url) <= 300):
            raise InputError(f"address {url[:300]!a} is not valid: give at most 300 printable ASCII characters")
    if name not in REMOTES:
        raise InputError(f"{facts(name).title} has no download; put its files below {root} yourself")
    return [_fetch_one(remote, root, name, urls) for remote in REMOTES[name]]


def _fetch_one(remote: Remote, root: Path, name: str, urls: list[str]) -> Path:
    places = (root / name / remote.file, root / remote.file)
    path = next((place for place in places if place.exists()), places[0])
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a file: move it away to download the archive")
    record = path.with_name(path.name + ".sha256")
    checksum = remote.checksum
    if (
        checksum is None
        and record.is_file()
        and re.fullmatch("[0-9a-f]{64}", noted := record.read_text("ascii", "replace")[:64])
    ):  # else it is incomplete and written again
        checksum = "sha256:" + noted
    if not path.exists():
        own = [url + remote.file if url.endswith("/") else url for url in urls if url.endswith(("/", remote.file))]
        _download(path, checksum, own or list(remote.urls))
    elif checksum and not matches(path, checksum):
        raise InputError(
            f"{path} exists but its checksum is not {checksum}: use it as it is, or move it away to download it again"
        )
    if checksum is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            partial = record.with_name(f"{record.name}.{uuid.uuid4().hex}")
            partial.write_text(f"{digest}  {path.name}\n")
            os.replace(partial, record)
        except OSError as error:
            raise InputError(
                f"{record} cannot be written ({error.strerror}): move it away or change the folder's permissions"
            ) from error
        print(
            f"No checksum is published for {path.name}: its sha256 is {digest}, recorded in {record.name} "
            "and verified from now on."
        )
    return path


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has this checksum, "algorithm:hex"."""
    algorithm, _, digest = checksum.partition(":")
    return pooch.file_hash(str(path), alg=algorithm) == digest


def _download(path: Path, checksum: str | None, urls: list[str]) -> None:
    """Downloads from the first address that works; `path` exists only after verification. Raises InputError."""
    http = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    pooch.get_logger().setLevel("WARNING")

    def download(url, file, _):  # pooch moves `file` to `path` after it, or deletes it
        http(url, file, None)
        if path.suffix == ".zip" and not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile

    failures = []
    made = [folder for folder in (path.parent, path.parent.parent) if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {path.parent} cannot be made ({error.strerror}): give another with --data"
        ) from error
    for url in urls:
        try:
            pooch.retrieve(url, checksum, path.name, path.parent, downloader=download)
            return
        except zipfile.BadZipFile:
            failures.append(f"{url} (not a .zip file)")  # for example an error page
        except (OSError, ValueError) as error:  # of requests; ValueError: of pooch, or not an http address
            response = getattr(error, "response", None)
            reason = (
                f"wrong checksum, not {checksum}"
                if "known hash" in str(error)
                else type(error).__name__
                if response is None
                else f"HTTP status {response.status_code}"
            )
            failures.append(f"{url} ({reason})")
    with contextlib.suppress(OSError):  # another download uses it
        for folder in made:
            folder.rmdir()
    raise InputError(
        f"could not download {path.name}, tried {', '.join(failures)}: give another address "
        f"with --url, or put the file at {path} yourself"
    )
