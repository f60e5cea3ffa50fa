"""lib/analysis/conditions.py: what runs are compared, and what is refused; the notebook of such a study."""

import json
import shutil

import pytest
from made_up_conditions import IDS

from lib import PROJECT, InputError
from lib.analysis import comparisons, conditions
from lib.outputs import read_study


def test_conditions_are_what_losses_and_seeds_have_in_common(study):
    face, hair = conditions.conditions(study)
    assert (face.name, hair.name) == ("face", "hair") and set(face.runs) == {"bce", "iou", "dice"}
    assert face.seeds("iou", "bce") == [0, 1, 2, 3] and face.seeds("iou", "tversky") == []
    assert face.scores("iou", "iou", [0, 3]).shape == (2, len(IDS)) and face.positive_share == 0.2
    assert hair.collapsed("iou") == 1 and face.collapsed("iou") == hair.collapsed("bce") == 0


def test_the_known_effect_is_found_over_all_conditions(study):
    effect = conditions.compare(conditions.conditions(study), "iou", "iou")
    assert effect.difference == pytest.approx(0.05, abs=1e-4) and effect.low < 0.05 < effect.high
    assert effect.n == 8 and effect.high - effect.low < 1e-3
    assert conditions.compare(conditions.conditions(study), "tversky", "iou") is None


def test_a_study_beyond_the_papers_is_told_from_its_32_runs(study):
    assert conditions.is_beyond(study)
    assert not conditions.is_beyond(read_study(PROJECT / "outputs" / "published" / "demo"))


def test_what_cannot_be_read_is_refused(study, tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", str(tmp_path / "outputs"))
    (tmp_path / "outputs" / "published").mkdir(parents=True)
    with pytest.raises(InputError, match="^outputs/: holds none of the studies photographs, paper-photographs, losses"):
        conditions.read()
    old = tmp_path / "old"
    shutil.copytree(study.folder, old)
    for path in old.glob("*/per_image.csv"):
        path.write_text(path.read_text().replace("iou_tuned", "other", 1))
    with pytest.raises(InputError, match="per_image.csv: has no column iou_tuned, an older version wrote it"):
        comparisons.losses_table(read_study(old), "iou_tuned")


def test_the_study_with_more_finished_runs_is_read(study, tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", str(tmp_path / "outputs"))
    begun, published = tmp_path / "outputs" / "losses", tmp_path / "outputs" / "published" / "losses"
    shutil.copytree(study.folder, published)
    shutil.copytree(next(iter(study.values())).folder, begun / next(iter(study)))
    assert conditions.read()["losses"].folder == published
    shutil.copytree(study.folder, begun, dirs_exist_ok=True)
    assert conditions.read()["losses"].folder == begun  # as many: one's own


def test_conditions_are_named_in_words():
    words = [
        conditions._word(*item)
        for item in (
            ("model", "fcn8s"),
            ("model", "mobilenetv2"),
            ("dataset", "helen"),
            ("hair", False),
            ("part", ""),
            ("learning_rate", 3e-4),
            ("monitor", "val_loss"),
            ("epochs", None),
        )
    ]
    assert words == [
        "FCN-8s",
        "mobilenetv2",
        "HELEN",
        "no hair",
        "face",
        "learning rate 0.0003",
        "stopping on validation loss",
        "epochs not recorded",
    ]


def test_a_second_run_of_a_condition_loss_and_seed_is_refused(study, tmp_path):
    shutil.copytree(study.folder, tmp_path / "twice")
    first = next(iter(study.values()))
    again = tmp_path / "twice" / f"{first.run_id}-again"
    shutil.copytree(first.folder, again)
    content = first.record | {"run_id": again.name, "params": first.record["params"] | {"tag": f"{first.tag}-again"}}
    (again / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="have the same condition, loss and seed 0; keep one of them"):
        conditions.conditions(read_study(tmp_path / "twice"))
