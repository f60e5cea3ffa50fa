"""lib/data/datasets.py, lib/data/layouts.py and lib/data/archives.py on tiny archives and folders in the official layouts, and
lib/fetch.py against a server on this machine."""
import functools
import hashlib
import http.server
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import PROJECT, InputError, data
from lib.data import archives, cache, datasets, fetch, layouts
from lib.data.__main__ import main

R, G, B = (255, 0, 0), (0, 255, 0), (0, 0, 255)
HELEN = "SmithCVPR2013_dataset_resized"
LFW_IDS = ("Ann_Lee_0001", "Ann_Lee_0002", "Bo_0001", "Zoe_Y_0003")


# ---- files by hand ----------------------------------------------------------------------------------------

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
        maps[1, :, :left], maps[10, :height // 2, left:], maps[0, height // 2:, left:] = 200, 255, 90
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


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "cache"))
    for variable in ("IOU_STUDY_DATA", "IOU_STUDY_URLS"):
        monkeypatch.delenv(variable, raising=False)


# ---- what is read -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_lfw_pixels_labels_and_order(tmp_path, packed):
    files = lfw_files()
    shuffled = dict(sorted(files.items(), reverse=True))  # the order in the archive does not matter
    dataset = data.load("lfw", 16, place(tmp_path / "root", shuffled, packed))
    assert dataset.ids == LFW_IDS  # sorted, and without No_Label_0001
    assert dataset.images.shape == (4, 16, 16, 3) and dataset.images.dtype == np.uint8
    for row, id in enumerate(LFW_IDS):
        want = np.asarray(Image.open(io.BytesIO(files[f"lfw_funneled/{id[:-5]}/{id}.jpg"])))
        np.testing.assert_array_equal(dataset.images[row], want)
    one = np.kron([[layouts.HAIR, layouts.FACE], [layouts.BACKGROUND, layouts.FACE]], np.ones((8, 8)))
    np.testing.assert_array_equal(dataset.labels, np.stack([one] * 4))
    assert isinstance(dataset.images, np.memmap) and not dataset.images.flags.writeable
    assert not dataset.labels.flags.writeable


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_helen_pixels_labels_and_order(tmp_path, packed):
    dataset = data.load("helen", 8, place(tmp_path / "root", helen_files(), packed))
    assert dataset.ids == ("100_1", "23_1", "7_1")  # sorted as text
    np.testing.assert_array_equal(dataset.images[:, 4, 4, 0], [110, 170, 50])  # flat pictures stay flat
    want = np.full((8, 8), layouts.FACE)
    want[:4, 4:], want[4:, 4:] = layouts.HAIR, layouts.BACKGROUND  # 16 x 24 squeezed into the square
    np.testing.assert_array_equal(dataset.labels, np.stack([want] * 3))


@pytest.mark.parametrize("name, make", [("lfw", lfw_files), ("helen", helen_files)])
def test_archive_and_folder_give_the_same_arrays_and_each_its_digest(tmp_path, name, make):
    one, other = (data.load(name, 12, place(tmp_path / str(packed), make(), packed))
                  for packed in (True, False))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.ids == other.ids and one.digest != other.digest


def test_one_archive_and_one_folder_directly_below_the_root(tmp_path):
    place(tmp_path / "a", lfw_files(), packed=True)
    place(tmp_path / "a", lfw_files(), packed=False)
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "a/lfw/lfw_funneled").rename(root / "lfw_funneled")
    (tmp_path / "a/lfw/parts_lfw_funneled_gt_images.tgz").rename(root / "parts_lfw_funneled_gt_images.tgz")
    dataset = data.load("lfw", 16, root)
    assert dataset.ids == LFW_IDS and dataset.source == "lfw_funneled + parts_lfw_funneled_gt_images.tgz"


def test_helen_without_lists_uses_the_image_folder(tmp_path):
    files = {name: content for name, content in helen_files().items() if not name.endswith(".txt")}
    assert data.load("helen", 8, place(tmp_path, files)).ids == ("100_1", "23_1", "7_1")


