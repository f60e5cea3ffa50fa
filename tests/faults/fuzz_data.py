"""Archives, folders, pictures and lists for fuzz.py: small official-looking files, hostile ones, and their readers."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from fuzz import FEW, Reader, damage, damaged
from hypothesis import strategies as st
from PIL import Image

from lib import data
from lib.data import layouts
from lib.data.layouts import Picture

HELEN = "SmithCVPR2013_dataset_resized"
SIDE = 8


def encoded(array, kind: str, mode: str | None = None) -> bytes:
    """An array as a picture file of a Pillow format."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(file, kind)
    return file.getvalue()


GREY = np.full((SIDE, SIDE, 3), 99, np.uint8)
FACE = np.zeros((SIDE, SIDE, 3), np.uint8)
FACE[..., 1] = 255
JPG, PPM, MAP = encoded(GREY, "JPEG"), encoded(FACE, "PPM"), encoded(GREY[..., 0], "PNG")
LFW_IMAGES = {f"lfw_funneled/A/A_000{i}.jpg": JPG for i in range(3)}
LFW_LABELS = {f"parts_lfw_funneled_gt_images/A_000{i}.ppm": PPM for i in range(3)}
HELEN_FILES = {
    f"{HELEN}/{name}": content
    for i in range(3)
    for name, content in {
        f"images/{i}.jpg": JPG,
        **{f"labels/{i}/{i}_lbl{part:02d}.png": MAP for part in range(11)},
    }.items()
}
HELEN_FILES[f"{HELEN}/exemplars.txt"] = b"1 , 0\n2 , 1\n3 , 2\n"


# ---- hostile archives --------------------------------------------------------------------------------------

EVIL_NAMES = st.sampled_from(
    [
        "../escape.jpg",
        "../../escape.jpg",
        "/escape.jpg",
        "lfw_funneled/../../escape.jpg",
        "lfw_funneled/A/A_0001.jpg",
        "C:\\escape.jpg",
        "..\\escape.jpg",
        "lfw_funneled/A/\x1b[2J.jpg",
        "lfw_funneled/new\nline.jpg",
        "~/.bashrc",
        "",
        ".",
        "..",
        "lfw_funneled",
        "a" * 300 + ".jpg",
        "a/" * 200 + "b.jpg",
        "lfw_funneled/\udcff.jpg",
        f"{HELEN}/images/0.jpg",
        "lfw_funneled/Ä/Ä_0001.jpg",
        "parts_lfw_funneled_gt_images/A_0001.ppm",
        "parts_lfw_funneled_gt_images/Z_1.ppm",
        f"{HELEN}/labels/0/0_lbl00.png",
        f"{HELEN}/testing.txt",
        "__MACOSX/x.jpg",
        ".hidden.jpg",
        "a//b///c.jpg",
    ]
)
SIZES = st.sampled_from([0, 1, 511, 512, 513, 10**6, 3 * 10**8, 10**10, 8**11 - 1, 8**12])
MEMBER = st.fixed_dictionaries(
    {
        "name": EVIL_NAMES,
        "type": st.sampled_from(
            [
                tarfile.REGTYPE,
                tarfile.AREGTYPE,
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.CHRTYPE,
                tarfile.BLKTYPE,
                tarfile.DIRTYPE,
                tarfile.FIFOTYPE,
                tarfile.GNUTYPE_SPARSE,
                tarfile.GNUTYPE_LONGNAME,
                tarfile.XHDTYPE,
                tarfile.XGLTYPE,
                b"Z",
            ]
        ),
        "link": EVIL_NAMES,
        "claimed": SIZES | st.none(),
        "content": st.sampled_from([b"", JPG, PPM, b"\0" * 70000, b"1" * 70000, b"11 path=abc\n", b"99999 size=1\n"]),
    }
)


