"""lib/data/cache.py: whole folders or none, by one process at a time; where data and cache are."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from official_files import lfw_files, place, refused

from lib import PROJECT, InputError, data
from lib.data import cache, datasets, synthetic


def test_half_written_cache_is_not_read(tmp_path):
    root = place(tmp_path / "root", lfw_files())
    want = np.array(data.load("lfw", 8, root).labels)
    (folder,) = (tmp_path / "cache").glob("lfw-8px-*/")
    for damage in (
        lambda: (folder / "meta.json").unlink(),
        lambda: os.truncate(folder / "labels.npy", 200),
        lambda: os.truncate(folder / "images.npy", 0),
        lambda: (folder / "labels.npy").unlink(),
        lambda: (folder / "meta.json").write_text('{"ids": ["Bo_0001"]}'),
    ):
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
    code = (
        "import sys; from lib import data; from lib.data import layouts; decode = layouts._picture; count = []\n"
        "layouts._picture = lambda *a: count.append(1) or decode(*a)\n"
        "d = data.load('lfw', 32, sys.argv[1]); print(len(count), d.images.sum(), d.labels.sum())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        for _ in range(3)
    ]
    answers = [process.communicate()[0].split() for process in running]
    assert sorted(int(count) for count, *_ in answers) == [0, 0, 120]
    assert len({tuple(sums) for _, *sums in answers}) == 1
    assert len(list((tmp_path / "cache").glob("lfw-*/"))) == 1


def test_data_root(monkeypatch, tmp_path):
    assert cache.data_root() == PROJECT / "data"
    assert cache.data_root("some/where") == PROJECT / "some/where"
    monkeypatch.setenv("IOU_STUDY_DATA", str(tmp_path))
    assert cache.data_root() == tmp_path and cache.data_root("synthetic") == "synthetic"


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


@pytest.mark.parametrize("root", ["synthetic", "archives"])
@pytest.mark.parametrize("times", [1, 2, 99])
def test_a_cache_that_is_deleted_while_it_is_filled_is_built_again_a_few_times(tmp_path, monkeypatch, root, times):
    folder, deleted = tmp_path / "deleted", []
    monkeypatch.setenv("IOU_STUDY_CACHE", str(folder))
    given = {"root": "synthetic", "synthetic_images": 10}
    if root == "archives":
        given = {"root": place(tmp_path / "root", lfw_files())}
    read, make = datasets.READERS["lfw"], synthetic.write_lfw

    def delete(function, *arguments, **options):
        """The cache goes in the middle of the work, of drawing and of decoding in turn."""
        if len(deleted) < times:
            deleted.append(function)
            shutil.rmtree(folder)
        return function(*arguments, **options)

    monkeypatch.setitem(datasets.READERS, "lfw", lambda *a: delete(read, *a))
    monkeypatch.setattr(synthetic, "write_lfw", lambda *a, **o: delete(make, *a, **o))
    if times == 99:
        with pytest.raises(InputError, match="was removed 3 times while it was filled; let nothing else clean it, or"):
            data.load("lfw", 8, **given)
    else:
        dataset = data.load("lfw", 8, **given)
        assert len(dataset.ids) == len(dataset.images) and len(deleted) == times
        assert len(list(folder.glob("lfw-8px-*/"))) == 1


def test_a_file_that_is_missing_in_the_data_is_not_taken_for_a_deleted_cache(tmp_path):
    root = place(tmp_path / "root", lfw_files(), packed=False)
    (root / "lfw" / "lfw_funneled" / "Bo" / "Bo_0001.jpg").unlink()
    with pytest.raises(InputError, match=r"Bo_0001.jpg of label Bo_0001.ppm is missing"):
        data.load("lfw", 8, root)


def test_many_threads_digest_the_same_data_at_once(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    root = place(tmp_path / "root", lfw_files())
    for number in range(5):
        monkeypatch.setenv("IOU_STUDY_CACHE", str(tmp_path / f"cache{number}"))
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: data.datasets.digest("lfw", root), range(8)))
        assert len(found) == 1 and not list((tmp_path / f"cache{number}").glob("digests/*.json.*"))