def test_helen_label_is_the_largest_map_and_the_lowest_index_of_equals():
    columns = [  # (probabilities of parts 0 ... 10, label)
        ([9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9], layouts.BACKGROUND), ([8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9], layouts.FACE),
        ([8, 0, 0, 0, 0, 0, 0, 0, 0, 8, 9], layouts.HAIR), ([0] * 11, layouts.BACKGROUND),
        ([5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 5], layouts.EYES),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2], layouts.MOUTH), ([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], layouts.BROWS),
        ([0, 0, 0, 0, 0, 0, 9, 0, 8, 0, 0], layouts.NOSE), ([0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0], layouts.MOUTH)]
    maps = np.array([probabilities for probabilities, _ in columns]).T[:, None, :]  # (11, 1, 9)
    picture = layouts.Picture("x", "x.jpg", ())
    members = [("x.jpg", encode(np.zeros((1, 9, 3)), "JPEG"))]
    members += [(f"{part}.png", encode(maps[part], "PNG")) for part in range(11)]
    _, labels = layouts.decode_helen(picture, members, 9)
    np.testing.assert_array_equal(labels[0], [label for _, label in columns])


def test_helen_decides_before_it_resizes():
    """Columns of background, skin, background, hair: resized maps would blend, resized labels do not."""
    maps = np.zeros((11, 4, 4))
    maps[1, :, 1], maps[10, :, 3], maps[0, :, ::2] = 255, 255, 255
    members = [("x.jpg", encode(np.zeros((4, 4, 3)), "JPEG"))] + [("m", encode(m, "PNG")) for m in maps]
    _, labels = layouts.decode_helen(layouts.Picture("x", "x.jpg", ()), members, 2)
    np.testing.assert_array_equal(labels, [[layouts.FACE, layouts.HAIR]] * 2)  # centres 1.0 and 3.0


@pytest.mark.parametrize("size", [3, 7, 16, 41])
def test_labels_are_sampled_at_pixel_centres_and_never_mixed(size):
    rng = np.random.default_rng(0)
    labels = rng.choice([layouts.BACKGROUND, layouts.HAIR], (15, 15))  # a mixture would be 1, FACE
    colours = np.array([B, G, R])[labels]
    got, original = layouts.decode_lfw_label("x.ppm", encode(colours, "PPM"), size)
    centres = ((np.arange(size) + 0.5) * 15 / size).astype(int)
    np.testing.assert_array_equal(got, labels[np.ix_(centres, centres)])
    assert original == (15, 15)


def test_images_are_shrunk_with_antialiasing():
    stripes = np.zeros((32, 32, 3))
    stripes[:, ::2] = 255
    small, _ = layouts.decode_image("x.png", encode(stripes, "PNG"), 8)
    assert abs(small.astype(int) - 127).max() < 12  # grey; without antialiasing 0 or 255


# ---- digests, cache ---------------------------------------------------------------------------------------

def test_second_load_decodes_nothing_and_hashes_nothing(tmp_path, monkeypatch):
    root = place(tmp_path / "root", lfw_files())
    first = data.load("lfw", 8, root)
    for module, function in ((layouts, "_picture"), (datasets, "_content")):
        monkeypatch.setattr(module, function, lambda *arguments: pytest.fail("worked again"))
    second = data.load("lfw", 8, root)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert (first.ids, first.digest) == (second.ids, second.digest)


def test_digest_is_of_content_not_of_place_or_size(tmp_path):
    one, other = place(tmp_path / "one", lfw_files(), False), place(tmp_path / "other", lfw_files(), False)
    assert data.digest("lfw", one) == data.digest("lfw", other) == data.load("lfw", 4, one).digest
    (one / "lfw/lfw_funneled/No_Label/No_Label_0001.jpg").write_bytes(b"unused files do not count")
    assert data.digest("lfw", one) == data.digest("lfw", other)
    (one / "lfw/lfw_funneled/Bo/Bo_0001.jpg").write_bytes(b"used ones do")
    assert data.digest("lfw", one) != data.digest("lfw", other)


