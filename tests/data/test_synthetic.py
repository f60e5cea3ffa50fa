"""Synthetic faces: official layouts, reproducible bytes, labels that fit the image, no easy way out."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import InputError
from lib.data.drawing.person import PARTS
from lib.data.synthetic import FORMAT, NATURAL_SHARE, draw_face, write_helen, write_lfw


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """60 images (60, 96, 96, 3) and their parts (60, 96, 96)."""
    drawn = [draw_face(np.random.default_rng([7, i]), size=96) for i in range(60)]
    return np.stack([image for image, _ in drawn]), np.stack([parts for _, parts in drawn])


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def mean_iou(truth: np.ndarray, guess: np.ndarray) -> float:
    return float(((truth & guess).sum((1, 2)) / np.maximum((truth | guess).sum((1, 2)), 1)).mean())


@pytest.mark.parametrize("size", [32, 250])
def test_draw_face_shapes_dtypes_and_values(size):
    image, parts = draw_face(np.random.default_rng(0), size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert parts.shape == (size, size) and parts.dtype == np.uint8
    assert parts.max() < len(PARTS) == 11


def test_same_generator_same_face():
    once, again = (draw_face(np.random.default_rng(3), 64) for _ in range(2))
    for first, second in zip(once, again):
        np.testing.assert_array_equal(first, second)


def test_every_part_occurs_and_shares_are_those_of_photographs(faces):
    _, parts = faces
    share = np.bincount(parts.ravel(), minlength=11) / parts.size
    assert (share > 0).all()
    assert 0.15 < share[1:10].sum() < 0.27  # LFW: 0.216
    assert 0.06 < share[10] < 0.18  # LFW: 0.098


def test_left_parts_lie_left_of_right_parts(faces):
    """In the image, as the viewer sees it; the in-plane rotation is far below a right angle."""
    for parts in faces[1]:
        for left, right in ((2, 3), (4, 5)):
            if (parts == left).any() and (parts == right).any():
                assert np.nonzero(parts == left)[1].mean() < np.nonzero(parts == right)[1].mean()


def test_image_changes_at_the_border_of_the_label(faces):
    """Image and label share their geometry: grey levels step across the face's outline."""
    images, parts = faces
    step = np.abs(np.diff(images.astype(float).mean(axis=-1), axis=2))
    border = np.diff(((parts > 0) & (parts < 10)).astype(int), axis=2) != 0
    assert step[border].mean() > 3 * step[~border].mean()