def tgz(files: dict[str, bytes], members=(), pad: int = 0) -> bytes:
    """A .tgz of the files after hostile members, which may claim another size than they have."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member["name"])
            info.type, info.linkname, content = member["type"], member["link"], member["content"]
            info.size = len(content) if member["claimed"] is None else member["claimed"]
            header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            archive.fileobj.write(header + content + bytes(-len(content) % 512))
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        archive.fileobj.write(bytes(pad))
    return file.getvalue()


ZIP_MEMBER = st.fixed_dictionaries(
    {
        "name": EVIL_NAMES,
        "method": st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
        "mode": st.sampled_from([0, 0o100644, 0o120777, 0o010644, 0o020644, 0o040755]),
        "claimed": SIZES | st.none(),
        "content": st.sampled_from([b"", JPG, MAP, b"1 , 0\n", b"1 , ../../secret\n", bytes(10**6)]),
    }
)


def zipped(files: dict[str, bytes], members=()) -> bytes:
    """A .zip of the files and hostile members, of which the list of contents may claim another size."""
    file, claims = io.BytesIO(), []
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for member in members:
            info = zipfile.ZipInfo(member["name"].encode("utf-8", "replace").decode())
            info.external_attr, info.compress_type = member["mode"] << 16, member["method"]
            archive.writestr(info, member["content"])
            if member["claimed"] is not None:
                claims.append((info, member["claimed"]))
        for info, size in claims:
            info.file_size = min(size, 2**32 - 2)
    return file.getvalue()


def whole(name: str, folder: Path) -> None:
    """Loads what stands in `folder` as data set `name`, at 8 pixels."""
    dataset = data.load(name, 8, folder)
    assert dataset.images.shape == (len(dataset.ids), 8, 8, 3) and dataset.labels.max(initial=0) <= layouts.MOUTH


def read_tgz(case, folder: Path) -> None:
    """One of the two archives gets hostile members, changes in its first picture and changes when it is packed."""
    which, members, pad, inside, outside = case
    files = [LFW_IMAGES, LFW_LABELS]
    first = next(iter(files[which]))
    files[which] = files[which] | {first: damage(files[which][first], inside)}
    for number, (archive, _) in enumerate(layouts.DATASETS["lfw"].archives):
        content = damage(tgz(files[number], members, pad), outside) if number == which else tgz(files[number])
        (folder / archive).write_bytes(content)
    whole("lfw", folder)


def read_zip(case, folder: Path) -> None:
    members, inside, outside = case
    files = HELEN_FILES | {f"{HELEN}/images/1.jpg": damage(JPG, inside)}
    (folder / f"{HELEN}.zip").write_bytes(damage(zipped(files, members), outside))
    whole("helen", folder)


def read_foreign(case, folder: Path) -> None:
    """Any file under the names of the archives."""
    for archive, _ in (*layouts.DATASETS["lfw"].archives, *layouts.DATASETS["helen"].archives):
        (folder / archive).write_bytes(case)
    for name in layouts.DATASETS:
        whole(name, folder)


FOLDER_ENTRY = st.tuples(
    EVIL_NAMES.filter(lambda name: ".." not in name and not name.startswith("/") and len(name) < 250),
    st.sampled_from(["file", "folder", "fifo", "link out", "link in", "loop"]),
    damaged(JPG, PPM),
)


def read_folder(case, folder: Path) -> None:
    """Extracted folders with odd entries in place of or beside the official ones."""
    for name, content in {**LFW_IMAGES, **LFW_LABELS}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, kind, content in case:
        path = folder / (name if name.startswith(("lfw_f", "parts_")) else f"lfw_funneled/{name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path) and not path.is_dir():
                path.unlink()
            {
                "file": lambda: path.write_bytes(content),
                "folder": path.mkdir,
                "fifo": lambda: os.mkfifo(path),
                "link out": lambda: path.symlink_to(folder.parent / "secret"),
                "loop": lambda: path.symlink_to(path),
                "link in": lambda: path.symlink_to(folder / "lfw_funneled/A/A_0000.jpg"),
            }[kind]()
        except (OSError, ValueError):  # the file system refuses this entry
            continue
    whole("lfw", folder)


# ---- pictures ----------------------------------------------------------------------------------------------


def png(width: int, height: int, depth: int = 8, colour: int = 0, body: bytes = b"") -> bytes:
    """A PNG whose header claims any size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def apng() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(GREY + i) for i in range(3)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


DEEP, DOT = encoded(GREY[..., 0].astype(np.uint16), "PNG"), encoded(GREY[:1, :1], "PNG")
PICTURES = [
    JPG,
    PPM,
    MAP,
    apng(),
    encoded(GREY, "JPEG", "CMYK"),
    encoded(GREY, "PNG", "P"),
    encoded(GREY, "PNG", "1"),
    encoded(GREY, "PNG", "LA"),
    encoded(GREY, "PNG", "RGBA"),
    DEEP,
    DOT,
    encoded(GREY[..., 0].astype(np.int32), "PPM"),
    encoded(GREY, "GIF"),
    encoded(GREY, "TIFF"),
    encoded(GREY, "BMP"),
    b"P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12\n",
    b"P1 2 2 1 0 1 0\n",
    b"Pf 2 2 -1.0\n" + bytes(16),
    b"PF 2 2 1.0\n" + bytes(48),
    b"P6 2 2 65535\n" + bytes(24),
    b"P5 2 2 65535\n" + bytes(8),
    b"P6 100000 100000 255\n",
    b"P3 99999999 1 255\n1 2 3",
    png(2**31 - 1, 2**31 - 1),
    png(20_000_000, 1, body=bytes(20_000_001)),
    png(8, 8, 16, 2, bytes(8 * 49)),
    png(8, 8, 16, 6, bytes(8 * 65)),
    png(4000, 4000, body=bytes(10)),
    png(0, 5),
    png(8, 8, 3, 9),
]


