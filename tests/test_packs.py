"""lib/packs.py: a study packed into a few files reads as it was, and damaged packs are refused by name."""

import json
import lzma

import numpy as np
import pytest

from lib import InputError, config, outputs, packs

FIRST = config.CELLS[0]


@pytest.fixture
def packed(folder, tmp_path):
    """The study of `folder`, packed, with the maps of the first cell's runs."""
    target = tmp_path / "packed"
    target.mkdir()
    packs.write(target, outputs.read_study(folder).values(), [FIRST.run_id("iou"), FIRST.run_id("bce")])
    return target


def test_a_packed_study_reads_as_it_was(folder, packed):
    before, after = outputs.read_study(folder), outputs.read_study(packed)
    assert packs.is_packed(packed) and not packs.is_packed(folder)
    assert list(before) == list(after) and after.problems == [] and outputs.count_finished(packed) == 3
    for run_id, run in before.items():
        assert run.record == after[run_id].record and run.cell == after[run_id].cell
        for table in ("history", "per_image"):
            one, other = getattr(run, table), getattr(after[run_id], table)
            assert set(one) == set(other)
            for name in one:
                np.testing.assert_array_equal(other[name], one[name])
    one, other = (study[FIRST.run_id("iou")].probabilities() for study in (before, after))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].tolist() == other[1].tolist()


def test_the_same_runs_give_the_same_bytes(folder, packed, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    packs.write(again, reversed(list(outputs.read_study(folder).values())), [FIRST.run_id("iou"), FIRST.run_id("bce")])
    for file in (packs.RECORDS, "per_image.csv.xz", "history.csv.xz"):
        assert (again / file).read_bytes() == (packed / file).read_bytes()


def test_maps_that_were_not_packed_are_told(packed):
    study = outputs.read_study(packed)
    with pytest.raises(InputError, match=r"probabilities.npz: cannot be read"):
        study[config.CELLS[1].run_id("iou")].probabilities()
    (packed / packs.MAPS).unlink()
    assert not study[FIRST.run_id("iou")].has_maps


def test_a_record_that_cannot_be_used_is_a_problem_with_its_line(packed):
    path = packed / packs.RECORDS
    lines = path.read_text().splitlines()
    broken = json.dumps({**json.loads(lines[1]), "key": None})
    path.write_text("\n".join([lines[0], broken, "{", lines[0]]))
    study = outputs.read_study(packed)
    assert len(study) == 1 and len(study.problems) == 3
    for number, (problem, words) in enumerate(
        zip(study.problems, ("key is missing", "cannot be read", "given twice")), 2
    ):
        assert f"line {number}" in problem and words in problem and str(path) in problem


@pytest.mark.parametrize(
    "file, content",
    [
        ("history.csv.xz", b""),
        ("history.csv.xz", b"no xz"),
        ("per_image.csv.xz", lzma.compress(b"id,tp\nAnn_0001,1\n")),
        ("per_image.csv.xz", lzma.compress(b"run,id,tp,fp,fn,tn\nanother,Ann_0001,1,1,1,1\n")),
        ("per_image.csv.xz", None),
    ],
)
def test_a_damaged_table_is_named(packed, file, content):
    run = outputs.read_study(packed)[FIRST.run_id("iou")]
    (packed / file).unlink()
    if content is not None:
        (packed / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"{file}: .*get the study again"):
        getattr(run, file.removesuffix(".csv.xz"))


def test_differences_are_taken_back_exactly():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    found = packs.differences(images)
    assert found.dtype == np.uint8 and found[0, 2, 3, 1] == np.uint8(
        int(images[0, 2, 3, 1]) - int(images[0, 1, 3, 1]) - int(images[0, 2, 2, 1]) + int(images[0, 1, 2, 1]) & 255
    )
    assert np.array_equal(packs.undone(found), images) and np.array_equal(packs.undone(found[..., 0]), images[..., 0])
