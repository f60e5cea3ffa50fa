"""lib/data/layouts.py: how pictures and labels are decoded, and which are refused."""

import io

import numpy as np
import pytest
from official_files import (
    HELEN,
    HELEN_JPG,
    HELEN_PNG,
    LFW_JPG,
    LFW_PPM,
    B,
    G,
    R,
    encode,
    helen_files,
    lfw_files,
    place,
    quarters,
    refused,
)
from PIL import Image

from lib import data
from lib.data import layouts


def test_helen_without_lists_uses_the_image_folder(tmp_path):
    files = {name: content for name, content in helen_files().items() if not name.endswith(".txt")}
    assert data.load("helen", 8, place(tmp_path, files)).ids == ("100_1", "23_1", "7_1")


def test_helen_label_is_the_largest_map_and_the_lowest_index_of_equals():
    columns = [  # (probabilities of parts 0 ... 10, label)
        ([9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9], layouts.BACKGROUND),
        ([8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 9], layouts.FACE),
        ([8, 0, 0, 0, 0, 0, 0, 0, 0, 8, 9], layouts.HAIR),
        ([0] * 11, layouts.BACKGROUND),
        ([5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 5], layouts.EYES),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2], layouts.MOUTH),
        ([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], layouts.BROWS),
        ([0, 0, 0, 0, 0, 0, 9, 0, 8, 0, 0], layouts.NOSE),
        ([0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0], layouts.MOUTH),
    ]
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


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
@pytest.mark.parametrize("file", [LFW_JPG, LFW_PPM, HELEN_JPG, HELEN_PNG])
@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"text", lambda b: b[:20]],
    ids=["half", "empty", "text", "header"],
)
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
    for number, (name, make, gone, words) in enumerate(
        [
            ("lfw", lfw_files, LFW_JPG, ("Bo_0001.jpg", "Bo_0001.ppm", "missing")),
            ("helen", helen_files, HELEN_JPG, ("images/23_1.jpg", "missing")),
            ("helen", helen_files, HELEN_PNG, ("23_1_lbl04.png", "missing")),
        ]
    ):
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
