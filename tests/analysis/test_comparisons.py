"""lib/analysis/comparisons.py: tables of made-up studies with known effects; what they leave out."""

import json
import shutil

import numpy as np
import pytest
from made_up_conditions import IDS, write
from scipy import stats

from lib import InputError
from lib.analysis import comparisons, conditions, stopping
from lib.outputs import read_study
from lib.params import configurations
from lib.study import report


def test_losses_are_ranked_within_their_condition_and_dice_is_equivalent(study):
    table = comparisons.losses_table(study)
    assert [row[0] for row in table.rows] == ["face"] * 3 + ["hair"] * 3
    assert table.rows[0][1] == "IoU" and {row[1] for row in table.rows[1:3]} == {"BCE", "Dice"}
    rows = {row[1]: row for row in table.rows[:3]}
    assert rows["IoU"][4] == pytest.approx(0.05, abs=1e-4) and rows["IoU"][8:] == [1.0, "different"]
    assert rows["Dice"][9].startswith("equivalent") and rows["BCE"][4:] == [None] * 6
    assert rows["IoU"][7] < 1e-6 < rows["Dice"][7]
    soft = {row[1]: row[4] for row in comparisons.losses_table(study, "iou_soft").rows[:3]}
    assert soft["IoU"] == pytest.approx(0.24, abs=1e-3) and soft["Dice"] == pytest.approx(0.1, abs=1e-3)


def test_conditions_have_their_share_and_collapsed_runs(study):
    table = comparisons.conditions_table(study)
    assert [(row[0], row[1], row[2], row[3]) for row in table.rows] == [("face", 0.2, 4, 12), ("hair", 0.1, 4, 12)]
    assert [row[10:] for row in table.rows] == [[0, 0], [1, 0]] and "made-up faces" in table.note


def test_scores_tell_the_loss_from_the_metric(study):
    rows = {row[1]: row for row in comparisons.metric_table({"mine": study}).rows}
    assert rows["IoU at 0.5"][4] == pytest.approx(0.05, abs=1e-3) and rows["IoU′ (no threshold)"][4] == pytest.approx(
        0.24, abs=1e-3
    )
    assert comparisons.mixed_model([study]).effect.difference == pytest.approx(0.05, abs=1e-3)


def test_each_loss_is_compared_at_its_own_best_rate(rates):
    table = {row[1]: row for row in comparisons.best_rates_table(rates).rows}
    assert table["IoU"][:6] == ["all runs", "IoU", 2, 0.001, 2, pytest.approx(0.7)]
    assert table["BCE"][2:6] == [2, 0.0005, 2, pytest.approx(0.6)]
    assert table["IoU"][8] == pytest.approx(0.05, abs=1e-3) and table["BCE"][8:] == [None] * 4
    assert set(comparisons.tables("rates", rates)) == {"conditions", "scores", "best-rates"}  # two losses


def test_rates_are_compared_apart_for_all_else_that_varies(tmp_path):
    for loss in ("bce", "iou"):
        for rate, epochs in ((0.0005, 40), (0.001, 10)):
            for size in (96, 128):
                write(
                    tmp_path / "study",
                    np.random.default_rng(0),
                    loss=loss,
                    learning_rate=rate,
                    image_size=size,
                    epochs=epochs,
                    tag=f"{rate:g}-{size}",
                )
    rows = comparisons.tables("study", read_study(tmp_path / "study"))["best-rates"].rows
    assert sorted(row[:3] for row in rows) == [
        [f"image size {size}", loss, 2] for size in (128, 96) for loss in ("BCE", "IoU")
    ]


def test_rates_are_not_compared_where_the_number_of_epochs_varies_too(tmp_path):
    for loss in ("bce", "iou"):
        for rate in (0.0005, 0.001):
            for epochs in (10, 40):
                write(
                    tmp_path / "study",
                    np.random.default_rng(0),
                    loss=loss,
                    learning_rate=rate,
                    epochs=epochs,
                    tag=f"{rate:g}-{epochs}",
                )
    study = read_study(tmp_path / "study")
    with pytest.raises(InputError, match="several conditions at learning rate 0.0005"):
        comparisons.best_rates_table(study)
    assert "best-rates" not in comparisons.tables("study", study)


def test_random_splits_are_compared_over_splits(tmp_path):
    """By hand: differences of 0.05 + a noise known from the files, corrected for splits that share images."""
    rng = np.random.default_rng(0)
    for loss in ("bce", "iou"):
        for model in ("bfcn32s", "fcresnet"):
            for seed in range(4):
                write(tmp_path / "study", rng, loss=loss, model=model, split="random", seed=seed, tag=f"seed{seed}")
    study = read_study(tmp_path / "study")
    mean = {(run.cell.model, run.loss, run.record["seed"]): run.per_image["iou"].mean() for run in study.values()}
    d = np.array(
        [
            np.mean([mean[model, "iou", seed] - mean[model, "bce", seed] for model in ("bfcn32s", "fcresnet")])
            for seed in range(4)
        ]
    )
    effect = conditions.compare(conditions.conditions(study), "iou", "iou")
    half = stats.t(3).ppf(0.975) * np.sqrt((1 / 4 + len(IDS) / 60) * d.var(ddof=1))
    assert effect[:3] == pytest.approx((d.mean(), d.mean() - half, d.mean() + half)) and effect.unit == "splits"
    assert comparisons.losses_table(study).rows == []
    assert [row[3] for row in comparisons.metric_table({"mine": study}).rows] == [2 * 4] * len(comparisons.SCORES)
    rows = comparisons.conditions_table(study).rows
    assert [row[0] for row in rows] == ["BFCN-32s", "FCResNet"] and rows[0][6] == pytest.approx(0.05, abs=1e-3)