def test_a_label_changed_under_the_same_size_and_time_has_another_digest(tmp_path):
    root = place(tmp_path / "root", lfw_files(), False)
    label = root / "lfw" / LFW_PPM
    before, status, content = data.digest("lfw", root), label.stat(), label.read_bytes()
    label.write_bytes(content[:-3] + bytes([255, 0, 0]))
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert label.stat().st_size == status.st_size and label.read_bytes() != content
    assert data.digest("lfw", root) != before


def test_half_written_cache_is_not_read(tmp_path):
    root = place(tmp_path / "root", lfw_files())
    want = np.array(data.load("lfw", 8, root).labels)
    folder, = (tmp_path / "cache").glob("lfw-8px-*/")
    for damage in (lambda: (folder / "meta.json").unlink(), lambda: os.truncate(folder / "labels.npy", 200),
                   lambda: os.truncate(folder / "images.npy", 0), lambda: (folder / "labels.npy").unlink(),
                   lambda: (folder / "meta.json").write_text('{"ids": ["Bo_0001"]}')):
        damage()
        leftover = folder.with_name(folder.name + ".partial")  # of a process that was killed
        leftover.mkdir()
        (leftover / "meta.json").write_text("{}")
        np.testing.assert_array_equal(data.load("lfw", 8, root).labels, want)
        assert not leftover.exists()


def test_failed_decoding_leaves_no_cache(tmp_path):
    files = lfw_files()
    files["lfw_funneled/Bo/Bo_0001.jpg"] = b"no jpeg"
    with pytest.raises(InputError):
        data.load("lfw", 8, place(tmp_path / "root", files))
    assert not list((tmp_path / "cache").glob("lfw-*/"))


def test_three_processes_at_once_make_one_cache(tmp_path):
    root = place(tmp_path / "root", lfw_files([f"A_{i:04d}" for i in range(60)]))
    code = ("import sys; from lib import data; from lib.data import layouts; decode = layouts._picture; count = []\n"
            "layouts._picture = lambda *a: count.append(1) or decode(*a)\n"
            "d = data.load('lfw', 32, sys.argv[1]); print(len(count), d.images.sum(), d.labels.sum())")
    running = [subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True,
                                cwd=PROJECT) for _ in range(3)]
    answers = [process.communicate()[0].split() for process in running]
    assert sorted(int(count) for count, *_ in answers) == [0, 0, 120]
    assert len({tuple(sums) for _, *sums in answers}) == 1
    assert len(list((tmp_path / "cache").glob("lfw-*/"))) == 1


@pytest.mark.parametrize("name", ["lfw", "helen"])
def test_synthetic_faces_go_through_the_same_readers(tmp_path, name):
    dataset = data.load(name, 32, "synthetic", synthetic_images=4)
    assert len(dataset.ids) == 4 and set(np.unique(dataset.labels)) == set(range({"lfw": 3, "helen": 7}[name]))
    assert not dataset.official
    assert dataset.note == f"synthetic faces stand in for {layouts.DATASETS[name].title}"
    assert dataset.source == f"synthetic faces (4, seed 0) in {name.upper()}'s layout"
    assert dataset.digest == data.digest(name, "synthetic", synthetic_images=4)
    assert dataset.digest != data.digest(name, "synthetic", synthetic_images=4, synthetic_seed=1)
    assert dataset.digest != data.digest(name, "synthetic", synthetic_images=5)
    small = data.load(name, 32, "synthetic", synthetic_images=4, synthetic_share=0.01)
    assert small.source == f"synthetic faces (4, seed 0, drawn for 1.0% of the pixels) in {name.upper()}'s layout"
    assert small.digest == data.digest(name, "synthetic", synthetic_images=4, synthetic_share=0.01) != dataset.digest


