"""lib/data/archives.py: archives and folders alike; damaged, hostile and huge ones are refused."""

import os
import struct
import tarfile
import zlib

import numpy as np
import pytest
from official_files import (
    HELEN,
    HELEN_JPG,
    HELEN_PNG,
    LFW_IDS,
    LFW_JPG,
    LFW_PPM,
    helen_files,
    lfw_files,
    place,
    refused,
    tgz,
)

from lib import data
from lib.data import archives, layouts


def test_one_archive_and_one_folder_directly_below_the_root(tmp_path):
    place(tmp_path / "a", lfw_files(), packed=True)
    place(tmp_path / "a", lfw_files(), packed=False)
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "a/lfw/lfw_funneled").rename(root / "lfw_funneled")
    (tmp_path / "a/lfw/parts_lfw_funneled_gt_images.tgz").rename(root / "parts_lfw_funneled_gt_images.tgz")
    dataset = data.load("lfw", 16, root)
    assert dataset.ids == LFW_IDS and dataset.source == "lfw_funneled + parts_lfw_funneled_gt_images.tgz"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(
    "name, file", [("lfw", "lfw-funneled.tgz"), ("helen", HELEN + ".zip"), ("lfw", "parts_lfw_funneled_gt_images.tgz")]
)
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
    evil = [
        member("lfw_funneled/Eve/Eve_0001.jpg", tarfile.SYMTYPE, str(secret)),
        member("lfw_funneled/Eve/Eve_0002.jpg", tarfile.LNKTYPE, LFW_JPG),
        member("lfw_funneled/Eve/Eve_0003.jpg", tarfile.CHRTYPE),
        member("lfw_funneled/Eve/Eve_0004.jpg", tarfile.FIFOTYPE),
        member("lfw_funneled/../../Eve_0005.jpg", tarfile.REGTYPE),
        member("/Eve_0006.jpg", tarfile.REGTYPE),
        member("lfw_funneled/Eve/._Eve_0007.jpg", tarfile.REGTYPE),
    ]
    tgz(tmp_path / "root/lfw/lfw-funneled.tgz", images, evil)
    container = archives.Container(tmp_path / "root/lfw/lfw-funneled.tgz", "lfw_funneled")
    assert not [name for name in container.names() if "Eve" in name]
    assert data.load("lfw", 16, tmp_path / "root").ids == LFW_IDS
    tgz(
        tmp_path / "root/lfw/parts_lfw_funneled_gt_images.tgz",
        {f"parts_lfw_funneled_gt_images/Eve_000{i}.ppm": files[LFW_PPM] for i in range(1, 7)},
    )
    refused("lfw", tmp_path / "root", "Eve_0001.jpg", "missing")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )
    files = helen_files() | {HELEN_PNG: bomb}
    refused("helen", place(tmp_path / "a", files), "23_1_lbl04.png", "8000 x 8000")
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    for name, packed in (("lfw", True), ("helen", True), ("lfw", False)):
        files = lfw_files(side=40) | helen_files(height=400, width=400)
        refused(name, place(tmp_path / f"{name}{packed}", files, packed), "bytes, the limit is 1,000")


def test_an_archive_of_very_many_files_is_refused(tmp_path, monkeypatch):
    root = place(tmp_path, lfw_files())
    monkeypatch.setattr(archives, "MAX_FILES", 4)
    refused("lfw", root, "lfw-funneled.tgz", "bytes or 4 files")


# ---- links in a folder of one's own ------------------------------------------------------------------------


@pytest.mark.parametrize("name, make, inside", [("helen", helen_files, "images labels"), ("lfw", lfw_files, "Bo")])
def test_folders_that_are_links_to_another_disk_are_followed(tmp_path, name, make, inside):
    here, there = (place(tmp_path / folder, make(), packed=False) for folder in ("here", "there"))
    top = here / name / layouts.DATASETS[name].archives[0][1]
    (tmp_path / "disk").mkdir()
    for folder in inside.split():
        (top / folder).rename(tmp_path / "disk" / folder)
        (top / folder).symlink_to(tmp_path / "disk" / folder)
    assert data.digest(name, here) == data.digest(name, there)
    np.testing.assert_array_equal(data.load(name, 8, here).images, data.load(name, 8, there).images)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    refused(name, here, "missing", "the link", "leads nowhere")


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_that_leads_back_is_refused(tmp_path, target):
    root = place(tmp_path, lfw_files(), packed=False)
    (root / "lfw/lfw_funneled/Bo/again").symlink_to(target, target_is_directory=True)
    refused("lfw", root, "lfw_funneled/", "leads back to a folder above it; remove it")


def test_a_link_to_a_folder_beside_it_is_no_loop(tmp_path):
    root = place(tmp_path, helen_files(), packed=False)
    (root / "helen" / HELEN / "copy").symlink_to("images")
    (root / "helen" / HELEN / "self").symlink_to("self")
    assert data.load("helen", 8, root).ids == ("100_1", "23_1", "7_1")
