import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_up_study import SCORES, record, write_paper_study, write_run

from lib import InputError, config, outputs
from lib.analysis import pairs, sentences, stats, tables
from lib.record import METRICS

FIRST, SECOND = config.CELLS[:2]


@pytest.fixture
def folder(tmp_path):
    """A study with one pair and one single run."""
    study = tmp_path / "study"
    write_run(study, SECOND, "iou")
    write_run(study, FIRST, "bce", scores=SCORES | {"iou": 0.5}, epochs_run=9)
    write_run(study, FIRST, "iou", epochs_run=4)
    return study


def test_runs_come_in_the_papers_order(folder):
    study = outputs.read_study(folder)
    assert list(study) == ["bfcn32s-lfw-big-hair-iou", "bfcn32s-lfw-big-hair-bce",
                           "bfcn32s-lfw-small-hair-iou"]
    assert study.problems == []
    run = study[FIRST.run_id("bce")]
    assert (run.run_id, run.cell, run.loss) == ("bfcn32s-lfw-big-hair-bce", FIRST, "bce")
    assert (run.score("iou"), run.score("epochs")) == (0.5, 9)


def test_files_of_a_run(folder):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    assert run.history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(run.history["val_loss"], [0.8, 0.6, np.nan])
    assert run.per_image["id"].tolist() == ["Ann_0001", "Bob_0001"]
    assert run.per_image["tp"].dtype == "int64" and run.per_image["iou"].dtype == "float64"
    probabilities, ids = run.probabilities()
    assert probabilities.shape == (2, 2, 2) and probabilities.dtype == "uint8"
    assert ids.tolist() == run.per_image["id"].tolist()
    assert run.notebook == folder / run.run_id / "train.ipynb"


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


def test_every_metric_has_a_direction():
    assert set(METRICS) == set(stats.HIGHER_IS_BETTER)


def test_what_is_no_run_is_passed_over(folder):
    for name in (".claim", "tables", "logs"):
        (folder / name).mkdir()
    (folder / "status.json").write_text("{}")
    study = outputs.read_study(folder)
    assert len(study) == 3 and study.problems == []


def changed(**changes):
    return json.dumps(record(SECOND, "bce") | changes)


@pytest.mark.parametrize("text, why", [
    (None, "no record.json"),
    ("", "cannot be read"),
    ('{"run_id": "bfcn32s', "cannot be read"),
    ("[]", "a mapping of keys"),
    ("{}", "run_id is missing"),
    (changed(key=None), "key is missing, has the wrong type"),
    (changed(scores={"accuracy": 1.0}), "scores.iou is missing"),
    (changed(seconds={"total": float("nan")}), "seconds.total is missing, has the wrong type or is out of range"),
    (changed(seconds={"total": -1.0}), "seconds.total"),
    (changed(params={}), "params.model is missing"),
    (changed(data={"source": "x"}), "data.note is missing"),
    *((changed(data=record(SECOND, "bce", images=images)["data"]), "data.images is missing, has the wrong type")
      for images in ("many", [1], -5, True)),
    (changed(data=record(SECOND, "bce", positive_share="half")["data"]), "data.positive_share"),
    *((changed(params=record(SECOND, "bce")["params"] | {name: value}), f"params.{name} is missing, has the wrong type")
      for name, value in (("epochs", [3]), ("image_size", {"a": 1}), ("learning_rate", "0.1"), ("tag", None))),
    (changed(format=2), "has format 2"),
    (changed(run_id="another"), "belongs to the run 'another'"),
    (json.dumps(record(SECOND, "iou") | {"run_id": SECOND.run_id("bce")}), "has the parameters of 'bfcn32s-"),
])
def test_a_folder_that_is_no_finished_run_is_a_problem_not_a_failure(folder, text, why):
    bad = folder / SECOND.run_id("bce")
    bad.mkdir()
    if text is not None:
        (bad / "record.json").write_text(text)
    study = outputs.read_study(folder)
    assert len(study) == 3
    assert len(study.problems) == 1 and why in study.problems[0] and str(bad) in study.problems[0]


def test_a_missing_or_empty_study_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="no such study folder.*python -m lib.study run"):
        outputs.read_study(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    with pytest.raises(InputError, match=r"no finished run \(1 unfinished.*python -m lib.study run"):
        outputs.read_study(tmp_path)


@pytest.mark.parametrize("name, content, read", [
    ("history.csv", b"", lambda run: run.history),
    ("history.csv", b"loss\n1\n", lambda run: run.history),
    ("history.csv", b"epoch,loss\n1,0.5\n2\n", lambda run: run.history),
    ("per_image.csv", b"id,accuracy\nAnn,1\n", lambda run: run.per_image),
    ("per_image.csv", b"id,accuracy,iou,iou_soft,tp,fp,fn,tn\nAnn,1,1,1,,0,0,0\n", lambda run: run.per_image),
    ("probabilities.npz", b"", lambda run: run.probabilities()),
    ("probabilities.npz", b"PK\x03\x04 cut off", lambda run: run.probabilities()),
    ("probabilities.npz", None, lambda run: run.probabilities()),
])
def test_a_damaged_file_is_named(folder, name, content, read):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    (run.folder / name).unlink()
    if content is not None:
        (run.folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        read(run)


def test_pickled_probabilities_are_not_loaded(folder):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    np.savez(run.folder / "probabilities.npz", probabilities=np.array([{}], dtype=object), ids=["a"])
    with pytest.raises(InputError, match="allow_pickle"):
        run.probabilities()


def test_the_note_names_each_source_once_and_scaled_splits(tmp_path):
    write_run(tmp_path, FIRST, "iou")
    write_run(tmp_path, FIRST, "bce")
    write_run(tmp_path, config.CELLS[4], "iou", note="", source="stand-in", scaled=True)
    note = pairs.data_note(list(outputs.read_study(tmp_path).values()))
    assert note == ("Data: LFW: made-up faces; "
                    "HELEN: stand-in (split scaled to fewer images: 6 train, 2 validation, 2 test).")
    assert pairs.data_note([]) == ""


def test_reading_results_needs_neither_keras_nor_scipy_stats():
    code = "import sys, lib.tables; sys.exit(any(name in sys.modules for name in ('keras', 'scipy.stats')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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
