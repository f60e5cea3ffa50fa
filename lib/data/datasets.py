"""Face segmentation data: archives or extracted folders -> decoded, memory-mapped cache -> splits.

The layouts of the two data sets, LFW Part Labels and HELEN, are described in lib/data/layouts.py; the root
"synthetic" makes faces in the same layouts and reads them with the same code.

Command line: `python -m lib.data fetch|info lfw|helen [--data ROOT]`.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import InputError
from lib.data.archives import Container
from lib.data.cache import build_once, cache_root, check_space, data_root, writing
from lib.data.layouts import BACKGROUND, BROWS, EYES, HAIR, LISTERS, MOUTH, NOSE, READERS, facts, find

PARTS = {"hair": HAIR, "brows": BROWS, "eyes": EYES, "nose": NOSE, "mouth": MOUTH}  # the last four: HELEN only
FORMAT = 2  # part of every digest; raise it when decoding changes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded pictures in sorted order, memory-mapped and read-only.

    images: (n, s, s, 3) uint8, RGB.  labels: (n, s, s) uint8, BACKGROUND, FACE or HAIR; in HELEN
    what of the face is BROWS, EYES, NOSE or MOUTH is labelled so.  ids: n names.
    digest: hexadecimal digest of the content that was decoded, the same at every size.
    source: where the pictures come from, for people.
    official: the image count is the official one and the pictures are not synthetic.
    note: "" when official, else one sentence that every table made from these data prints.
    """

    name: str
    images: np.memmap
    labels: np.memmap
    ids: tuple[str, ...]
    digest: str
    source: str
    official: bool
    note: str

    def split(self, size: str, seed: int | None = None) -> "Split":
        """The paper's split (see `split`), or with a seed one of the same counts after people were put into random
        order: what would other training images have given? A person's images stay together, so that at most two
        people are in two parts. Raises InputError as `split`."""
        parts = split(len(self.ids), self.name, size)
        if seed is None:
            return parts
        _, person = np.unique(people(self.ids), return_inverse=True)
        order = np.argsort(np.random.default_rng(seed).permutation(person.max() + 1)[person], kind="stable")
        return Split(*(np.sort(order[part]) for part in (parts.train, parts.validation, parts.test)), parts.scaled)


@dataclass(frozen=True)
class Split:
    """Rows of the sorted data set, each part a slice or (rows,) int64 in ascending order; `scaled` says that they are
    fewer images than the official split has."""

    train: slice | np.ndarray
    validation: slice | np.ndarray
    test: slice | np.ndarray
    scaled: bool


def split(n: int, name: str, size: str) -> Split:
    """Training, validation and test part of n sorted images: test is the last part, training starts at the
    first image, validation comes right after training; nothing is shuffled.

    With at least as many images as the official split `size` ("big" or "small") needs, its counts are exact.
    Otherwise each count is scaled by n / official image count and rounded, at least 1 (`scaled` is True).
    Raises InputError for an unknown name or size and for n < 3.
    """
    official = facts(name)
    if size not in official.splits:
        raise InputError(f"unknown split size {size!r}: use one of {', '.join(official.splits)}")
    if n < 3:
        raise InputError(
            f"{n} images of {official.title} cannot be split: training, validation and test "
            "need at least 3, so give more"
        )
    train, validation, test = official.splits[size]
    scaled = n < train + validation + test
    if scaled:
        train, validation, test = (max(1, round(count * n / official.images)) for count in official.splits[size])
        train = min(train, n - validation - test)
    return Split(slice(0, train), slice(train, train + validation), slice(n - test, n), scaled)


def people(ids: Sequence[str]) -> np.ndarray:
    """Whose picture each image is, (images,) str: LFW's ids are "Name_0001"; elsewhere every image is its own."""
    found = [re.fullmatch(r"(\D.*)_\d{4}", str(name)) for name in ids]
    return np.array([match[1] if match else str(name) for match, name in zip(found, ids)])


def binary_masks(labels: np.ndarray, hair: bool, part: str = "") -> np.ndarray:
    """Labels of any shape -> uint8 masks of that shape: 1 on the face (with `hair` also on hair), else 0.

    With `part`, a key of `PARTS`, 1 on that part alone.
    """
    if part:
        return (labels == PARTS[part]).astype(np.uint8)
    return (labels != BACKGROUND if hair else (labels != BACKGROUND) & (labels != HAIR)).astype(np.uint8)


# ---- digests -----------------------------------------------------------------------------------------------