@pytest.mark.parametrize("name, pattern", [("lfw", "*.jpg"), ("lfw", "*.ppm"), ("helen", "*_lbl03.png")])
def test_synthetic_faces_of_which_files_were_removed_are_drawn_again(tmp_path, name, pattern):
    want = np.array(data.load(name, 8, "synthetic", synthetic_images=4).labels)
    folder, = (tmp_path / "cache").glob("synthetic-*/")
    min(folder.rglob(pattern)).unlink()
    np.testing.assert_array_equal(data.load(name, 16, "synthetic", synthetic_images=4).labels.shape, (4, 16, 16))
    shutil.rmtree(next((tmp_path / "cache").glob(f"{name}-8px-*/")))
    np.testing.assert_array_equal(data.load(name, 8, "synthetic", synthetic_images=4).labels, want)


def test_official_and_note(tmp_path, monkeypatch):
    root = place(tmp_path, helen_files())
    dataset = data.load("helen", 8, root)
    assert not dataset.official and dataset.source == HELEN + ".zip"
    assert dataset.note == ("HELEN's layout with 3 images, not HELEN's 2,330: "
                            "other faces, or a part of the set, stand in for it")
    three = layouts.DATASETS["helen"].__class__("HELEN", "HELEN", 3, {}, layouts.DATASETS["helen"].archives)
    monkeypatch.setitem(layouts.DATASETS, "helen", three)
    dataset = data.load("helen", 8, root)
    assert dataset.official and dataset.note == ""


def test_data_root(monkeypatch, tmp_path):
    assert cache.data_root() == PROJECT / "data"
    assert cache.data_root("some/where") == PROJECT / "some/where"
    monkeypatch.setenv("IOU_STUDY_DATA", str(tmp_path))
    assert cache.data_root() == tmp_path and cache.data_root("synthetic") == "synthetic"


# ---- splits and masks -------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, name, size, train, validation, test, scaled", [
    (2927, "lfw", "big", (0, 2342), (2342, 2634), (2635, 2927), False),  # image 2634 is in no part
    (2927, "lfw", "small", (0, 1000), (1000, 1100), (2635, 2927), False),
    (2330, "helen", "big", (0, 1864), (1864, 2097), (2097, 2330), False),
    (2330, "helen", "small", (0, 1000), (1000, 1100), (2097, 2330), False),
    (1333, "helen", "small", (0, 1000), (1000, 1100), (1100, 1333), False),
    (278, "helen", "big", (0, 222), (222, 250), (250, 278), True),
    (278, "helen", "small", (0, 119), (119, 131), (250, 278), True),
    (300, "lfw", "big", (0, 240), (240, 270), (270, 300), True),
    (300, "lfw", "small", (0, 102), (102, 112), (270, 300), True),
    (3, "lfw", "big", (0, 1), (1, 2), (2, 3), True),
])
def test_split(n, name, size, train, validation, test, scaled):
    assert data.split(n, name, size) == data.Split(slice(*train), slice(*validation), slice(*test), scaled)


def faces(ids):
    nothing = np.zeros((len(ids), 1, 1), "uint8")
    return data.Dataset("lfw", nothing, nothing, tuple(ids), "d", "test", False, "")


def test_a_random_split_draws_people_and_keeps_the_counts():
    ids = sorted(f"Person_{person:03}_{number:04}" for person in range(80) for number in range(1, 1 + person % 7))
    dataset, n = faces(ids), len(ids)
    fixed, drawn = dataset.split("big"), dataset.split("big", 1)
    assert fixed == data.split(n, "lfw", "big")
    parts = {part: getattr(drawn, part) for part in ("train", "validation", "test")}
    everyone = np.concatenate(list(parts.values()))
    assert len(set(everyone)) == len(everyone) <= n and drawn.scaled == fixed.scaled
    for part, rows in parts.items():
        assert len(rows) == len(range(n)[getattr(fixed, part)]) and (np.diff(rows) > 0).all(), part
    people = {part: set(data.people(ids)[rows]) for part, rows in parts.items()}
    shared = [people[a] & people[b] for a, b in (("train", "validation"), ("train", "test"), ("validation", "test"))]
    assert sum(map(len, shared)) <= 2
    assert (dataset.split("big", 1).test == drawn.test).all() and set(dataset.split("big", 2).test) != set(drawn.test)


