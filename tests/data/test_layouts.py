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


# ---- one's own files in these layouts ---------------------------------------------------------------------


def own(person: str, number: int, left, right, ending=(".jpg", ".ppm"), flat=False) -> dict[str, bytes]:
    """An image and its label, each of two colours, left and right."""
    image, label = (np.zeros((16, 16, 3)) for _ in range(2))
    image[:, :8], image[:, 8:], label[:, :8], label[:, 8:] = 30 * number, 30 * number + 40, left, right
    folder = "" if flat else f"{person}/"
    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".ppm": "PPM"}
    return {
        f"lfw_funneled/{person}/{number:03}{ending[0]}": encode(image, kinds[ending[0].lower()]),
        f"parts_lfw_funneled_gt_images/{folder}{number:03}{ending[1]}": encode(label, kinds[ending[1].lower()]),
    }


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_the_same_names_in_several_folders_are_paired_by_folder(tmp_path, packed):
    files = own("Ann", 1, R, R) | own("Bo", 1, G, G) | own("Bo", 2, B, G) | own("Cy", 1, B, B)
    dataset = data.load("lfw", 16, place(tmp_path, files, packed))
    assert dataset.ids == ("002", "Ann/001", "Bo/001", "Cy/001")
    want = [[layouts.BACKGROUND, layouts.FACE]] + [[label] * 2 for label in (layouts.HAIR, layouts.FACE, 0)]
    np.testing.assert_array_equal(dataset.labels[:, 0, ::15], want)


@pytest.mark.parametrize(
    "gone, words",
    [
        ("lfw_funneled/Bo/001.jpg", ("Bo/001.jpg", "Bo/001.ppm", "missing")),
        ("parts_lfw_funneled_gt_images/Bo/001.ppm", ()),
    ],
)
def test_a_label_never_goes_to_the_picture_of_another_folder(tmp_path, gone, words):
    files = own("Ann", 1, R, R) | own("Bo", 1, G, G) | own("Bo", 2, G, G)
    del files[gone]
    if words:
        return refused("lfw", place(tmp_path, files, False), *words)
    assert data.load("lfw", 16, place(tmp_path, files, False)).ids == ("002", "Ann/001")


def test_a_flat_label_of_a_name_that_two_images_have_is_refused_naming_both(tmp_path):
    files = own("Ann", 1, R, R, flat=True) | own("Bo", 1, G, G, flat=True) | own("Bo", 2, G, G, flat=True)
    refused("lfw", place(tmp_path, files), "Ann/001 and Bo/001", "001.ppm", "sort the labels")


def turned(array: np.ndarray, orientation: int, kind="JPEG") -> bytes:
    """A picture that its EXIF data turn into `array`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(np.asarray(array, np.uint8)).transpose(layouts.UPRIGHT[back])
    file = io.BytesIO()
    stored.save(file, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


CORNERS = np.kron(np.arange(6).reshape(2, 3)[..., None] * [40, 40, 40], np.ones((8, 8, 1)))  # no two alike; 24 x 16


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_is_turned_upright_as_its_camera_says(tmp_path, orientation):
    got, size = layouts.decode_image("x.jpg", turned(CORNERS, orientation), 24)
    want, _ = layouts.decode_image("x.png", encode(CORNERS, "PNG"), 24)
    assert size == (24, 16) and abs(got.astype(int) - want).max() < 20
    png, _ = layouts.decode_image("x.png", turned(CORNERS, orientation, "PNG"), 24)
    np.testing.assert_array_equal(png, want)
    name, black = "lfw_funneled/Bo/Bo_0001.jpg", np.zeros((16, 16, 3))
    files = lfw_files() | {name: turned(black, orientation)}
    root = place(tmp_path, files, False)
    digest = data.digest("lfw", root)
    with pytest.MonkeyPatch.context() as patch:  # as if the picture were read as stored
        patch.setattr(layouts, "UPRIGHT", {})
        patch.setenv("IOU_STUDY_CACHE", str(tmp_path / "other"))
        assert data.digest("lfw", root) != digest
        packed = data.digest("lfw", place(tmp_path / "packed", files))
    assert data.digest("lfw", tmp_path / "packed") != packed


def test_a_picture_whose_label_was_drawn_on_it_as_stored_is_read_as_stored():
    content = turned(CORNERS, 6)  # stored 16 x 24
    stored, size = layouts.decode_image("x.jpg", content, 24, (16, 24))
    assert size == (16, 24)
    upright, size = layouts.decode_image("x.jpg", content, 24, (24, 16))
    assert size == (24, 16) and (stored != upright).any()
    for height, width in ((16, 24), (24, 16)):
        members = [("x.jpg", content)] + [("m.png", encode(np.zeros((height, width)), "PNG"))] * 11
        image, _ = layouts.decode_helen(layouts.Picture("x", "x.jpg", ()), members, 24)
        np.testing.assert_array_equal(image, upright if height == 16 else stored)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0", b"Exif\0\0" + bytes(40), b"nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_broken_exif_data_leave_the_picture_as_it_is(exif):
    got, _ = layouts.decode_image("x.jpg", encode(CORNERS, "JPEG", exif=exif), 16)
    want, _ = layouts.decode_image("x.jpg", encode(CORNERS, "JPEG"), 16)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "folder"])
def test_pictures_with_other_endings_are_all_read_and_what_is_passed_over_is_said(tmp_path, packed):
    files = {}
    for number, ending in enumerate([(".jpg", ".ppm"), (".JPG", ".PPM"), (".jpeg", ".png"), (".PNG", ".png")]):
        files |= own("Ann", number, R, G, ending)
    more = {"lfw_funneled/Ann/9.bmp": b"BM", "parts_lfw_funneled_gt_images/view.png": b"", "lfw_funneled/a.txt": b""}
    root = place(tmp_path / "root", files | more, packed)
    for _ in range(2):  # decoded, and from the cache
        dataset = data.load("lfw", 16, root)
        assert dataset.ids == ("000", "001", "002", "003")
        images, labels = dataset.source.split(" + ")
        said = f"passed over: 2 of 6 files in {images} (Ann/9.bmp, a.txt) and 1 of 5 files in {labels} (view.png)"
        assert dataset.note.endswith(said)
    assert "passed over" not in data.load("lfw", 16, place(tmp_path / "without", files, packed)).note


def test_two_pictures_of_one_name_are_refused_unless_one_is_the_official(tmp_path):
    files = own("Ann", 1, R, G) | own("Ann", 2, R, G) | own("Ann", 3, R, G)
    extra = own("Ann", 1, B, B, (".png", ".png"))
    one, other = (
        data.load("lfw", 16, place(tmp_path / name, has)) for name, has in (("a", files), ("b", files | extra))
    )
    np.testing.assert_array_equal(one.labels, other.labels)
    files = {name.replace(".jpg", ".JPG"): content for name, content in files.items()} | extra
    refused("lfw", place(tmp_path / "c", files), "Ann/001.JPG", "Ann/001.png", "remove one")
