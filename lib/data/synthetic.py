"""Synthetic labelled faces, drawn from a seed, in the official layouts of LFW Part Labels and HELEN.

Image and labels are painted from the same polygons: `drawing.person` draws a person, `drawing.surroundings` everything
around it, both on the canvas of `drawing.canvas`. Clutter, bystanders and clothes also have colours of skin and hair,
so that a network cannot find the face by place or colour alone.
"""

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from lib import InputError
from lib.data.drawing.canvas import Canvas, rotation
from lib.data.drawing.person import PARTS, paint_person, random_look
from lib.data.drawing.surroundings import defocus, paint_clutter, paint_foreground, photograph

GIVEN_NAMES = (
    "Alex Ariel Bao Casey Chidi Dana Eden Farah Gale Hayden Ira Jules Kim Lee Mika Noor Oluchi "
    "Perry Quinn Robin Sasha Taylor Uma Val Wren Xiu Yuri Zuri"
).split()
SURNAMES = (
    "Abara Bergmann Castellan Dragovic Eklund Fontaineau Grunwald Haverly Ivarsen Jablonka Kovalik "
    "Lindqvor Moravec Nakadai Okonjo Petrakis Quillfeather Rasmund Sandoval Tervonen Ullmark "
    "Vasquero Westerby Yamanobe Zielonka"
).split()
LFW_COLOURS = np.array([(0, 0, 255)] + [(0, 255, 0)] * 9 + [(255, 0, 0)], np.uint8)  # part -> RGB
FORMAT = 1  # in the digest of synthetic faces; raise it when the drawing changes
NATURAL_SHARE = 0.188  # mean share of the pixels that faces cover by default
LFW, HELEN, LFW_PERSON = 1, 2, 3  # codes of random streams: each data set has its own generators


