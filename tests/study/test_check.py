"""lib/study/check.py: recomputed scores against the published study's, and against records that were changed."""

import json
import shutil

import numpy as np
import pytest

from lib import PROJECT, outputs, record
from lib.study import check, commands

DEMO = PROJECT / "outputs" / "published" / "demo"
RUN = "fcresnet-lfw-small-hair-bce"


def test_every_score_of_the_published_study_is_that_of_its_maps(capsys):
    assert commands.main(["check", "--out", str(DEMO)]) == 0
    assert capsys.readouterr().out.startswith("224 scores of 32 runs recomputed from their maps: 0 disagree")


def test_a_study_published_without_maps_is_one_sentence(capsys):
    assert commands.main(["check", "--out", str(DEMO.with_name("small"))]) == 2
    assert "no stored maps" in capsys.readouterr().err


def unpack(run_id, study):
    """One run of the published study in a folder of its own, as runs are written."""
    run = outputs.read_study(DEMO)[run_id]
    (study / run_id).mkdir()
    record.write(study / run_id, run.record, run.history, run.per_image, run.probabilities()[0])


@pytest.fixture
def copied(tmp_path):
    """One run of the published study with its pictures."""
    unpack(RUN, tmp_path)
    shutil.copytree(DEMO / "pictures", tmp_path / "pictures")
    return tmp_path


@pytest.mark.parametrize(
    "name, change",
    [
        ("accuracy", 1e-4),
        ("iou", -1e-4),
        ("iou_pooled", 1e-4),
        ("iou_soft", 0.02),
        ("iou_tuned", 1e-4),
        ("boundary_iou", 1e-4),
        ("calibration_error", 1e-4),
    ],
)
def test_a_score_that_is_not_that_of_its_maps_is_named(copied, capsys, name, change):
    path = copied / RUN / "record.json"
    changed = json.loads(path.read_text())
    changed["scores"][name] += change
    path.write_text(json.dumps(changed))
    assert commands.main(["check", "--out", str(copied)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"{RUN}: {name} is {changed['scores'][name]:.6f} in the record and ")
    assert "7 scores of 1 runs recomputed from their maps: 1 disagree" in printed


def test_maps_that_were_changed_are_found(copied):
    path = copied / RUN / "probabilities.npz"
    arrays = dict(np.load(path))
    arrays["probabilities"] = np.roll(arrays["probabilities"], 16, axis=2)
    np.savez_compressed(path, **arrays)
    assert check.report(outputs.read_study(copied))[1] == 7


def test_a_run_that_cannot_be_read_is_no_agreement(copied, capsys):
    shutil.copytree(copied / RUN, copied / (other := RUN.replace("bce", "iou")))
    (copied / other / "record.json").write_text("{")
    assert commands.main(["check", "--out", str(copied)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert other in first and last.startswith("7 scores of 1 runs recomputed from their maps: 0 disagree")


def cut(arrays, path):
    path.write_bytes(path.read_bytes()[:1000])


def reverse_ids(arrays, path):
    np.savez_compressed(path, **arrays | {"ids": arrays["ids"][::-1]})


def halve(arrays, path):
    np.savez_compressed(path, **arrays | {"probabilities": arrays["probabilities"][:, ::2]})


@pytest.mark.parametrize("damage", [cut, reverse_ids, halve])
def test_maps_that_do_not_fit_are_one_line_and_the_other_runs_are_checked(copied, capsys, damage):
    other = RUN.replace("bce", "iou")
    unpack(other, copied)
    path = copied / other / "probabilities.npz"
    damage(dict(np.load(path)), path)
    assert commands.main(["check", "--out", str(copied)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert str(path) in first and last.startswith("7 scores of 2 runs recomputed from their maps: 0 disagree")


def test_the_formulas_by_hand():
    t = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], bool)
    p = np.array([[[1, 0], [1, 0]], [[0, 0], [0, 0]]], bool)
    assert check.mean_iou(t, p) == pytest.approx((1 / 3 + 1) / 2)
    assert check.calibration_error(t, np.full(t.shape, 0.5)) == pytest.approx(0.25)
    low, high = check.soft_bounds(t, np.full(t.shape, 0.5))
    assert low < (1 / 3 + 0.5) / 2 < high and high - low == pytest.approx(2 / 510 * (8 / 9 + 1) / 2, rel=0.001)
    frame = np.ones((1, 5, 5), bool)
    assert check.edges(frame, 1).sum() == 16
