"""The official layouts of the two data sets: the files of each image and how they are decoded.

- LFW Part Labels (Kae et al., CVPR 2013): `lfw-funneled.tgz` with `lfw_funneled/<Person>/<Person>_NNNN.jpg`
  and `parts_lfw_funneled_gt_images.tgz` with `<Person>_NNNN.ppm`: red hair, green face, blue background. Only
  the images that have a part label are used (2,927 of 13,233).
- HELEN (Smith et al., CVPR 2013): `SmithCVPR2013_dataset_resized.zip` with `images/<id>.jpg`, eleven 8-bit
  probability maps `labels/<id>/<id>_lbl00.png` ... `lbl10.png` and the lists `exemplars.txt`, `tuning.txt`,
  `testing.txt`.

Each archive is in `<root>/<name>/` or `<root>/`, packed or extracted. One's own pictures may also be JPEG, PPM or PNG
with other endings (`READ`), and lists may be saved by any editor.
"""

import io
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from lib import InputError, reason
from lib.data.archives import Container
from lib.data.names import UNREAD, by_last_part, by_name, listed, meant, missing, only

BACKGROUND, FACE, HAIR, BROWS, EYES, NOSE, MOUTH = range(7)  # values of labels; BROWS and later ones only in HELEN
MAX_PIXELS, MAX_SIDE = 20_000_000, 20_000  # of one image; larger ones are refused before they are decoded
LFW_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))  # hair, face, background
HELEN_LABELS = np.array([BACKGROUND, FACE, BROWS, BROWS, EYES, EYES, NOSE, MOUTH, MOUTH, MOUTH, HAIR], np.uint8)
FORMATS = ("JPEG", "PPM", "PNG")
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's tag Orientation
HELEN_LISTS = ("exemplars.txt", "tuning.txt", "testing.txt")


@dataclass(frozen=True)
class Facts:
    """The official data set: `images` in all, `splits[size]` = (training, validation, test) images, and `archives` as
    pairs (archive, the folder in it)."""

    title: str
    short: str
    images: int
    splits: dict[str, tuple[int, int, int]]
    archives: tuple[tuple[str, str], ...]


DATASETS = {
    "lfw": Facts(
        "LFW Part Labels",
        "LFW",
        2927,
        {"big": (2342, 292, 292), "small": (1000, 100, 292)},
        (("lfw-funneled.tgz", "lfw_funneled"), ("parts_lfw_funneled_gt_images.tgz", "parts_lfw_funneled_gt_images")),
    ),
    "helen": Facts(
        "HELEN",
        "HELEN",
        2330,
        {"big": (1864, 233, 233), "small": (1000, 100, 233)},
        (("SmithCVPR2013_dataset_resized.zip", "SmithCVPR2013_dataset_resized"),),
    ),
}


