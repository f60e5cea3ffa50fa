"""Face segmentation data: archives or extracted folders -> decoded, memory-mapped cache -> splits.

The layouts of the two data sets, LFW Part Labels and HELEN, are described in `layouts`; the data root "synthetic" draws
faces in the same layouts and reads them with the same code.

Command line: `python -m lib.data fetch|info lfw|helen [--data ROOT]`.
"""

import hashlib
import json
import os
import posixpath
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import InputError
from lib.data.archives import Container
from lib.data.cache import build_once, cache_root, check_space, data_root, writing
from lib.data.layouts import (
    BACKGROUND,
    BROWS,
    EYES,
    HAIR,
    LISTERS,
    MOUTH,
    NOSE,
    READERS,
    Picture,
    facts,
    find,
    is_turned,
    passed_over,
)

PARTS = {"hair": HAIR, "brows": BROWS, "eyes": EYES, "nose": NOSE, "mouth": MOUTH}  # the last four: HELEN only
FORMAT = 2  # in every digest; raise it when decoding changes


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded images in sorted order, memory-mapped and read-only.

    images: (n, s, s, 3) uint8, RGB.  labels: (n, s, s) uint8, BACKGROUND, FACE or HAIR; in HELEN also BROWS, EYES, NOSE
    and MOUTH.  ids: n names.
    digest: hexadecimal digest of the files before decoding, the same for every image size.
    source: where the images come from, as text for people.
    official: whether the images are not synthetic and as many as in the official data set.
    note: "" if official, else one sentence that every table from these data shows.
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
        """The paper's split (see `split`), or with a seed a random split of the same counts.

        People are shuffled and the images of a person stay together, so that at most two people are in two parts.
        Raises InputError like `split`.
        """
        parts = split(len(self.ids), self.name, size)
        if seed is None:
            return parts
        _, person = np.unique(people(self.ids), return_inverse=True)
        order = np.argsort(np.random.default_rng(seed).permutation(person.max() + 1)[person], kind="stable")
        return Split(*(np.sort(order[part]) for part in (parts.train, parts.validation, parts.test)), parts.scaled)


@dataclass(frozen=True)
class Split:
    """Rows of the sorted data set: each part is a slice or (rows,) int64 in ascending order.

    `scaled`: whether there are fewer images than in the official split.
    """

    train: slice | np.ndarray
    validation: slice | np.ndarray
    test: slice | np.ndarray
    scaled: bool


def split(n: int, name: str, size: str) -> Split:
    """Training, validation and test part of n sorted images, not shuffled.

    Training starts at the first image and validation follows it; the test part is at the end. With enough images for
    the official split `size` ("big" or "small") its counts are exact. Otherwise each count is scaled by n / official
    number of images and rounded, at least 1 (`scaled` is True).
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
    """The person in each image, (images,) str. LFW's ids are "Name_0001"; elsewhere every image counts as a person."""
    found = [re.fullmatch(r"(\D.*)_\d{4}", str(name)) for name in ids]
    return np.array([match[1] if match else str(name) for match, name in zip(found, ids)])


def binary_masks(labels: np.ndarray, hair: bool, part: str = "") -> np.ndarray:
    """Labels of any shape -> uint8 masks of that shape: 1 on the face (with `hair` also on hair), else 0.

    With `part`, a key of `PARTS`, 1 only on that part.
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
    """Hexadecimal SHA-256 digest of the content of a data set, without decoding it. The key of every run contains it.

    It covers all bytes of an archive, or the names and bytes of the files in a folder that are used (so the two
    differ). It is computed once: the cache keeps it by the paths, sizes and times (of modification and of change) of
    the files. For synthetic faces it is derived from their number, seed and share (see `load`) and `synthetic.FORMAT`.
    Raises InputError like `load`.
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
    return _examined(name, find(name, root), cache)[0]


def _examined(name: str, containers: list[Container], cache: str | Path | None) -> tuple[str, str]:
    """The digest of a data set's files, and which of them are passed over (of an official set: "")."""
    try:
        files = [
            (str(file), (status := file.stat()).st_size, status.st_mtime_ns, status.st_ctime_ns)
            for container in containers
            for file in container.files()
        ]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error
    memo = cache_root(cache) / "digests" / f"{_sha256(json.dumps([FORMAT, name, files]).encode())}.json"
    with suppress(Exception):  # missing, or of any bytes
        kept, unused = json.loads(memo.read_bytes())
        if re.fullmatch("[0-9a-f]{64}", kept) and unused.isprintable():
            return kept, unused
    pictures = LISTERS[name](containers)
    value = _sha256(json.dumps([FORMAT, name, _content(containers, pictures)]).encode())
    unused = passed_over(containers, pictures) if len(pictures) != facts(name).images else ""
    with writing(memo.parent), suppress(FileNotFoundError):  # the cache may be deleted at any time
        memo.parent.mkdir(exist_ok=True)
        partial = memo.with_name(f"{memo.name}.{uuid.uuid4().hex}")  # threads and machines share a process's number
        partial.write_text(json.dumps([value, unused]))
        os.replace(partial, memo)
    return value, unused


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _content(containers: list[Container], pictures: list[Picture]) -> list:
    """The input of `digest`: the hash of each archive, and (name, hash) of each used file of each folder.

    Pictures that earlier versions read in another way, with other names or not turned upright, are named as well.
    """
    images, labels = [p.image for p in pictures], [label for p in pictures for label in p.labels]
    used = [images, labels] if len(containers) == 2 else [images + labels]
    content, otherwise = [], [name for p in pictures if not _is_official(p) for name in (p.image, *p.labels)]
    for index, (container, files) in enumerate(zip(containers, used)):
        if container.path.is_dir():
            hashes = []
            for file, data in container.read(files):
                hashes.append((file, _sha256(data)))
                otherwise += [file] * is_turned(data)
            content.append(hashes)
        else:
            with container.path.open("rb") as file:
                content.append(hashlib.file_digest(file, "sha256").hexdigest())
            photographs = container.read(dict.fromkeys(images)) if index == 0 else ()
            otherwise += [file for file, data in photographs if is_turned(data)]
    return content + ([sorted(otherwise)] if otherwise else [])


