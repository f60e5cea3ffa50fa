"""lib/analysis/sentences.py: what the report says of made-up studies."""

import json

import pytest
from made_up_study import study_of, write_run

from lib import config
from lib.analysis import sentences
from lib.analysis.pairs import usable
from lib.outputs import read_study

HAIR, SMALL = config.CELLS[:2]


@pytest.mark.parametrize(
    ("pairs", "word", "words"),
    [
        ([(0.9, 0.8), (0.8, 0.71)], "yes", "is higher by 0.095"),
        ([(0.8, 0.9), (0.71, 0.8)], "no, BCE was better", "is lower by 0.095"),
        ([(0.8, 0.9), (0.9, 0.8)], "no clear difference", "no clear difference (mean +0.000)"),
        ([(0.8, 0.9)], "too few pairs of runs to tell", "a single pair, IoU loss minus BCE is -0.100"),
    ],
)
def test_words_for_either_sign(tmp_path, monkeypatch, pairs, word, words):
    study = study_of(tmp_path, *((pair, pair) for pair in pairs))
    monkeypatch.setattr(config, "CELLS", config.CELLS[: len(pairs)])  # a study of so many cells
    assert sentences.headline(study) == (
        f"**Did IoU loss beat BCE here? By IoU at 0.5: {word}; by IoU′ (no threshold): {word}.**"
    )
    assert words in sentences.comparison(study, "iou")


def test_a_study_that_cannot_answer_says_why(tmp_path, monkeypatch):
    """Pairs are missing; or more than a tenth of the runs are capped or collapsed: 2 of 20 are not more."""
    study = study_of(tmp_path, *(((0.9, 0.8), (0.9, 0.8)) for _ in range(10)))
    assert sentences.unanswered(study) == "6 of 16 pairs of runs are missing (run the rest)"
    monkeypatch.setattr(config, "CELLS", config.CELLS[:10])
    assert sentences.unanswered(study) == ""
    runs = list(study.values())
    for run in runs[:2]:
        run.record["params"]["epochs"] = run.record["epochs_run"]
    assert sentences.unanswered(study) == ""
    runs[4].record["params"]["image_size"] = 64
    runs[6].record["data"]["digest"] = "other"
    words = "2 pairs differ in more than the loss (data, image_size; run them again alike)"
    assert sentences.unanswered(study) == words
    runs[4].record["params"]["image_size"], runs[6].record["data"]["digest"] = 2, "ff"
    for name in ("fn", "tn"):
        runs[2].per_image[name][:] = 0
    assert sentences.headline(study) == (
        "**Did IoU loss beat BCE here? Not answered: 2 of 20 runs stopped at the limit of epochs (raise `epochs`), and "
        "1 of 20 runs collapsed to a constant mask (lower `learning_rate`).**"
    )


@pytest.mark.parametrize(
    ("iou", "soft", "words"),
    [
        ((0.90, 0.88), (0.88, 0.80), "**75 % of it vanishes"),  # 0.02 of 0.08 is left
        ((0.88, 0.90), (0.88, 0.80), "**all of it vanishes"),
        ((0.90, 0.80), (0.88, 0.80), "does not make it smaller"),
        ((0.88, 0.90), (0.78, 0.80), "no deficit to explain"),
    ],
)
def test_effect_of_the_threshold(tmp_path, iou, soft, words):
    assert words in sentences.threshold_effect(study_of(tmp_path, (iou, soft)))


def test_a_score_that_is_no_number_is_left_out(tmp_path):
    study = study_of(tmp_path, ((0.9, 0.8), (float("nan"), 0.8)), ((0.8, 0.6), (0.8, 0.7)))
    assert usable(study, "iou_soft")[0] == [SMALL]
    assert usable(study, "iou")[0] == [HAIR, SMALL]
    assert "the means of 1 of 16 cells" in sentences.threshold_effect(study)


def test_a_collapsed_run_is_told(tmp_path):
    write_run(tmp_path, HAIR, "iou")
    write_run(tmp_path, HAIR, "bce")
    table = tmp_path / HAIR.run_id("iou") / "per_image.csv"
    table.write_text(
        "id,accuracy,iou,iou_soft,tp,fp,fn,tn\nAnn_0001,0.5,0.5,0.5,2,2,0,0\nBob_0001,0.25,0.25,0.25,1,3,0,0\n"
    )
    text = sentences.completeness(read_study(tmp_path))
    assert f"**`{HAIR.run_id('iou')}` calls every pixel of every test image positive**" in text
    assert text.count("collapsed") == 1


def test_runs_that_met_the_limit_of_epochs_are_told(tmp_path):
    cell = config.CELLS[0]
    for loss, epochs_run in (("iou", 9), ("bce", 10)):
        write_run(tmp_path, cell, loss, epochs_run=epochs_run)
        path = tmp_path / cell.run_id(loss) / "record.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"params": record["params"] | {"epochs": 10}}))
    assert "1 of 2 runs stopped at the limit of epochs" in sentences.completeness(read_study(tmp_path))