def facts(name: str) -> Facts:
    """The facts of data set `name`. Raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: use one of {', '.join(DATASETS)}")
    return DATASETS[name]


def find(name: str, root: Path) -> list[Container]:
    """The containers of data set `name` in the order of its `archives`, below `<root>/<name>/` or `<root>/`;
    an archive is preferred to a folder. Raises an InputError that names the paths searched."""
    remedy = f"`python -m lib.data fetch {name}` downloads it, `--data synthetic` needs no download"
    if not os.path.isdir(root):
        raise InputError(f"the data root {root} of {facts(name).title} is not a folder: {remedy}")
    found = []
    for archive, top in facts(name).archives:
        places = [folder / file for folder in (root / name, root) for file in (archive, top)]
        path = next((place for place in places if place.is_dir() or place.is_file() and place.name == archive), None)
        if path is None:
            raise InputError(
                f"{facts(name).title} is incomplete, found none of {', '.join(map(str, places))}: {remedy}"
            )
        found.append(Container(path, top))
    return found


@dataclass(frozen=True)
class Picture:
    """One image and its label files, as names in their containers."""

    id: str
    image: str
    labels: tuple[str, ...]


def lfw_pictures(containers: list[Container]) -> list[Picture]:
    """The images of LFW that have a part label, sorted by id, which is the label's file name.

    Files of one name in several folders are paired by folder; their ids begin with it. Labels with another ending than
    .ppm and without an image are passed over. Raises InputError.
    """
    images, labels = containers
    names = images.names()
    image_of, label_of = by_name(names), by_name(labels.names())
    if not label_of:
        raise InputError(f"{labels.path}: it has no part label (*.ppm): get the official file again")
    image_paths, label_paths = by_last_part({**by_name(names, UNREAD), **image_of}), by_last_part(label_of)
    folders = {normalize("NFC", posixpath.dirname(name)) for name in names} - {""}
    unique = all(len(paths) == 1 for paths in (*image_paths.values(), *label_paths.values()))
    pictures = []
    for path, same in label_of.items():
        label, name = only(labels, same, ".ppm"), posixpath.basename(path)
        found, folder = image_paths.get(name, []), posixpath.dirname(path)
        alone = len(found) == len(label_paths[name]) == 1
        if path in image_of:
            image = path
        elif alone and found[0] in image_of and folder not in folders and (unique or not folder):
            (image,) = found
        elif len(found) > 1 and folder not in folders:
            raise InputError(
                f"{images.path}: {found[0]} and {found[1]} could both be the image of label {label}; sort the labels "
                "into the same folders, or give every image a name of its own"
            )
        elif not found and not label.endswith(".ppm"):
            continue
        else:
            gone = posixpath.join(folder, f"{name}.jpg") if found else f"{name}.jpg"
            raise missing(images, f"image {gone}", f"label {label}")
        path = posixpath.splitext(label)[0]
        id = posixpath.basename(path) if alone else path
        pictures.append(Picture(id, only(images, image_of[image], ".jpg"), (label,)))
    if not pictures:
        raise InputError(f"{images.path}: none of its pictures has a name of {labels.path}; give both the same names")
    return sorted(pictures, key=lambda picture: f"{picture.id}.ppm")


def helen_pictures(containers: list[Container]) -> list[Picture]:
    """The images in HELEN's lists (without lists: all in images/), sorted by id.

    Raises InputError if there are none, or if an image or one of its maps is missing.
    """
    (container,) = containers
    names = container.names()
    files = by_name(names)
    lists = list(container.read([name for name in HELEN_LISTS if name in set(names)]))
    if lists:
        ids = dict.fromkeys(id for _, text in lists for id in listed(text))
        if odd := [id for id in sorted(ids) if not id.isprintable() or len(id) > 100]:
            raise InputError(
                f"{container.path}: {odd[0][:100]!r} in {', '.join(HELEN_LISTS)} is not the "
                "name of an image: get the official file again"
            )
        ids = {normalize("NFC", id): id for id in (meant(id, files) for id in ids)}.values()
    else:
        ids = [
            posixpath.splitext(same[0])[0].removeprefix("images/")
            for path, same in files.items()
            if path.startswith("images/")
            and (same[0].endswith(".jpg") or f"labels/{path[7:]}/{path[7:]}_lbl00" in files)
        ]
    if not ids:
        raise InputError(
            f"{container.path}: it has no image, neither in {', '.join(HELEN_LISTS)} nor in "
            "images/: get the official file again"
        )
    pictures = []
    for id in sorted(ids):
        wanted = [f"images/{id}.jpg", *(f"labels/{id}/{id}_lbl{part:02d}.png" for part in range(11))]
        found = []
        for name in wanted:
            path, official = posixpath.splitext(name)
            if normalize("NFC", path) not in files:
                raise missing(container, name, f"the listed image {id}")
            found.append(only(container, files[normalize("NFC", path)], official))
        pictures.append(Picture(id, found[0], tuple(found[1:])))
    return pictures


def passed_over(containers: list[Container], pictures: list[Picture]) -> str:
    """What of the files is not used, as text for people: "" or "2 of 14 files in images (a.bmp, b.txt)"."""
    used = {name for picture in pictures for name in (picture.image, *picture.labels)} | set(HELEN_LISTS)
    said = []
    for container in containers:
        names = container.names()
        if unused := sorted(set(names) - used):
            some = ", ".join([*(name[-100:] for name in unused[:2]), *["…"] * (len(unused) > 2)])
            said.append(f"{len(unused):,} of {len(names):,} files in {container.path.name} ({some})")
    return " and ".join(said)


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """How a picture has to be turned, by its EXIF data, to be seen as the camera was held."""
    try:
        return UPRIGHT.get(image.getexif().get(0x0112))
    except Exception:  # of any bytes; the picture itself can be good
        return None


def is_turned(data: bytes) -> bool:
    """Whether a picture's file says that it has to be turned."""
    try:
        return _orientation(Image.open(io.BytesIO(data), formats=FORMATS)) is not None
    except Exception:  # it is read, and refused, later
        return False


def _picture(name: str, data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """The decoded JPEG, PPM or PNG, turned upright, or as stored if only so it has the `size` of its label.

    Raises InputError, naming it, if it is corrupt, too large or not 8-bit.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
            raise InputError(
                f"{name}: {image.width} x {image.height} pixels are too many, the limit is "
                f"{MAX_PIXELS:,} in all and {MAX_SIDE:,} a side: get the official file again"
            )
        image.load()
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{name}: this image has more than 8 bits ({image.mode}): get the official file again")
        turn = _orientation(image)
        turned = image if turn is None else image.transpose(turn)
        return image if image.size == size != turned.size else turned
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: truncated or corrupt, its {len(data):,} bytes are not a JPEG, PPM or PNG: get the file again"
        ) from error
    except Exception as error:  # of any bytes: Pillow's decoders raise many types
        raise InputError(f"{name}: the image is truncated or corrupt ({reason(error)}): get the file again") from error


def decode_image(
    name: str, data: bytes, size: int, label: tuple[int, int] | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The bytes of an image -> ((size, size, 3) uint8 RGB, original (width, height)): bilinear, antialiased.

    It is turned upright as its EXIF data say, unless only as stored it has the (width, height) of its `label`. An image
    that is not square is resized to a square, as by keras.utils.load_img(target_size=...).
    """
    image = _rgb(name, data, label)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)), image.size