def test_a_random_split_of_single_images_puts_each_into_the_test_part_as_often():
    dataset, counted = faces([f"{i:06}_1" for i in range(30)]), np.zeros(30)
    for seed in range(600):
        counted[dataset.split("big", seed).test] += 1
    assert counted.sum() == 600 * 3 and counted.min() > 30 and counted.max() < 95  # 60 each, within 4.5 deviations


@pytest.mark.parametrize("name", ["lfw", "helen"])
@pytest.mark.parametrize("size", ["big", "small"])
def test_splits_of_every_count_are_disjoint_and_not_empty(name, size):
    for n in range(3, 3000):
        parts = data.split(n, name, size)
        assert 0 == parts.train.start < parts.train.stop == parts.validation.start
        assert parts.validation.start < parts.validation.stop <= parts.test.start < parts.test.stop == n


def test_binary_masks():
    labels = np.array([[0, 1, 2]], np.uint8)
    for hair, want in ((False, [[0, 1, 0]]), (True, [[0, 1, 1]])):
        masks = data.binary_masks(labels, hair)
        assert masks.dtype == np.uint8
        np.testing.assert_array_equal(masks, want)


def test_binary_masks_of_helens_parts():
    labels = np.arange(7, dtype=np.uint8)  # background, face, hair, brows, eyes, nose, mouth
    np.testing.assert_array_equal(data.binary_masks(labels, False), [0, 1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(data.binary_masks(labels, True), [0, 1, 1, 1, 1, 1, 1])
    parts = {part: data.binary_masks(labels, False, part) for part in data.PARTS}
    assert {part: masks.tolist().index(1) for part, masks in parts.items()} == {
        "hair": 2, "brows": 3, "eyes": 4, "nose": 5, "mouth": 6}
    assert all(masks.sum() == 1 and masks.dtype == np.uint8 for masks in parts.values())


# ---- what is refused --------------------------------------------------------------------------------------

def refused(name, root, *words):
    """Loading fails with one sentence that holds all the words."""
    with pytest.raises(InputError) as error:
        data.load(name, 8, root)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_sizes_and_counts():
    for call, words in ((lambda: data.load("celeba", 8, "synthetic"), "unknown data set 'celeba'"),
                        (lambda: data.digest("celeba"), "lfw, helen"),
                        (lambda: data.split(9, "celeba", "big"), "celeba"),
                        (lambda: data.split(9, "lfw", "medium"), "unknown split size 'medium'"),
                        (lambda: data.split(2, "lfw", "big"), "2 images"),
                        (lambda: data.load("lfw", 0, "synthetic"), "image_size 0"),
                        (lambda: data.load("lfw", "96", "synthetic"), "image_size '96'")):
        with pytest.raises(InputError, match=words):
            call()


def test_missing_root_archive_and_cache(tmp_path, monkeypatch):
    refused("lfw", tmp_path / "none", "none", "python -m lib.data fetch lfw", "--data synthetic")
    place(tmp_path / "root", {k: v for k, v in lfw_files().items() if k.startswith("lfw_funneled")})
    refused("lfw", tmp_path / "root", "parts_lfw_funneled_gt_images.tgz", "python -m lib.data fetch lfw")
    (tmp_path / "file").touch()
    monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / "file/cache"))
    refused("lfw", place(tmp_path / "whole", lfw_files()), "cache", "IOU_STUDY_CACHE")


def test_full_disk_is_refused_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    refused("lfw", place(tmp_path / "root", lfw_files()), "1,000 bytes free", "needs 1,024")


LFW_JPG, LFW_PPM = "lfw_funneled/Bo/Bo_0001.jpg", "parts_lfw_funneled_gt_images/Bo_0001.ppm"
HELEN_JPG, HELEN_PNG = f"{HELEN}/images/23_1.jpg", f"{HELEN}/labels/23_1/23_1_lbl04.png"


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
@pytest.mark.parametrize("file", [LFW_JPG, LFW_PPM, HELEN_JPG, HELEN_PNG])
@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"text",
                                    lambda b: b[:20]], ids=["half", "empty", "text", "header"])
