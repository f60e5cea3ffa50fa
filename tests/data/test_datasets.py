"""lib/data/datasets.py on tiny archives and folders in the official layouts: arrays, digests, splits and masks."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from official_files import HELEN, LFW_IDS, LFW_PPM, helen_files, lfw_files, place
from PIL import Image

from lib import InputError, data
from lib.data import datasets, layouts

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
    one, other = (data.load(name, 12, place(tmp_path / str(packed), make(), packed)) for packed in (True, False))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.ids == other.ids and one.digest != other.digest


# ---- digests ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name, make", [("lfw", lfw_files), ("helen", helen_files)])
def test_the_digest_of_official_files_is_that_of_their_names_and_bytes(tmp_path, name, make):
    """As it is in the records of published studies: what was added for one's own files does not count."""
    root, files = place(tmp_path / "root", make(), False), make()
    if name == "lfw":
        pairs = [(f"lfw_funneled/{id[:-5]}/{id}.jpg", f"parts_lfw_funneled_gt_images/{id}.ppm") for id in LFW_IDS]
        used = [[pair[index] for pair in pairs] for index in (0, 1)]
    else:
        ids = ("100_1", "23_1", "7_1")
        images = [f"{HELEN}/images/{id}.jpg" for id in ids]
        used = [images + [f"{HELEN}/labels/{id}/{id}_lbl{part:02d}.png" for id in ids for part in range(11)]]
    content = [[(file.partition("/")[2], datasets._sha256(files[file])) for file in part] for part in used]
    assert data.digest(name, root) == datasets._sha256(json.dumps([2, name, content]).encode())
    packed = place(tmp_path / "packed", make())
    content = [
        datasets._sha256((packed / name / archive).read_bytes()) for archive, _ in layouts.DATASETS[name].archives
    ]
    assert data.digest(name, packed) == datasets._sha256(json.dumps([2, name, content]).encode())


def test_a_label_changed_under_the_same_size_and_time_has_another_digest(tmp_path):
    root = place(tmp_path / "root", lfw_files(), False)
    label = root / "lfw" / LFW_PPM
    before, status, content = data.digest("lfw", root), label.stat(), label.read_bytes()
    label.write_bytes(content[:-3] + bytes([255, 0, 0]))
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert label.stat().st_size == status.st_size and label.read_bytes() != content
    assert data.digest("lfw", root) != before


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
    (folder,) = (tmp_path / "cache").glob("synthetic-*/")
    min(folder.rglob(pattern)).unlink()
    np.testing.assert_array_equal(data.load(name, 16, "synthetic", synthetic_images=4).labels.shape, (4, 16, 16))
    shutil.rmtree(next((tmp_path / "cache").glob(f"{name}-8px-*/")))
    np.testing.assert_array_equal(data.load(name, 8, "synthetic", synthetic_images=4).labels, want)


def test_official_and_note(tmp_path, monkeypatch):
    root = place(tmp_path, helen_files())
    dataset = data.load("helen", 8, root)
    assert not dataset.official and dataset.source == HELEN + ".zip"
    assert dataset.note == (
        "HELEN's layout with 3 images, not HELEN's 2,330: other faces, or a part of the set, stand in for it"
    )
    three = layouts.DATASETS["helen"].__class__("HELEN", "HELEN", 3, {}, layouts.DATASETS["helen"].archives)
    monkeypatch.setitem(layouts.DATASETS, "helen", three)
    dataset = data.load("helen", 8, root)
    assert dataset.official and dataset.note == ""


# ---- splits and masks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, name, size, train, validation, test, scaled",
    [
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
    ],
)
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
        "hair": 2,
        "brows": 3,
        "eyes": 4,
        "nose": 5,
        "mouth": 6,
    }
    assert all(masks.sum() == 1 and masks.dtype == np.uint8 for masks in parts.values())


# ---- what is refused --------------------------------------------------------------------------------------


def test_unknown_names_sizes_and_counts():
    for call, words in (
        (lambda: data.load("celeba", 8, "synthetic"), "unknown data set 'celeba'"),
        (lambda: data.digest("celeba"), "lfw, helen"),
        (lambda: data.split(9, "celeba", "big"), "celeba"),
        (lambda: data.split(9, "lfw", "medium"), "unknown split size 'medium'"),
        (lambda: data.split(2, "lfw", "big"), "2 images"),
        (lambda: data.load("lfw", 0, "synthetic"), "image_size 0"),
        (lambda: data.load("lfw", "96", "synthetic"), "image_size '96'"),
    ):
        with pytest.raises(InputError, match=words):
            call()