def _is_official(picture: Picture) -> bool:
    return posixpath.basename(picture.image) == f"{picture.id}.jpg" and (
        picture.labels[0].endswith(".ppm") if len(picture.labels) == 1 else picture.labels[0].endswith(".png")
    )


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

    `root` and `cache`: see `data_root` and `cache_root`. Synthetic faces cover `synthetic_share` of the pixels on
    average; 0 is the size of the faces in LFW.

    The cache folder `<cache>/<name>-<size>px-<digest>/` is written beside its place under a lock and then moved there,
    so that processes that start together decode the data once and never read half of it.
    Raises InputError if the data or the cache folder are missing, corrupt or inconsistent.
    """
    if not isinstance(image_size, int) or image_size < 1:
        raise InputError(f"image_size {image_size!r} is not valid: give a whole number of pixels, 1 or more")
    official = facts(name)
    root = data_root(root)
    content = digest(name, root, cache, synthetic_images, synthetic_seed, synthetic_share)
    folder = cache_root(cache) / f"{name}-{image_size}px-{content[:16]}"

    def write(partial: Path) -> None:
        if root != "synthetic":
            return _write(name, find(name, root), image_size, partial)
        faces = _synthetic(name, content, cache, synthetic_images, synthetic_seed, synthetic_share)
        try:
            return _write(name, find(name, faces), image_size, partial)
        except InputError as error:
            if not _is_drawn(name, faces, synthetic_images):
                raise FileNotFoundError(faces) from error  # they were deleted, with the cache
            raise

    images, labels, ids = build_once(folder, lambda: _open(folder, image_size), write)
    n = len(ids)
    if root == "synthetic":
        drawn = f", drawn for {synthetic_share:.1%} of the pixels" if synthetic_share else ""
        source = f"synthetic faces ({n}, seed {synthetic_seed}{drawn}) in {official.short}'s layout"
        note = f"synthetic faces stand in for {official.title}"
    else:
        containers = find(name, root)
        source = " + ".join(container.path.name for container in containers)
        _, unused = _examined(name, containers, cache)
        note = (
            ""
            if n == official.images
            else (
                f"{official.short}'s layout with {n:,} images, not {official.short}'s {official.images:,}: "
                "other faces, or a part of the set, stand in for it" + (f"; passed over: {unused}" if unused else "")
            )
        )
    return Dataset(name, images, labels, ids, content, source, not note, note)


def _synthetic(name: str, content: str, cache: str | Path | None, n: int, seed: int, share: float) -> Path:
    """The folder with n synthetic faces in the layout of data set `name`; they are drawn if it is missing."""
    from lib.data import synthetic

    folder = cache_root(cache) / f"synthetic-{content[:16]}"
    makers = {"lfw": synthetic.write_lfw, "helen": synthetic.write_helen}
    if name not in makers:
        raise InputError(
            f"parameter data: no synthetic faces of {facts(name).title} exist; give the folder of its files with --data"
        )
    make = makers[name]

    return build_once(
        folder,
        lambda: folder if _is_drawn(name, folder, n) else None,
        lambda partial: make(partial, n, seed, share=share),
    )


def _is_drawn(name: str, folder: Path, n: int) -> bool:
    """Whether all of n synthetic faces are in a folder."""
    with suppress(InputError):
        return len(LISTERS[name](find(name, folder))) == n
    return False


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
    """Images, labels and ids of a complete cache folder; None if it is missing or not complete."""
    try:
        ids = tuple(json.loads((folder / "meta.json").read_text())["ids"])
        images, labels = (
            np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in ("images.npy", "labels.npy")
        )
    except Exception:  # of any bytes: numpy's reader raises many types
        return None
    shape = (len(ids), size, size)
    whole = labels.shape == shape and images.shape == (*shape, 3) and images.dtype == labels.dtype == np.uint8
    return (images, labels, ids) if whole else None