def test_corrupt_picture_is_named(tmp_path, file, damage, packed):
    name, files = ("helen", helen_files()) if file.startswith(HELEN) else ("lfw", lfw_files())
    files[file] = damage(files[file])
    refused(name, place(tmp_path, files, packed), file.split("/")[-1], "truncated or corrupt")


def test_label_of_another_size(tmp_path):
    files = lfw_files() | {LFW_PPM: encode(quarters(R, G, B, G, 18), "PPM")}
    refused("lfw", place(tmp_path / "a", files), "Bo_0001.ppm", "18 x 18", "Bo_0001.jpg", "16 x 16")
    files = helen_files() | {HELEN_PNG: encode(np.zeros((16, 20)), "PNG")}
    refused("helen", place(tmp_path / "b", files), "23_1_lbl04.png", "20 x 16", "23_1.jpg", "24 x 16")


def test_unknown_colour_names_file_colour_and_place(tmp_path):
    colours = quarters(R, G, B, G)
    colours[3, 5] = (255, 254, 0)
    files = lfw_files() | {LFW_PPM: encode(colours, "PPM")}
    refused("lfw", place(tmp_path, files), "Bo_0001.ppm", "(255, 254, 0)", "row 3, column 5")


def test_probability_map_of_16_bits(tmp_path):
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 24), np.uint16)).save(file, "PNG")
    files = helen_files() | {HELEN_PNG: file.getvalue()}
    refused("helen", place(tmp_path, files), "23_1_lbl04.png", "8 bits")


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_missing_partners(tmp_path, packed):
    for number, (name, make, gone, words) in enumerate([
            ("lfw", lfw_files, LFW_JPG, ("Bo_0001.jpg", "Bo_0001.ppm", "missing")),
            ("helen", helen_files, HELEN_JPG, ("images/23_1.jpg", "missing")),
            ("helen", helen_files, HELEN_PNG, ("23_1_lbl04.png", "missing"))]):
        files = make()
        del files[gone]
        refused(name, place(tmp_path / str(number), files, packed), *words)


def test_no_labels_at_all(tmp_path):
    files = {name: content for name, content in lfw_files().items() if not name.endswith(".ppm")}
    files["parts_lfw_funneled_gt_images/readme"] = b""
    refused("lfw", place(tmp_path / "a", files), "no part label")
    refused("helen", place(tmp_path / "b", {f"{HELEN}/exemplars.txt": b"\n"}), "no image")


def test_list_cannot_lead_out_of_the_folder(tmp_path):
    files = helen_files() | {f"{HELEN}/tuning.txt": b"1 , ../../secret\n"}
    refused("helen", place(tmp_path, files, packed=False), "secret", "missing")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name, file", [("lfw", "lfw-funneled.tgz"), ("helen", HELEN + ".zip"),
                                        ("lfw", "parts_lfw_funneled_gt_images.tgz")])
def test_truncated_archive_is_named(tmp_path, name, file, share):
    path = place(tmp_path, lfw_files() | helen_files()) / name / file
    os.truncate(path, int(path.stat().st_size * share))
    refused(name, tmp_path, file, "truncated or corrupt")


