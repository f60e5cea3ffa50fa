"""lib/outputs.py: which runs a study folder holds, in which order, and which studies there are."""

import os
import subprocess
import sys

import pytest
from made_up_study import write_run

from lib import InputError, config, outputs

FIRST, SECOND = config.CELLS[:2]


def test_runs_come_in_the_papers_order(folder):
    study = outputs.read_study(folder)
    assert list(study) == ["bfcn32s-lfw-big-hair-iou", "bfcn32s-lfw-big-hair-bce", "bfcn32s-lfw-small-hair-iou"]
    assert study.problems == []
    run = study[FIRST.run_id("bce")]
    assert (run.run_id, run.cell, run.loss) == ("bfcn32s-lfw-big-hair-bce", FIRST, "bce")
    assert (run.score("iou"), run.score("epochs")) == (0.5, 9)


def test_what_is_no_run_is_passed_over(folder):
    for name in (".claim", "tables", "logs"):
        (folder / name).mkdir()
    (folder / "status.json").write_text("{}")
    study = outputs.read_study(folder)
    assert len(study) == 3 and study.problems == []


def test_a_missing_or_empty_study_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="no such study folder.*python -m lib.study run"):
        outputs.read_study(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    with pytest.raises(InputError, match=r"no finished run \(1 unfinished.*python -m lib.study run"):
        outputs.read_study(tmp_path)


def test_reading_results_needs_neither_keras_nor_scipy_stats():
    code = "import sys, lib.analysis.tables; sys.exit(any(name in sys.modules for name in ('keras', 'scipy.stats')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_studies_are_found_with_their_states(tmp_path):
    write_run(tmp_path / "published" / "demo", config.CELLS[0], "iou")
    write_run(tmp_path / "mine", config.CELLS[0], "iou")
    (tmp_path / "mine" / "half-written").mkdir()
    (tmp_path / "mine" / ".failed" / "bfcn32s-lfw-big-hair-bce").mkdir(parents=True)
    (tmp_path / "mine" / ".failed" / "bfcn32s-lfw-big-hair-bce" / "error.txt").write_text("cell 7: no luck\n")
    (tmp_path / "mine" / ".running" / "bfcn32s-lfw-big-nohair-iou-12ab34cd").mkdir(parents=True)
    for nothing in ("cache", "bench", ".hidden"):
        (tmp_path / nothing).mkdir()
    write_run(tmp_path / "rerun", config.CELLS[0], "iou")  # what `rerun` wrote is no study
    mine, published = outputs.studies(tmp_path)
    assert (mine.folder, published.folder) == (tmp_path / "mine", tmp_path / "published" / "demo")
    assert mine.done == [config.CELLS[0].run_id("iou")] == published.done
    assert mine.failed == {"bfcn32s-lfw-big-hair-bce": "cell 7: no luck"}
    assert mine.running == ["bfcn32s-lfw-big-nohair-iou"]
    assert len(mine.problems) == 1 and "half-written" in mine.problems[0]
    assert outputs.default_study(tmp_path) == tmp_path / "published" / "demo"
    assert outputs.default_study(tmp_path, "small") == tmp_path / "published" / "small"
    write_run(tmp_path / "demo", config.CELLS[0], "iou")
    assert outputs.default_study(tmp_path) == tmp_path / "demo"


def test_an_error_from_a_stranger_is_cut_off_printable_and_no_link(tmp_path):
    secret, failed = tmp_path / "secret", tmp_path / "theirs" / ".failed"
    secret.mkdir()
    (secret / "error.txt").write_text("a password")
    for name in ("huge", "codes", "a link", "a pipe"):
        (failed / name).mkdir(parents=True)
    with open(failed / "huge" / "error.txt", "wb") as file:
        file.truncate(6 << 30)  # a sparse file of 6 GB
    (failed / "codes" / "error.txt").write_bytes(b"cell 7: \x1b[2J\xff no luck\n")
    (failed / "a link" / "error.txt").symlink_to(secret / "error.txt")
    os.mkfifo(failed / "a pipe" / "error.txt")
    (failed / "a folder that is a link").symlink_to(secret)
    told = outputs.state(tmp_path / "theirs").failed
    assert len(told["huge"]) == outputs.LONGEST_ERROR and told["huge"].isprintable()
    assert told["codes"] == "cell 7: \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} no luck"
    assert {told[name] for name in ("a link", "a pipe", "a folder that is a link")} == {"its error is not there"}
    failed.rename(secret / ".failed")
    failed.symlink_to(secret / ".failed")
    assert set(outputs.state(tmp_path / "theirs").failed.values()) == {"its error is not there"}


def test_studies_elsewhere_are_listed_named_and_found(tmp_path, monkeypatch):
    write_run(tmp_path / "mine", config.CELLS[0], "iou")
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", str(tmp_path))
    own, *published = outputs.studies()
    assert own.name == "mine" and outputs.folder_of("mine") == tmp_path / "mine"
    assert "published/demo" in {state.name for state in published}
    assert outputs.folder_of("published/demo") == outputs.PUBLISHED / "demo"
    assert outputs.default_study() == outputs.PUBLISHED / "demo"
    with pytest.raises(InputError, match="is in the home folder of an unknown user"):
        outputs.folder_of("~nobody-at-all/x")
