"""lib/analysis/conditions.py: conditions, comparisons and tables of a made-up study with known effects; notebook."""

import csv
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from lib import PROJECT, InputError, record
from lib.analysis import conditions, stopping
from lib.config import resolve
from lib.outputs import read_study
from lib.params import configurations
from lib.study import report

IDS = [f"Person_{letter}_000{number}" for letter in "ABCDEF" for number in (1, 2)]
EFFECTS = {"iou": {"bce": 0.7, "iou": 0.75, "dice": 0.7}, "iou_soft": {"bce": 0.5, "iou": 0.74, "dice": 0.6}}


def write(folder, rng, **params):
    """One run: scores are the loss's effect plus effects of seed and image, the same for all losses."""
    config = resolve(params)
    seed_effect, image_effect = 0.01 * config.seed, np.linspace(-0.05, 0.05, len(IDS))
    columns = {
        name: EFFECTS["iou_soft" if name == "iou_soft" else "iou"][config.loss]
        + seed_effect
        + image_effect
        + rng.normal(0, 1e-4, len(IDS))
        for name in conditions.SCORES
    }
    collapsed = config.part == "hair" and config.loss == "iou" and config.seed == 0
    counts = {"tp": 0, "fp": 0, "fn": 2, "tn": 2} if collapsed else {"tp": 1, "fp": 1, "fn": 1, "tn": 1}
    run = folder / config.run_id
    run.mkdir(parents=True)
    with open(run / "per_image.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *columns, *counts])
        writer.writerows([name, *values, *counts.values()] for name, *values in zip(IDS, *columns.values()))
    best = {0.0005: 0.6, 0.002: 0.6, 0.001: 0.7 if config.loss == "iou" else 0.5}[config.learning_rate]
    (run / "history.csv").write_text(f"epoch,loss,val_loss,val_iou\n1,1,1,0.1\n2,1,1,{best}\n")
    (run / "record.json").write_text(
        json.dumps(
            {
                "format": 1,
                "run_id": config.run_id,
                "params": {**config.__dict__},
                "seed": config.seed,
                "key": "0",
                "scores": {name: float(np.mean(columns.get(name, 0.5))) for name in record.SCORES},
                "epochs_run": 2,
                "best_epoch": 2,
                "seconds": {"total": 1.0},
                "versions": {},
                "data": {
                    "source": "made up",
                    "note": "made-up faces",
                    "scaled": False,
                    "counts": {"train": 60, "test": len(IDS)},
                    "positive_share": 0.1 if config.part else 0.2,
                    "digest": "f",
                },
            }
        )
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three losses on two parts with 4 seeds, and the face alone at another learning rate."""
    folder, rng = tmp_path_factory.mktemp("beyond") / "made-up", np.random.default_rng(0)
    for loss in ("bce", "iou", "dice"):
        for part in ("", "hair"):
            for seed in range(4):
                write(folder, rng, loss=loss, part=part, seed=seed, tag=f"part={part}-seed{seed}")
    return read_study(folder)


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("beyond") / "rates", np.random.default_rng(0)
    for loss in ("bce", "iou"):
        for rate in (0.0005, 0.001):
            for seed in range(2):
                write(folder, rng, loss=loss, learning_rate=rate, seed=seed, tag=f"rate={rate}-seed{seed}")
    return read_study(folder)


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


def test_losses_are_ranked_within_their_condition_and_dice_is_equivalent(study):
    table = conditions.losses_table(study)
    assert [row[0] for row in table.rows] == ["face"] * 3 + ["hair"] * 3
    assert table.rows[0][1] == "IoU" and {row[1] for row in table.rows[1:3]} == {"BCE", "Dice"}
    rows = {row[1]: row for row in table.rows[:3]}
    assert rows["IoU"][4] == pytest.approx(0.05, abs=1e-4) and rows["IoU"][8:] == [1.0, "different"]
    assert rows["Dice"][9].startswith("equivalent") and rows["BCE"][4:] == [None] * 6
    assert rows["IoU"][7] < 1e-6 < rows["Dice"][7]
    soft = {row[1]: row[4] for row in conditions.losses_table(study, "iou_soft").rows[:3]}
    assert soft["IoU"] == pytest.approx(0.24, abs=1e-3) and soft["Dice"] == pytest.approx(0.1, abs=1e-3)


def test_conditions_have_their_share_and_collapsed_runs(study):
    table = conditions.conditions_table(study)
    assert [(row[0], row[1], row[2], row[3]) for row in table.rows] == [("face", 0.2, 4, 12), ("hair", 0.1, 4, 12)]
    assert [row[10:] for row in table.rows] == [[0, 0], [1, 0]] and "made-up faces" in table.note


def test_scores_tell_the_loss_from_the_metric(study):
    rows = {row[1]: row for row in conditions.metric_table({"mine": study}).rows}
    assert rows["IoU at 0.5"][4] == pytest.approx(0.05, abs=1e-3) and rows["IoU′ (no threshold)"][4] == pytest.approx(
        0.24, abs=1e-3
    )
    assert conditions.mixed_model([study]).effect.difference == pytest.approx(0.05, abs=1e-3)


def test_each_loss_is_compared_at_its_own_best_rate(rates):
    table = {row[1]: row for row in conditions.best_rates_table(rates).rows}
    assert table["IoU"][:6] == ["all runs", "IoU", 2, 0.001, 2, pytest.approx(0.7)]
    assert table["BCE"][2:6] == [2, 0.0005, 2, pytest.approx(0.6)]
    assert table["IoU"][8] == pytest.approx(0.05, abs=1e-3) and table["BCE"][8:] == [None] * 4
    assert set(conditions.tables("rates", rates)) == {"conditions", "scores", "best-rates"}  # two losses


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
    rows = conditions.tables("study", read_study(tmp_path / "study"))["best-rates"].rows
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
        conditions.best_rates_table(study)
    assert "best-rates" not in conditions.tables("study", study)


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
    assert conditions.losses_table(study).rows == []
    assert [row[3] for row in conditions.metric_table({"mine": study}).rows] == [2 * 4] * len(conditions.SCORES)
    rows = conditions.conditions_table(study).rows
    assert [row[0] for row in rows] == ["BFCN-32s", "FCResNet"] and rows[0][6] == pytest.approx(0.05, abs=1e-3)


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
        conditions.losses_table(read_study(old), "iou_tuned")


def test_the_study_with_more_finished_runs_is_read(study, tmp_path, monkeypatch):
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", str(tmp_path / "outputs"))
    begun, published = tmp_path / "outputs" / "losses", tmp_path / "outputs" / "published" / "losses"
    shutil.copytree(study.folder, published)
    shutil.copytree(next(iter(study.values())).folder, begun / next(iter(study)))
    assert conditions.read()["losses"].folder == published
    shutil.copytree(study.folder, begun, dirs_exist_ok=True)
    assert conditions.read()["losses"].folder == begun  # as many: one's own


def test_the_report_of_such_a_study_is_the_notebook_beyond(study):
    text = report.write(study.folder)
    assert "beyond.ipynb" in text and (study.folder / "tables" / "losses.csv").is_file()
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    assert "Loss or metric?" in page and "Every loss against BCE" in page and "<script" not in page


def test_the_overview_counts_what_is_there(study):
    (row,) = conditions.overview_table({"losses": study}).rows
    assert row == ["losses", 24, len(configurations("losses")), 2, 3, 4, 0, 1, study.folder.parent.name]
    assert conditions.overview_table({"made-up": study}).rows[0][2] is None


def test_one_seed_gives_differences_without_intervals_and_says_why(study, tmp_path):
    for run in study.values():
        if run.record["seed"] == 0:
            shutil.copytree(run.folder, tmp_path / "single" / run.run_id)
    single = read_study(tmp_path / "single")
    for table in conditions.tables("single", single).values():
        assert table.rows and "--seeds 5" in table.note
    rows = {row[1]: row for row in conditions.losses_table(single).rows[:3]}
    assert rows["IoU"][4] == pytest.approx(0.05, abs=1e-3) and np.isnan(rows["IoU"][5]) and rows["IoU"][8] is None
    target = tmp_path / "beyond.ipynb"
    report._execute(single.folder, target)
    outputs = json.dumps([cell["outputs"] for cell in json.loads(target.read_text())["cells"] if "outputs" in cell])
    assert "Warning" not in outputs and "--seeds 5" in outputs and "No mixed model" in outputs


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
            conditions.losses_table,
            conditions.conditions_table,
            lambda each: conditions.metric_table({"": each}),
        ):
            with pytest.raises(
                InputError, match="was tested on other images than .* cannot be compared image by image"
            ):
                table(changed)


def test_a_second_run_of_a_condition_loss_and_seed_is_refused(study, tmp_path):
    shutil.copytree(study.folder, tmp_path / "twice")
    first = next(iter(study.values()))
    again = tmp_path / "twice" / f"{first.run_id}-again"
    shutil.copytree(first.folder, again)
    content = first.record | {"run_id": again.name, "params": first.record["params"] | {"tag": f"{first.tag}-again"}}
    (again / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="have the same condition, loss and seed 0; keep one of them"):
        conditions.conditions(read_study(tmp_path / "twice"))


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
        "best-rates": conditions.best_rates_table(theirs),
        "conditions": conditions.conditions_table(theirs),
        "losses": conditions.losses_table(theirs),
        "implied": stopping.implied_table(theirs),
        "overview": conditions.overview_table({"theirs": theirs}),
    }
    assert words in made[table].note
    for each in made.values():
        each._repr_html_(), str(each), each.frame()
    stopping.sentence(theirs), stopping.intervals(theirs), conditions.mixed_model([theirs])