def test_zip_member_with_a_wrong_checksum_is_named(tmp_path):
    path = place(tmp_path, helen_files()) / "helen" / f"{HELEN}.zip"
    content = path.read_bytes()
    jpeg = helen_files()[HELEN_JPG]
    path.write_bytes(content.replace(jpeg, jpeg[:-10] + bytes(10)))
    refused("helen", tmp_path, f"{HELEN}.zip", "images/23_1.jpg", "CRC")


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_tar_members_that_are_not_plain_files_are_never_followed(tmp_path):
    files = lfw_files()
    images = {name: content for name, content in files.items() if name.startswith("lfw_funneled")}
    place(tmp_path / "root", files)
    secret = tmp_path / "Eve_0001.jpg"
    secret.write_bytes(images[LFW_JPG])
    evil = [member("lfw_funneled/Eve/Eve_0001.jpg", tarfile.SYMTYPE, str(secret)),
            member("lfw_funneled/Eve/Eve_0002.jpg", tarfile.LNKTYPE, LFW_JPG),
            member("lfw_funneled/Eve/Eve_0003.jpg", tarfile.CHRTYPE),
            member("lfw_funneled/Eve/Eve_0004.jpg", tarfile.FIFOTYPE),
            member("lfw_funneled/../../Eve_0005.jpg", tarfile.REGTYPE),
            member("/Eve_0006.jpg", tarfile.REGTYPE),
            member("lfw_funneled/Eve/._Eve_0007.jpg", tarfile.REGTYPE)]
    tgz(tmp_path / "root/lfw/lfw-funneled.tgz", images, evil)
    container = archives.Container(tmp_path / "root/lfw/lfw-funneled.tgz", "lfw_funneled")
    assert not [name for name in container.names() if "Eve" in name]
    assert data.load("lfw", 16, tmp_path / "root").ids == LFW_IDS
    tgz(tmp_path / "root/lfw/parts_lfw_funneled_gt_images.tgz",
        {f"parts_lfw_funneled_gt_images/Eve_000{i}.ppm": files[LFW_PPM] for i in range(1, 7)})
    refused("lfw", tmp_path / "root", "Eve_0001.jpg", "missing")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum
    bomb = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))
    files = helen_files() | {HELEN_PNG: bomb}
    refused("helen", place(tmp_path / "a", files), "23_1_lbl04.png", "8000 x 8000")
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    for name, packed in (("lfw", True), ("helen", True), ("lfw", False)):
        files = lfw_files(side=40) | helen_files(height=400, width=400)
        refused(name, place(tmp_path / f"{name}{packed}", files, packed), "bytes, more than the 1,000")


def test_an_archive_of_very_many_files_is_refused(tmp_path, monkeypatch):
    root = place(tmp_path, lfw_files())
    monkeypatch.setattr(archives, "MAX_FILES", 4)
    refused("lfw", root, "lfw-funneled.tgz", "bytes or 4 files")


# ---- command line and downloads ---------------------------------------------------------------------------