def test_neither_place_nor_colour_gives_the_face_away(faces):
    images, parts = faces
    face = (parts > 0) & (parts < 10)
    train, test = slice(0, 40), slice(40, 60)
    constant = face[train].mean(axis=0)
    assert max(mean_iou(face[test], constant[None] >= level) for level in (0.3, 0.4, 0.5)) < 0.62
    code = (images // 32).astype(int) @ (64, 8, 1)  # 512 colours
    hits = np.bincount(code[train][face[train]], minlength=512)
    hits = hits / np.maximum(np.bincount(code[train].ravel(), minlength=512), 1)
    assert max(mean_iou(face[test], hits[code[test]] >= level) for level in (0.3, 0.4, 0.5)) < 0.6


def test_lfw_layout(tmp_path):
    root = write_lfw(tmp_path, 6)
    assert root == tmp_path / "lfw"
    images = sorted((root / "lfw_funneled").glob("*/*.jpg"))
    labels = sorted((root / "parts_lfw_funneled_gt_images").glob("*.ppm"))
    assert [path.stem for path in images] == [path.stem for path in labels] and len(images) == 6
    for image, label in zip(images, labels):
        assert image.parent.name == image.stem[:-5] and image.stem[-4:].isdigit()
        assert Image.open(image).size == Image.open(label).size == (250, 250)
        assert label.read_bytes()[:2] == b"P6"
        pixels = np.array(Image.open(label)).reshape(-1, 3)
        colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
        assert colours <= {(255, 0, 0), (0, 255, 0), (0, 0, 255)} and (0, 255, 0) in colours


def test_helen_layout(tmp_path):
    top = write_helen(tmp_path, 5) / "SmithCVPR2013_dataset_resized"
    images = sorted((top / "images").glob("*.jpg"))
    assert len(images) == 5
    for image in images:
        folder = top / "labels" / image.stem
        maps = [Image.open(folder / f"{image.stem}_lbl{part:02d}.png") for part in range(11)]
        assert {(label.size, label.mode) for label in maps} == {(Image.open(image).size, "L")}
        total = np.sum([np.asarray(label, int) for label in maps], axis=0)
        assert np.abs(total - 255).max() <= 6  # probabilities, but for rounding
        soft = np.asarray(maps[0])
        assert ((soft > 0) & (soft < 255)).any()
    listed = [
        line.split(" , ")
        for name in ("exemplars", "tuning", "testing")
        for line in (top / f"{name}.txt").read_text().splitlines()
    ]
    assert [int(number) for number, _ in listed] == [1, 2, 3, 4, 5]
    assert [stem for _, stem in listed] == [image.stem for image in images]


@pytest.mark.parametrize("write", [write_lfw, write_helen])
@pytest.mark.parametrize("archive", [False, True])
def test_same_seed_same_bytes(tmp_path, write, archive):
    first, second, other = (
        contents(write(tmp_path / name, 2, seed, archive=archive)) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("write", [write_lfw, write_helen])
def test_more_images_begin_with_the_same_ones(tmp_path, write):
    few, more = contents(write(tmp_path / "few", 2)), contents(write(tmp_path / "more", 4))
    assert all(more[name] == content for name, content in few.items() if not name.endswith(".txt"))


def test_archives_hold_the_same_files_as_the_folders(tmp_path):
    lfw, packed = write_lfw(tmp_path / "a", 2), write_lfw(tmp_path / "b", 2, archive=True)
    names = sorted(path.name for path in packed.iterdir())
    assert names == ["lfw-funneled.tgz", "parts_lfw_funneled_gt_images.tgz"]
    unpacked = {}
    for path in packed.iterdir():
        with tarfile.open(path) as tar:
            assert {entry.mtime for entry in tar} == {0}
            unpacked |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    assert unpacked == contents(lfw)
    helen, packed = write_helen(tmp_path / "a", 1), write_helen(tmp_path / "b", 1, archive=True)
    with zipfile.ZipFile(packed / "SmithCVPR2013_dataset_resized.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(helen)


@pytest.mark.parametrize("write", [write_lfw, write_helen])
def test_refuses_no_images_and_a_folder_in_use(tmp_path, write):
    with pytest.raises(InputError, match="n is 0"):
        write(tmp_path, 0)
    write(tmp_path, 1)
    with pytest.raises(InputError, match="already holds files"):
        write(tmp_path, 1)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lib.data.synthetic._draw", fail)
    with pytest.raises(KeyboardInterrupt):
        write_lfw(tmp_path, 1)
    assert not list(tmp_path.iterdir())


def test_refuses_a_tiny_face():
    with pytest.raises(InputError, match="size is 31"):
        draw_face(np.random.default_rng(0), 31)


@pytest.mark.parametrize("share", [0.3, 0.03, 0.003])
def test_faces_take_the_share_of_the_pixels_that_is_asked_for(share):
    shares = [
        ((parts > 0) & (parts < 10)).mean()  # all of `PARTS` but background and hair
        for _, parts in (draw_face(np.random.default_rng(i), 96, share) for i in range(40))
    ]
    assert np.mean(shares) == pytest.approx(share, rel=0.2)


def test_the_natural_share_draws_the_faces_as_they_are():
    natural, same = (draw_face(np.random.default_rng(1), 64, share) for share in (0.0, NATURAL_SHARE))
    for one, other in zip(natural, same):
        np.testing.assert_array_equal(one, other)


def test_faces_are_drawn_as_their_format_says():
    """If faces are drawn otherwise on purpose: raise `synthetic.FORMAT`, and put the new digest here."""
    drawn = hashlib.sha256()
    for seed, share in ((0, 0.0), (1, 0.0), (2, 0.05)):
        for array in draw_face(np.random.default_rng(seed), 64, share):
            drawn.update(array.tobytes())
    assert (FORMAT, drawn.hexdigest()) == (1, "a04c074ef4556ad5e9cb5d59599a47a3aee25637981987c4b1fffbcf065f54cc")