def _draw(
    rng: np.random.Generator, height: int, width: int, look: dict, share: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one labelled image of the person with this `look`; see `draw_face`."""
    zoom = np.sqrt(share / NATURAL_SHARE) if share else 1.0
    canvas = Canvas(height, width)
    size = canvas.size
    paint_clutter(canvas, rng, look)
    if rng.random() < 0.33:  # a bystander, who is background
        centre = np.array([rng.choice([-0.1, 0.08, 0.92, 1.1]) + rng.normal(0, 0.06), rng.uniform(0.2, 0.6)]) * size
        paint_person(canvas, rng, random_look(rng), centre, zoom * rng.uniform(0.12, 0.22) * min(size))
    defocus(canvas, rng)
    centre = (np.array([0.5, 0.45]) + rng.normal(0, (0.075, 0.065))).clip(0.2, 0.8) * size
    scale = zoom * 0.228 * min(size) * np.exp(rng.normal(0, 0.18)).clip(0.65, 1.5)
    paint_person(canvas, rng, look, centre, scale)
    paint_foreground(canvas, rng, look)
    image = photograph(canvas.image, rng)
    if rng.random() < 0.35:  # the black corners of an image that was turned upright
        tilt, shift = rng.normal(0, 0.06), rng.normal(0, 0.03, 2) * size
        frame = (np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * size) @ rotation(tilt)
        outside = Canvas(height, width).paint(frame + size / 2 + shift, (0, 0, 0))
        image = (image * outside[..., None]).astype(np.uint8)
        canvas.parts[outside < 0.5] = 0
    return image, canvas.parts


def draw_face(rng: np.random.Generator, size: int = 250, share: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw one face with labels.

    Returns the image, uint8 RGB (size, size, 3), and its parts, uint8 (size, size), indices into `PARTS`.
    As in LFW Part Labels, skin is all visible skin of head, ears and neck; beards and moustaches are hair; hats, hands,
    clothes and other people are background. Glasses have the label of what they cover.
    With `share`, in (0, 0.5], faces without hair cover that share of the pixels on average; people in the background
    are scaled with them.
    Raises InputError for a size below 32 pixels.
    """
    if size < 32:
        raise InputError(f"size is {size} pixels, too small to draw a face: give 32 or more")
    return _draw(rng, size, size, random_look(rng), share)


def _encode(image: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def _lfw_files(n: int, seed: int, share: float) -> Iterator[tuple[str, bytes]]:
    """The files (path, content) of n LFW images; an image's number counts the images of its person."""
    seen = Counter()
    for i in range(n):
        rng = np.random.default_rng([seed, LFW, i])
        person = int(len(GIVEN_NAMES) * len(SURNAMES) * rng.random() ** 2)  # low numbers are more frequent
        name = f"{GIVEN_NAMES[person % len(GIVEN_NAMES)]}_{SURNAMES[person // len(GIVEN_NAMES)]}"
        seen[person] += 1
        image, parts = _draw(rng, 250, 250, random_look(np.random.default_rng([seed, LFW_PERSON, person])), share)
        stem = f"{name}_{seen[person]:04d}"
        yield f"lfw_funneled/{name}/{stem}.jpg", _encode(image, "JPEG", quality=90)
        yield f"parts_lfw_funneled_gt_images/{stem}.ppm", _encode(LFW_COLOURS[parts], "PPM")


def _helen_files(n: int, seed: int, share: float) -> Iterator[tuple[str, bytes]]:
    """The files (path, content) of n HELEN images, label maps soft at the borders, and the three lists."""
    top, ids = "SmithCVPR2013_dataset_resized", []
    for i in range(n):
        rng = np.random.default_rng([seed, HELEN, i])
        image, parts = _draw(rng, *rng.integers(260, 341, 2), random_look(rng), share)
        ids.append(f"{100000 + i}_1")
        yield f"{top}/images/{ids[i]}.jpg", _encode(image, "JPEG", quality=92)
        for part in range(len(PARTS)):
            label = Image.fromarray(np.where(parts == part, np.uint8(255), np.uint8(0)))
            label = np.asarray(label.filter(ImageFilter.BoxBlur(1)))
            yield f"{top}/labels/{ids[i]}/{ids[i]}_lbl{part:02d}.png", _encode(label, "PNG", compress_level=1)
    cuts = {"exemplars": (0, n * 85 // 100), "tuning": (n * 85 // 100, n * 9 // 10), "testing": (n * 9 // 10, n)}
    for name, (start, stop) in cuts.items():
        lines = (f"{k + 1} , {ids[k]}\n" for k in range(start, stop))
        yield f"{top}/{name}.txt", "".join(lines).encode()


def _write(files: Iterator[tuple[str, bytes]], root: Path, name: str, archives: dict[str, str] | None) -> Path:
    """Write files to root/name, as folders, or each top folder as its archive in `archives`; all or nothing."""
    target = Path(root) / name
    if target.exists() and any(target.iterdir()):
        raise InputError(f"root: {target} already holds files; choose an empty folder or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch, ExitStack() as stack:
        work = Path(scratch) / name
        work.mkdir()
        opened = {}
        for path, content in files:
            if archives is None:
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_bytes(content)
                continue
            folder = path.split("/")[0]
            if folder not in opened:
                opened[folder] = _open_archive(work / archives[folder], stack)
            opened[folder](path, content)
        stack.close()
        if target.exists():
            target.rmdir()
        work.rename(target)
    return target


def _open_archive(path: Path, stack: ExitStack) -> Callable[[str, bytes], None]:
    """Open a new .zip or .tgz whose bytes depend on its content only; return its add(name, content)."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path, "w"))
        return lambda name, content: archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    file = stack.enter_context(open(path, "wb"))
    packed = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0))
    tar = stack.enter_context(tarfile.open(fileobj=packed, mode="w"))

    def add(name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))

    return add


def write_lfw(root: Path, n: int, seed: int = 0, *, archive: bool = False, share: float = 0.0) -> Path:
    """Write n synthetic images in the layout of LFW (funneled) with Part Labels; return root/lfw.

    `lfw_funneled/<Person>/<Person>_NNNN.jpg` are 250x250 JPEG,
    `parts_lfw_funneled_gt_images/<Person>_NNNN.ppm` 250x250 in pure red (hair), green (face) and blue
    (background); with `archive` both folders are .tgz files instead.
    Image i depends only on (seed, i), a person always has the same look, and the same arguments give the same bytes;
    for `share` see `draw_face`.
    Raises InputError if n < 1 or root/lfw already holds files.
    """
    _check(n)
    archives = {"lfw_funneled": "lfw-funneled.tgz", "parts_lfw_funneled_gt_images": "parts_lfw_funneled_gt_images.tgz"}
    return _write(_lfw_files(n, seed, share), root, "lfw", archives if archive else None)


def write_helen(root: Path, n: int, seed: int = 0, *, archive: bool = False, share: float = 0.0) -> Path:
    """Write n synthetic images in the layout of HELEN (Smith et al., 2013); return root/helen.

    Under `SmithCVPR2013_dataset_resized/`: `images/<id>.jpg` with sides of 260 to 340 pixels,
    `labels/<id>/<id>_lbl00.png` ... `lbl10.png` (8-bit probability of each of `PARTS`, soft at the borders)
    and the lists exemplars.txt, tuning.txt, testing.txt; with `archive` they are one .zip.
    Image i depends only on (seed, i), and the same arguments give the same bytes; for `share` see `draw_face`.
    Raises InputError if n < 1 or root/helen already holds files.
    """
    _check(n)
    top = "SmithCVPR2013_dataset_resized"
    return _write(_helen_files(n, seed, share), root, "helen", {top: f"{top}.zip"} if archive else None)


def _check(n: int) -> None:
    if n < 1:
        raise InputError(f"n is {n}, but a data set needs at least one image: give 1 or more")