def digest(
    name: str,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    synthetic_images: int = 200,
    synthetic_seed: int = 0,
    synthetic_share: float = 0.0,
) -> str:
    """Hexadecimal SHA-256 digest of the content of a data set, without decoding it; part of every run's key.

    Of an archive all bytes count, of a folder the names and bytes of the files that are used (so the two
    differ). It is kept in the cache under the paths, sizes and times (of modification and of change) of the
    files, and so computed once. For synthetic faces it is derived from their number, seed and share (see `load`) and
    `synthetic.FORMAT`.
    Raises InputError as `load` does.
    """
    facts(name)
    root = data_root(root)
    if root == "synthetic":
        from lib.data import synthetic

        return _sha256(
            json.dumps(
                [FORMAT, name, synthetic_images, synthetic_seed, synthetic_share, f"drawing {synthetic.FORMAT}"]
            ).encode()
        )
    containers = find(name, root)
    try:
        files = [
            (str(file), (status := file.stat()).st_size, status.st_mtime_ns, status.st_ctime_ns)
            for container in containers
            for file in container.files()
        ]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error
    memo = cache_root(cache) / "digests" / _sha256(json.dumps([FORMAT, name, files]).encode())
    if memo.is_file() and re.fullmatch("[0-9a-f]{64}", kept := memo.read_text("ascii", "replace")):
        return kept
    value = _sha256(json.dumps([FORMAT, name, _content(name, containers)]).encode())
    with writing(memo.parent):
        memo.parent.mkdir(exist_ok=True)
        partial = memo.with_name(f"{memo.name}.{os.getpid()}")
        partial.write_text(value)
        os.replace(partial, memo)
    return value


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _content(name: str, containers: list[Container]) -> list:
    """What `digest` digests: the hash of each archive, and (name, hash) of each used file of each folder."""
    content = []
    if any(container.path.is_dir() for container in containers):
        pictures = LISTERS[name](containers)
        images, labels = [p.image for p in pictures], [label for p in pictures for label in p.labels]
        used = [images, labels] if len(containers) == 2 else [images + labels]
    for index, container in enumerate(containers):
        if container.path.is_dir():
            content.append([(file, _sha256(data)) for file, data in container.read(used[index])])
        else:
            with container.path.open("rb") as file:
                content.append(hashlib.file_digest(file, "sha256").hexdigest())
    return content


# ---- the cache ---------------------------------------------------------------------------------------------


def load(
    name: str,
    image_size: int,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    synthetic_images: int = 200,
    synthetic_seed: int = 0,
    synthetic_share: float = 0.0,
) -> Dataset:
    """Data set `name` at image_size x image_size pixels, decoded on the first call only, memory-mapped.

    `root` and `cache`: see `data_root` and `cache_root`. Synthetic faces are drawn so large that they take
    `synthetic_share` of the pixels on average, 0 for as large as in LFW.

    The cache folder `<cache>/<name>-<size>px-<digest>/` is written beside its place under a lock and then
    moved there, so that processes that start together decode once and nobody sees half of it.
    Raises InputError if data or the cache folder are missing, corrupt or contradictory.
    """
    if not isinstance(image_size, int) or image_size < 1:
        raise InputError(f"image_size {image_size!r} is no whole number of pixels from 1 on")
    official = facts(name)
    root = data_root(root)
    content = digest(name, root, cache, synthetic_images, synthetic_seed, synthetic_share)
    folder = cache_root(cache) / f"{name}-{image_size}px-{content[:16]}"

    def write(partial: Path) -> None:
        faces = root
        if root == "synthetic":
            faces = _synthetic(name, content, cache, synthetic_images, synthetic_seed, synthetic_share)
        _write(name, find(name, faces), image_size, partial)

    images, labels, ids = build_once(folder, lambda: _open(folder, image_size), write)
    n = len(ids)
    if root == "synthetic":
        drawn = f", drawn for {synthetic_share:.1%} of the pixels" if synthetic_share else ""
        source = f"synthetic faces ({n}, seed {synthetic_seed}{drawn}) in {official.short}'s layout"
        note = f"synthetic faces stand in for {official.title}"
    else:
        source = " + ".join(container.path.name for container in find(name, root))
        note = (
            ""
            if n == official.images
            else (
                f"{official.short}'s layout with {n:,} images, not {official.short}'s {official.images:,}: "
                "other faces, or a part of the set, stand in for it"
            )
        )
    return Dataset(name, images, labels, ids, content, source, not note, note)


def _synthetic(name: str, content: str, cache: str | Path | None, n: int, seed: int, share: float) -> Path:
    """The folder with n synthetic faces in the layout of data set `name`, drawn if it is missing."""
    from lib.data import synthetic

    folder = cache_root(cache) / f"synthetic-{content[:16]}"
    make = {"lfw": synthetic.write_lfw, "helen": synthetic.write_helen}[name]

    def drawn() -> Path | None:
        with suppress(InputError):  # files of the folder were removed: all are drawn again
            return folder if len(LISTERS[name](find(name, folder))) == n else None

    return build_once(folder, drawn, lambda partial: make(partial, n, seed, share=share))


def _write(name: str, containers: list[Container], size: int, folder: Path) -> None:
    """Decode into `folder`: images.npy, labels.npy and, last, meta.json."""
    pictures = LISTERS[name](containers)
    check_space(folder, len(pictures) * size * size * 4, f"{facts(name).title} at {size} pixels")
    shape = (len(pictures), size, size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, shape)
    READERS[name](containers, pictures, images, labels)
    images.flush()
    labels.flush()
    (folder / "meta.json").write_text(json.dumps({"ids": [picture.id for picture in pictures]}))


def _open(folder: Path, size: int) -> tuple[np.memmap, np.memmap, tuple[str, ...]] | None:
    """Images, labels and ids of a whole cache folder; None if it is missing or not whole."""
    try:
        ids = tuple(json.loads((folder / "meta.json").read_text())["ids"])
        images, labels = (
            np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in ("images.npy", "labels.npy")
        )
    except Exception:  # foreign bytes: numpy's reader raises many types
        return None
    shape = (len(ids), size, size)
    whole = labels.shape == shape and images.shape == (*shape, 3) and images.dtype == labels.dtype == np.uint8
    return (images, labels, ids) if whole else None