def test_info_and_errors_on_the_command_line(tmp_path, capsys):
    root = str(place(tmp_path, lfw_files()))
    assert main(["info", "lfw", "--data", root, "--image-size", "16"]) == 0
    out = capsys.readouterr().out
    for words in ("4 images from lfw-funneled.tgz", "face 50.0%, hair 25.0%, both 75.0%", "not LFW's 2,927",
                  "split big: 2 training, 1 validation, 1 test images (scaled down)"):
        assert words in out
    assert main(["info", "helen", "--data", root]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "python -m lib.data fetch helen" in captured.err


@pytest.fixture
def server(tmp_path):
    """(address, folder, paths asked for) of a web server on this machine."""
    asked, folder = [], tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/", folder, asked
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def serve_lfw(folder: Path, monkeypatch) -> None:
    """Put tiny LFW archives on the server and let lib.data.fetch expect their checksums."""
    source = place(folder.parent / "source", lfw_files()) / "lfw"
    remotes = []
    for remote in fetch.REMOTES["lfw"]:
        content = (source / remote.file).read_bytes()
        (folder / remote.file).write_bytes(content)
        kind = remote.checksum.split(":")[0]
        checksum = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
        remotes.append(fetch.Remote(remote.file, checksum, remote.urls))
    monkeypatch.setitem(fetch.REMOTES, "lfw", tuple(remotes))


def test_fetch_then_load_and_nothing_is_downloaded_twice(tmp_path, server, monkeypatch, capsys):
    address, folder, asked = server
    serve_lfw(folder, monkeypatch)
    assert main(["fetch", "lfw", "--data", str(tmp_path / "root"), "--url", address]) == 0
    assert data.load("lfw", 16, tmp_path / "root").ids == LFW_IDS
    assert len(asked) == 2
    paths = fetch.fetch("lfw", tmp_path / "root", [address])
    assert [path.parent for path in paths] == [tmp_path / "root/lfw"] * 2
    assert len(asked) == 2 and str(tmp_path / "root/lfw/lfw-funneled.tgz") in capsys.readouterr().out


def test_fetch_tries_the_second_address(tmp_path, server, monkeypatch):
    address, folder, asked = server
    serve_lfw(folder, monkeypatch)
    (folder / "bad").mkdir()
    (folder / "bad/lfw-funneled.tgz").write_bytes(b"other content")
    monkeypatch.setenv("IOU_STUDY_URLS", f"{address}bad/ {address}nowhere/ {address}")
    assert all(path.exists() for path in fetch.fetch("lfw", tmp_path / "root"))
    assert "/bad/lfw-funneled.tgz" in asked and "/nowhere/lfw-funneled.tgz" in " ".join(asked)


def test_wrong_checksum_leaves_nothing(tmp_path, server):
    address, folder, _ = server
    (folder / "lfw-funneled.tgz").write_bytes(b"not the published bytes")
    with pytest.raises(InputError, match="wrong checksum, not sha256:b47c8422"):
        fetch.fetch("lfw", tmp_path / "root", [address])
    assert not (tmp_path / "root").exists()


def test_network_failure_lists_the_addresses(tmp_path, server, monkeypatch, capsys):
    address, _, _ = server
    closed = "http://127.0.0.1:9/"  # nothing listens there
    root = str(tmp_path / "root")
    assert main(["fetch", "helen", "--data", root, "--url", address, closed]) == 2
    error = capsys.readouterr().err
    assert f"{address}{HELEN}.zip (HTTP status 404)" in error
    assert f"{closed}{HELEN}.zip (ConnectionError)" in error
    assert "--url" in error and error.count("\n") == 1


def test_without_a_published_checksum_the_first_copy_is_recorded(tmp_path, server, capsys):
    address, folder, _ = server
    root, path = tmp_path / "root", tmp_path / f"root/helen/{HELEN}.zip"
    (folder / f"{HELEN}.zip").write_bytes(b"<html>sorry, moved</html>")
    with pytest.raises(InputError, match="not a .zip file"):
        fetch.fetch("helen", root, [address])
    assert not path.exists()
    place(folder.parent / "source", helen_files())
    content = (folder.parent / f"source/helen/{HELEN}.zip").read_bytes()
    (folder / f"{HELEN}.zip").write_bytes(content)
    assert fetch.fetch("helen", root, [address]) == [path]
    digest = hashlib.sha256(content).hexdigest()
    assert digest in (told := capsys.readouterr().out) and "No checksum is published" in told
    assert path.with_name(path.name + ".sha256").read_text() == f"{digest}  {path.name}\n"
    fetch.fetch("helen", root, [address])
    assert capsys.readouterr().out == ""
    record = path.with_name(path.name + ".sha256")
    record.write_text(digest[:20])  # half-written: recorded anew
    fetch.fetch("helen", root, [address])
    assert record.read_text() == f"{digest}  {path.name}\n"
    path.write_bytes(content + b"x")
    with pytest.raises(InputError, match="its checksum is not"):
        fetch.fetch("helen", root, [address])
    path.unlink()
    (folder / f"{HELEN}.zip").write_bytes(content + b"x")
    with pytest.raises(InputError, match="wrong checksum"):
        fetch.fetch("helen", root, [address])


@pytest.mark.parametrize("error, status, words", [
    (PermissionError(13, "Permission denied", "/closed/lfw"), 2, "/closed/lfw: Permission denied; use another path"),
    (KeyboardInterrupt(), 130, "stopped; the same command begins again"),
])
def test_a_command_that_is_stopped_says_so(error, status, words, monkeypatch, capsys):
    def stopped(*_):
        raise error
    monkeypatch.setattr(fetch, "fetch", stopped)
    assert main(["fetch", "lfw"]) == status
    assert words in capsys.readouterr().err


def test_addresses_that_fit_nothing(tmp_path):
    with pytest.raises(InputError, match="fits no archive"):
        fetch.fetch("lfw", tmp_path, ["http://127.0.0.1:9/other.tgz"])
    with pytest.raises(InputError, match="need no download"):
        fetch.fetch("lfw", "synthetic")
    with pytest.raises(InputError, match="unknown data set"):
        fetch.fetch("celeba", tmp_path)