def _rgb(name: str, data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    image = _picture(name, data, size)
    return image if image.mode == "RGB" else image.convert("RGB")  # convert copies even if nothing changes


def _shrink(labels: np.ndarray, size: int) -> np.ndarray:
    """(h, w) uint8 labels -> (size, size) by nearest neighbour: labels are never mixed."""
    return np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))


def decode_lfw_label(name: str, data: bytes, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The bytes of a coloured part label -> ((size, size) uint8 labels, original (width, height)).

    Raises InputError for any colour except pure red (hair), green (face) and blue (background).
    """
    picture = _rgb(name, data)
    found = picture.getcolors(len(LFW_COLOURS))  # (count, colour) of each, None for more colours
    if found is None or any(colour not in LFW_COLOURS for _, colour in found):
        rgb = np.asarray(picture)
        row, column = np.argwhere((rgb[..., None, :] != LFW_COLOURS).any(-1).all(-1))[0]
        colour = tuple(int(channel) for channel in rgb[row, column])
        raise InputError(
            f"{name}: the colour {colour} at row {row}, column {column} is not a label, only "
            "pure red (hair), green (face) and blue (background) are: get the file again"
        )
    rgb = np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))  # labels are never mixed
    return rgb[..., 0] & HAIR | rgb[..., 1] & FACE, picture.size


def decode_helen(picture: Picture, members: list[tuple[str, bytes]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and eleven maps -> (size, size, 3) uint8 RGB and (size, size) uint8 labels.

    At full resolution each pixel gets the part of largest probability (of equal ones the lowest index) and its label in
    `HELEN_LABELS`; after that the labels are resized. Raises InputError if a map is not 8-bit or differs in size from
    the image."""
    parts = [(name, _picture(name, data)) for name, data in members[1:]]
    image, original = decode_image(*members[0], size, parts[0][1].size)
    maps = []
    for name, part in parts:
        if part.size != original:
            raise InputError(_other_size(name, part.size, picture.image, original))
        maps.append(np.asarray(part.convert("L")))
    labels = HELEN_LABELS[np.argmax(np.stack(maps), axis=0)]  # (h, w)
    return image, _shrink(labels, size)


def _other_size(label: str, label_size: tuple[int, int], image: str, image_size: tuple[int, int]) -> str:
    return (
        f"{label}: the label is {label_size[0]} x {label_size[1]} pixels but its image {image} is "
        f"{image_size[0]} x {image_size[1]}: get both files again"
    )


def _parallel(function: Callable, tasks: Iterable[tuple], total: int, title: str) -> Iterator:
    """function(*task) for each task, in order, on two threads (Pillow decodes without Python's lock).

    At most 16 tasks wait at a time. A terminal shows a progress bar.
    """
    with ThreadPoolExecutor(2) as pool, tqdm(total=total, desc=title, unit="image", disable=None) as bar:
        waiting = deque()
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            if len(waiting) == 16:
                yield waiting.popleft().result()
                bar.update()
        for future in waiting:
            yield future.result()
            bar.update()


def read_lfw(containers: list[Container], pictures: list[Picture], images: np.ndarray, labels: np.ndarray) -> None:
    """Fill images (n, s, s, 3) uint8 and labels (n, s, s) uint8 with the n images. Raises InputError."""
    size, sizes = images.shape[1], {}
    image_rows = {picture.image: row for row, picture in enumerate(pictures)}
    label_rows = {picture.labels[0]: row for row, picture in enumerate(pictures)}

    def one(row: int, name: str, data: bytes) -> tuple[int, np.ndarray, tuple[int, int]]:
        return row, *decode_image(name, data, size, sizes[row])

    members = tqdm(containers[1].read(label_rows), "LFW labels", len(pictures), unit="image", disable=None)
    for name, data in members:  # two threads would only wait for Python's lock here
        row = label_rows[name]
        labels[row], sizes[row] = decode_lfw_label(containers[1].place(name), data, size)
    tasks = ((image_rows[name], containers[0].place(name), data) for name, data in containers[0].read(image_rows))
    for row, image, original in _parallel(one, tasks, len(pictures), "LFW images"):
        if original != sizes[row]:
            raise InputError(
                _other_size(containers[1].place(pictures[row].labels[0]), sizes[row], pictures[row].image, original)
            )
        images[row] = image


def read_helen(containers: list[Container], pictures: list[Picture], images: np.ndarray, labels: np.ndarray) -> None:
    """Fill images (n, s, s, 3) uint8 and labels (n, s, s) uint8 with the n images. Raises InputError."""
    wanted = [name for picture in pictures for name in (picture.image, *picture.labels)]
    members = ((containers[0].place(name), data) for name, data in containers[0].read(wanted))
    tasks = ((picture, [next(members) for _ in range(12)], images.shape[1]) for picture in pictures)
    for row, (image, label) in enumerate(_parallel(decode_helen, tasks, len(pictures), "HELEN")):
        images[row], labels[row] = image, label


LISTERS = {"lfw": lfw_pictures, "helen": helen_pictures}
READERS = {"lfw": read_lfw, "helen": read_helen}