def read_image(case, folder: Path) -> None:
    image, _ = layouts.decode_image("face.jpg", case, 8)
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8


COLOURS = st.sampled_from([(255, 0, 0), (0, 255, 0), (0, 0, 255), (254, 0, 0), (0, 0, 0), (255, 255, 255)])
LABEL = st.lists(COLOURS, min_size=1, max_size=16).map(
    lambda colours: encoded(np.array(colours, np.uint8)[None], "PPM")
)


def read_label(case, folder: Path) -> None:
    labels, _ = layouts.decode_lfw_label("face.ppm", case, 8)
    assert labels.shape == (8, 8) and labels.max() <= layouts.HAIR


def read_maps(case, folder: Path) -> None:
    """The image and eleven maps, some of them replaced."""
    contents = [case.get(number, MAP if number else JPG) for number in range(12)]
    picture = Picture("face", "face.jpg", tuple(f"face_lbl{part:02d}.png" for part in range(11)))
    _, labels = layouts.decode_helen(picture, list(zip((picture.image, *picture.labels), contents)), 8)
    assert labels.max() <= layouts.MOUTH


LISTS = st.sampled_from(
    [
        b"1 , 0\n",
        b"1 , 0\n1 , 0\n",
        b"1 , ../0\n",
        b"\xff\xfe1\0",
        b",\n",
        b"1 , \x1b[31m\n",
        b"0",
        b"1 , " + b"x" * 5000,
        b"\0",
        b"1 , 0\r\n2 , 1\r\n",
        b"1 ; 0\n",
    ]
) | st.binary(max_size=40)


def read_lists(case, folder: Path) -> None:
    files = HELEN_FILES | {f"{HELEN}/{name}": text for name, text in zip(layouts.HELEN_LISTS, case) if text is not None}
    (folder / f"{HELEN}.zip").write_bytes(zipped(files))
    whole("helen", folder)


ARRAYS = damaged(
    *(
        content
        for array in (
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((3, 8, 8, 3), np.uint8),
            np.zeros((3, 8, 8), np.float64),
            np.array([{}], object),
        )
        for content in [(lambda file: (np.save(file, array, allow_pickle=True), file.getvalue())[1])(io.BytesIO())]
    )
)


def read_cache(case, folder: Path) -> None:
    """A decoded data set in the cache that was damaged is decoded again, whatever stands there."""
    for (archive, _), files in zip(layouts.DATASETS["lfw"].archives, (LFW_IMAGES, LFW_LABELS)):
        (folder / archive).write_bytes(tgz(files))
    good = data.load("lfw", 8, folder)
    (kept,) = (folder / "cache").glob("lfw-8px-*/")
    for file, content in case.items():
        path = next((folder / "cache/digests").iterdir()) if file == "digest" else kept / file
        path.unlink()
        path.write_bytes(content)
    assert data.load("lfw", 8, folder).ids is not None and good.digest == data.digest("lfw", folder)


# ---- one's own files ---------------------------------------------------------------------------------------