def test_the_report_of_such_a_study_is_the_notebook_beyond(study):
    text = report.write(study.folder)
    assert "beyond.ipynb" in text and (study.folder / "tables" / "losses.csv").is_file()
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    assert "Loss or metric?" in page and "Every loss against BCE" in page and "<script" not in page


def test_the_overview_counts_what_is_there(study):
    (row,) = comparisons.overview_table({"losses": study}).rows
    assert row == ["losses", 24, len(configurations("losses")), 2, 3, 4, 0, 1, study.folder.parent.name]
    assert comparisons.overview_table({"made-up": study}).rows[0][2] is None


def test_one_seed_gives_differences_without_intervals_and_says_why(study, tmp_path):
    for run in study.values():
        if run.record["seed"] == 0:
            shutil.copytree(run.folder, tmp_path / "single" / run.run_id)
    single = read_study(tmp_path / "single")
    for table in comparisons.tables("single", single).values():
        assert table.rows and "--seeds 5" in table.note
    rows = {row[1]: row for row in comparisons.losses_table(single).rows[:3]}
    assert rows["IoU"][4] == pytest.approx(0.05, abs=1e-3) and np.isnan(rows["IoU"][5]) and rows["IoU"][8] is None
    target = tmp_path / "beyond.ipynb"
    report._execute(single.folder, target)
    outputs = json.dumps([cell["outputs"] for cell in json.loads(target.read_text())["cells"] if "outputs" in cell])
    assert "Warning" not in outputs and "--seeds 5" in outputs and "No mixed model" in outputs


def with_per_image(study, run_id, change):
    """The study again, with another per_image.csv of one run."""
    path = study.folder / run_id / "per_image.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *change(rows)]) + "\n")
    return read_study(study.folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: [f"Another_{row}" for row in rows],
        lambda rows: rows[:-1],
        lambda rows: [*rows[1:], rows[0]],
    ],
    ids=["reversed", "renamed", "shorter", "rotated"],
)
def test_scores_of_other_images_are_not_compared(study, tmp_path, change):
    """Whether one loss, all of its seeds or a single seed of all losses have them."""
    names = [name for name, run in study.items() if run.loss == "iou" and "part=-" not in name]
    seeds = [name for name, run in study.items() if run.record["seed"] == 1]
    for number, chosen in enumerate((names[:1], names, seeds)):
        shutil.copytree(study.folder, tmp_path / str(number))
        changed = read_study(tmp_path / str(number))
        for name in chosen:
            changed = with_per_image(changed, name, change)
        for table in (
            comparisons.losses_table,
            comparisons.conditions_table,
            lambda each: comparisons.metric_table({"": each}),
        ):
            with pytest.raises(
                InputError, match="was tested on other images than .* cannot be compared image by image"
            ):
                table(changed)


def without_seeds(record, history):
    record["seed"] += 10 * (record["params"]["loss"] == "bce")


def without_rates(record, history):
    del record["params"]["learning_rate"]


def short_history(record, history):
    history[2:] = []


def other_history(record, history):
    history[:] = ["epoch,loss", "1,1", "2,1"]


def without_counts(record, history):
    record["params"]["split"] = "random"
    record["data"]["counts"] = {"train": 0}


def without_share(record, history):
    del record["data"]["positive_share"]


@pytest.mark.parametrize(
    "change, table, words",
    [
        (without_seeds, "conditions", "Left out: zeros start (no seed has both losses)"),
        (without_seeds, "best-rates", "(IoU has no seed in common with BCE)"),
        (without_rates, "best-rates", "(its learning rate is not recorded)"),
        (short_history, "best-rates", "(a history ends before its best epoch)"),
        (other_history, "best-rates", "(a history ends before its best epoch)"),
        (without_counts, "conditions", "(its numbers of images are not recorded)"),
        (without_share, "implied", "as their share of positive pixels is not recorded"),
    ],
)
def test_what_a_strangers_runs_do_not_have_leaves_out_a_row_with_a_sentence(tmp_path, change, table, words):
    """All tables that the report and the notebook make of the study are made."""
    folder, rng = tmp_path / "theirs", np.random.default_rng(0)
    for loss in ("bce", "iou"):
        for seed in range(2):
            for start in ("zeros", "glorot"):
                write(folder, rng, loss=loss, seed=seed, score_start=start, tag=f"{start}-seed{seed}")
    for run in folder.iterdir():
        content, history = json.loads((run / "record.json").read_text()), (run / "history.csv").read_text().splitlines()
        if content["params"]["score_start"] == "zeros":
            change(content, history)
        (run / "record.json").write_text(json.dumps(content))
        (run / "history.csv").write_text("\n".join(history) + "\n")
        scores = (run / "per_image.csv").read_text().splitlines()
        added = [f"{score}{rule}" for score in ("iou", "iou_soft", "accuracy") for rule in stopping.RULES if rule]
        rows = [",".join([scores[0], *added]), *(",".join([row, *["0.5"] * len(added)]) for row in scores[1:])]
        (run / "per_image.csv").write_text("\n".join(rows) + "\n")
    theirs = read_study(folder)
    made = report.csv_tables(theirs) | {
        "best-rates": comparisons.best_rates_table(theirs),
        "conditions": comparisons.conditions_table(theirs),
        "losses": comparisons.losses_table(theirs),
        "implied": stopping.implied_table(theirs),
        "overview": comparisons.overview_table({"theirs": theirs}),
    }
    assert words in made[table].note
    for each in made.values():
        each._repr_html_(), str(each), each.frame()
    stopping.sentence(theirs), stopping.intervals(theirs), comparisons.mixed_model([theirs])
