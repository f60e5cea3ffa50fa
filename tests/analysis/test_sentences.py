"""lib/analysis/sentences.py: what the report says of made-up studies."""

import json

import pytest
from made_up_study import study_of, write_run

from lib import config
from lib.analysis import sentences
from lib.analysis.pairs import usable
from lib.analysis.tables import Table
from lib.outputs import read_study

HAIR, SMALL = config.CELLS[:2]


@pytest.mark.parametrize(
    ("pairs", "end", "words"),
    [
        (
            [(0.9, 0.8), (0.8, 0.71)],
            "IoU loss is better by 0.095 on average (95 % interval +0.031 to +0.159)",
            "higher by 0.095",
        ),
        (
            [(0.8, 0.9), (0.71, 0.8)],
            "BCE is better by 0.095 on average (95 % interval -0.159 to -0.031)",
            "lower by 0.095",
        ),
        ([(0.8, 0.9), (0.9, 0.8)], "not answered (95 % interval -1.271 to +1.271", "no clear difference (mean +0.000)"),
        ([(0.805, 0.804), (0.9, 0.901)], "not answered (95 % interval -0.013 to +0.013", "no clear difference"),
        ([(0.801, 0.8), (0.9, 0.899)], "no difference larger than 0.005", "is higher by 0.001"),
        ([(0.81, 0.803), (0.9, 0.893)], "IoU loss is better by 0.007", "is higher by 0.007"),
        (
            [(0.803, 0.8), (0.907, 0.9), (0.605, 0.6)],
            "not answered (95 % interval +0.000 to +0.010",
            "is higher by 0.005",
        ),
        (
            [(0.8, 0.9)],
            "not answered, as there are too few pairs of runs",
            "a single pair, IoU loss minus BCE is -0.100",
        ),
    ],
)
def test_three_ends_for_either_sign(tmp_path, monkeypatch, pairs, end, words):
    """Clear of zero is not enough for "better", nor unclear for "no difference": half an IoU point is the margin."""
    study = study_of(tmp_path, *((pair, pair) for pair in pairs))
    monkeypatch.setattr(config, "CELLS", config.CELLS[: len(pairs)])  # a study of so many cells
    text = sentences.headline(study)
    assert (
        text.startswith(f"**Did IoU loss beat BCE here? By IoU at 0.5: {end}")
        and f"by IoU′ (no threshold): {end}" in text
    )
    assert words in sentences.comparison(study, "iou")


def test_drawn_faces_are_called_a_demonstration(tmp_path):
    study = study_of(tmp_path, ((0.9, 0.8), (0.9, 0.8)))
    assert sentences.demonstration(study) == ""
    for run in study.values():
        run.record["params"]["data"] = "synthetic"
    assert "demonstration on drawn faces" in sentences.demonstration(study)


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


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ((0.02, 0.01, 0.03), (0.04, 0.01, 0.07), "the same loss is ahead in both"),
        ((0.02, 0.01, 0.03), (-0.04, -0.07, -0.01), "not the same loss is ahead in both"),
        ((0.02, -0.01, 0.05), (0.04, 0.01, 0.07), "no loss is clearly ahead in big"),
        ((0.02, 0.01, 0.03), (0.04, -0.01, 0.09), "no loss is clearly ahead in small"),
        ((0.02, -0.01, 0.05), (0.04, -0.01, 0.09), "no loss is clearly ahead in both"),
    ],
)
def test_a_loss_is_called_ahead_in_a_part_only_by_its_interval(one, other, words):
    table = Table("", [""] * 7, [["big", 8, 0.8, 0.78, *one], ["small", 8, 0.8, 0.76, *other]])
    text = sentences.contrast(table, "big", "small")
    assert text.endswith(f"{other[0]:+.3f} ({other[1]:+.3f} to {other[2]:+.3f}, n = 8): {words}.")