def marked(number: int, ending: str, orientation: int) -> bytes:
    """A picture of one grey, which tells whose it is, whose camera was held in some way."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file, kind = io.BytesIO(), "PNG" if ending.lower() == ".png" else "PPM" if "p" in ending.lower()[:2] else "JPEG"
    Image.fromarray(np.full((SIDE, SIDE, 3), 40 * number, np.uint8)).save(file, kind, exif=exif)
    return file.getvalue()


def label_of(number: int) -> np.ndarray:
    """The label of the person `number`: face in that many columns."""
    label = np.zeros((SIDE, SIDE, 3), np.uint8)
    label[:, :number, 1], label[:, number:, 2] = 255, 255
    return label


PEOPLE = ("Ann", "Zoë", "Zoe\u0308", "Bo Li", "Müller")
OWN_FILE = st.tuples(
    st.integers(0, len(PEOPLE) - 1),
    st.sampled_from(["001", "002", "Zoë_0001"]),
    st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ".PPM", ".bmp"]),
    st.sampled_from([".ppm", ".ppm", ".PPM", ".png", ".txt"]),
    st.integers(0, 9),  # EXIF's orientation, two of them unknown
    st.sampled_from(["by folder", "flat", "flat", "without label", "without image", "through a link"]),
)


def read_own(case, folder: Path) -> None:
    """Photographs and labels as people sort and name them: each label stays with its own photograph, or is refused."""
    images, labels = (folder / top for _, top in layouts.DATASETS["lfw"].archives)
    for place in (images, labels, folder / "disk"):
        place.mkdir(parents=True)
    for person, name, ending, label_ending, orientation, how in case:
        for top, content, kind in (
            (images, marked(person + 1, ending, orientation), ending),
            (labels, encoded(label_of(person + 1), "PPM" if "p" in label_ending[1:2].lower() else "PNG"), label_ending),
        ):
            place = top if top is labels and how == "flat" else top / PEOPLE[person]
            if how == "through a link" and not place.exists():
                (folder / "disk" / f"{top.name}-{person}").mkdir(exist_ok=True)
                place.symlink_to(folder / "disk" / f"{top.name}-{person}")
            if top is images:  # of whom there is no image there can be other files
                place.mkdir(exist_ok=True)
                (place / "notes.txt").touch()
            if how != ("without image" if top is images else "without label"):
                place.mkdir(exist_ok=True)
                (place / f"{name}{kind}").write_bytes(content)
    dataset = data.load("lfw", SIDE, folder)
    whose = (dataset.images[:, 0, 0, 0].astype(int) + 20) // 40
    assert (whose == (dataset.labels == layouts.FACE)[:, 0].sum(1)).all(), (dataset.ids, whose)


OWN_LIST = st.tuples(
    st.lists(st.sampled_from(["0", "1", "2", "0.jpg", "images/1.jpg", " 2 ", '"1"', "", "nobody"]), max_size=4),
    st.sampled_from([" , ", ",", ";", "\t", " "]),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]),
)


def read_own_list(case, folder: Path) -> None:
    """A list saved by an editor or spreadsheet names the images it names, or is refused."""
    entries, mark, end, code = case
    text = "".join(f"{number}{mark}{entry}{end}" for number, entry in enumerate(entries, 5))
    (folder / f"{HELEN}.zip").write_bytes(zipped(HELEN_FILES | {f"{HELEN}/exemplars.txt": text.encode(code)}))
    dataset = data.load("helen", SIDE, folder)
    named = {entry.strip(' "').removeprefix("images/").removesuffix(".jpg") for entry in entries}
    assert set(dataset.ids) == named - {""} or "" in named


READERS = [
    Reader("one's own photographs and labels", st.lists(OWN_FILE, max_size=4), read_own, ("lfw_funneled", "LFW"), 1),
    Reader("one's own lists", OWN_LIST, read_own_list, (HELEN,), 0.5),
    Reader(
        "archives .tgz (LFW)",
        st.tuples(st.integers(0, 1), st.lists(MEMBER, max_size=3), st.sampled_from([0, 0, 0, 10**6, 10**8]), FEW, FEW),
        read_tgz,
        (".tgz", "LFW"),
        2,
    ),
    Reader(
        "archives .zip (HELEN)", st.tuples(st.lists(ZIP_MEMBER, max_size=3), FEW, FEW), read_zip, (".zip", "HELEN"), 2
    ),
    Reader(
        "other files as archives",
        damaged(tgz(LFW_IMAGES), tgz({}), zipped(HELEN_FILES), zipped({}), *PICTURES),
        read_foreign,
        (".tgz", ".zip", "LFW"),
        0.5,
    ),
    Reader("extracted folders", st.lists(FOLDER_ENTRY, max_size=4), read_folder, ("lfw_funneled", "LFW")),
    Reader("images", damaged(*PICTURES), read_image, ("face.jpg",), 3),
    Reader("LFW's labels", damaged(*PICTURES) | LABEL, read_label, ("face.ppm",), 2),
    Reader(
        "HELEN's probability maps",
        st.dictionaries(st.integers(0, 11), damaged(*PICTURES, MAP, MAP, MAP), max_size=2),
        read_maps,
        ("face",),
    ),
    Reader("HELEN's lists", st.tuples(*[LISTS | st.none()] * 3), read_lists, (".zip", "HELEN")),
    Reader(
        "decoded cache",
        st.dictionaries(
            st.sampled_from(["images.npy", "labels.npy", "digest", "meta.json"]),
            ARRAYS
            | damaged(b'{"ids": ["a", "b", "c"]}')
            | st.sampled_from([b"[]", b'{"ids": 5}', b"null", b'{"ids": null}']),
        ),
        read_cache,
        ("cache",),
    ),
]
