"""lib/analysis/pairs.py: which runs make a pair, and their scores."""

import json
import shutil

import numpy as np
import pytest
from made_up_study import write_paper_study, write_run

from lib import InputError, config, outputs
from lib.analysis import pairs, sentences, tables

FIRST, SECOND = config.CELLS[:2]


def test_pairs_and_scores_leave_out_single_runs(folder):
    study = outputs.read_study(folder)
    assert [(cell, iou.loss, bce.loss) for cell, iou, bce in pairs.pairs(study)] == [(FIRST, "iou", "bce")]
    assert pairs.scores(study, "iou")[0] == [FIRST]
    assert pairs.scores(study, "iou")[1].tolist() == [[7 / 12, 0.5]]
    assert pairs.scores(study, "epochs")[1].tolist() == [[4, 9]]
    with pytest.raises(InputError, match="dice"):
        pairs.scores(study, "dice")


def test_no_pair_gives_empty_scores(tmp_path):
    write_run(tmp_path, FIRST, "iou")
    assert pairs.scores(outputs.read_study(tmp_path), "accuracy")[1].shape == (0, 2)


def test_the_note_names_each_source_once_and_scaled_splits(tmp_path):
    write_run(tmp_path, FIRST, "iou")
    write_run(tmp_path, FIRST, "bce")
    write_run(tmp_path, config.CELLS[4], "iou", note="", source="stand-in", scaled=True)
    note = pairs.data_note(list(outputs.read_study(tmp_path).values()))
    assert note == (
        "Data: LFW: made-up faces; HELEN: stand-in (split scaled to fewer images: 6 train, 2 validation, 2 test)."
    )
    assert pairs.data_note([]) == ""


def test_seeds_of_a_run_are_averaged(tmp_path):
    write_paper_study(tmp_path, config.CELLS[:1])
    (before,), values = pairs.scores(outputs.read_study(tmp_path), "iou")
    first = tmp_path / before.run_id("iou")
    record = json.loads((first / "record.json").read_text())
    again = tmp_path / f"{first.name}-seed1"
    shutil.copytree(first, again)
    record |= {"run_id": again.name, "seed": 1, "scores": record["scores"] | {"iou": record["scores"]["iou"] - 0.1}}
    record["params"] |= {"seed": 1, "tag": "seed1"}
    (again / "record.json").write_text(json.dumps(record))
    study = outputs.read_study(tmp_path)
    assert [run.run_id for run in pairs.replicates(study, study[first.name])] == [first.name, again.name]
    np.testing.assert_allclose(pairs.scores(study, "iou")[1] - values, [[-0.05, 0]], atol=1e-12)
    table = tables.paper_table(study, *before[:2])
    assert table.rows[0][table.columns.index("IoU L_IoU")] == pytest.approx(values[0][0] - 0.05)
    assert "averaged over seeds, 2 of each run" in sentences.completeness(study)


def test_collapsed_and_capped_runs_are_told_from_others(tmp_path):
    write_run(tmp_path, FIRST, "iou")
    run = outputs.read_study(tmp_path)[FIRST.run_id("iou")]
    assert pairs.collapsed(run) == "" and not pairs.is_capped(run)  # its record does not say which limit it had
    for kind, others in (("positive", ("fn", "tn")), ("negative", ("tp", "fp"))):
        run.__dict__["per_image"] = {
            name: np.array([0, 0] if name in others else [1, 0]) for name in ("tp", "fp", "fn", "tn")
        }
        assert pairs.collapsed(run) == kind
    run.record["params"]["epochs"] = 3
    assert pairs.is_capped(run)
    run.record["params"]["epochs"] = 4
    assert not pairs.is_capped(run)


def test_differences_are_iou_loss_minus_bce_and_the_papers_without_a_study(folder):
    found = pairs.differences(outputs.read_study(folder))
    assert {metric: values.tolist() for metric, values in found.items()} == {
        "iou": [pytest.approx(7 / 12 - 0.5)],
        "iou_soft": [0],
        "accuracy": [0],
    }
    assert pairs.differences()["iou"][0] == pytest.approx(0.921 - 0.906) and len(pairs.differences()["accuracy"]) == 16
