"""Tiny archives and folders in the official layouts of LFW and HELEN, made by hand, and what is said of bad ones."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import InputError, data
from lib.data import layouts

R, G, B = (255, 0, 0), (0, 255, 0), (0, 0, 255)
HELEN = "SmithCVPR2013_dataset_resized"
LFW_IDS = ("Ann_Lee_0001", "Ann_Lee_0002", "Bo_0001", "Zoe_Y_0003")


def encode(array: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, kind, **options)
    return file.getvalue()


def quarters(a, b, c, d, side=16) -> np.ndarray:
    """(side, side, channels) picture of four squares: a b above c d."""
    return np.kron(np.array([[a, b], [c, d]]), np.ones((side // 2, side // 2, 1), int))


def lfw_files(ids=LFW_IDS, side=16) -> dict[str, bytes]:
    """LFW's two trees; the last image of all has no label, as most of the official ones."""
    files = {}
    for row, id in enumerate(ids):
        grey = quarters(*[[40 * row + v] * 3 for v in (10, 20, 30, 40)], side)
        files[f"lfw_funneled/{id[:-5]}/{id}.jpg"] = encode(grey, "JPEG", quality=100)
        files[f"parts_lfw_funneled_gt_images/{id}.ppm"] = encode(quarters(R, G, B, G, side), "PPM")
    files["lfw_funneled/No_Label/No_Label_0001.jpg"] = encode(np.zeros((side, side, 3)), "JPEG")
    return files


def helen_files(ids=("7_1", "100_1", "23_1"), height=16, width=24) -> dict[str, bytes]:
    """HELEN's tree: skin (1) wins in the left half, hair (10) at the top right, background below it."""
    files, left = {}, width // 2
    for row, id in enumerate(ids):
        grey = np.full((height, width, 3), 60 * row + 50)
        files[f"{HELEN}/images/{id}.jpg"] = encode(grey, "JPEG", quality=100)
        maps = np.zeros((11, height, width))
        maps[1, :, :left], maps[10, : height // 2, left:], maps[0, height // 2 :, left:] = 200, 255, 90
        for part in range(11):
            files[f"{HELEN}/labels/{id}/{id}_lbl{part:02d}.png"] = encode(maps[part], "PNG")
    for name, lines in zip(("exemplars", "tuning", "testing"), ids):
        files[f"{HELEN}/{name}.txt"] = f"1 , {lines}\n".encode()
    return files


def tgz(path: Path, files: dict[str, bytes], extra=()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for member in extra:
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def place(root: Path, files: dict[str, bytes], packed=True) -> Path:
    """Write files below root/<data set>/ as the official archives or as folders."""
    for name, official in layouts.DATASETS.items():
        for archive, top in official.archives:
            inside = {file: content for file, content in files.items() if file.startswith(top + "/")}
            if not packed:
                for file, content in inside.items():
                    (root / name / file).parent.mkdir(parents=True, exist_ok=True)
                    (root / name / file).write_bytes(content)
            elif inside and archive.endswith(".tgz"):
                tgz(root / name / archive, inside)
            elif inside:
                (root / name).mkdir(parents=True, exist_ok=True)
                with zipfile.ZipFile(root / name / archive, "w") as file:
                    for member, content in inside.items():
                        file.writestr(member, content)
    return root


def refused(name, root, *words):
    """Loading fails with one sentence that holds all the words."""
    with pytest.raises(InputError) as error:
        data.load(name, 8, root)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


LFW_JPG, LFW_PPM = "lfw_funneled/Bo/Bo_0001.jpg", "parts_lfw_funneled_gt_images/Bo_0001.ppm"
HELEN_JPG, HELEN_PNG = f"{HELEN}/images/23_1.jpg", f"{HELEN}/labels/23_1/23_1_lbl04.png"
