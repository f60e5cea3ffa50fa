"""lib/analysis/stopping.py: the plan's decision by hand, tables of made-up runs."""

import shutil

import numpy as np
import pytest
from made_up_study import record as made_up_record

from lib import record
from lib.analysis import stopping
from lib.analysis.stats import Effect
from lib.config import CELLS
from lib.outputs import read_study

PEOPLE = ["Ann_Lee_0001", "Bo_0001", "Cy_0001", "Di_0001"]


def write(folder, cell, loss, seed, iou, **changes):
    """A run whose test images have the IoU `iou` by all rules, 0.02 more by the lowest loss after IoU loss."""
    made = made_up_record(cell, loss)
    tag = f"seed{seed}"
    made["params"] |= {"seed": seed, "tag": tag, "epochs": 10}
    made |= {"run_id": f"{made['run_id']}-{tag}", "seed": seed, **changes}
    iou = np.asarray(iou)
    per_image = {"id": PEOPLE, "accuracy": [0.9] * 4, "iou": iou, "iou_soft": iou - (0.05 if loss == "bce" else 0)}
    per_image |= {"tp": [1] * 4, "fp": [0] * 4, "fn": [1] * 4, "tn": [2] * 4}
    for rule, more in (("best_loss", 0.02), ("last", 0.0)):
        per_image |= {f"iou_{rule}": iou + more * (loss == "iou"), f"iou_soft_{rule}": iou}
    (folder / made["run_id"]).mkdir(parents=True)
    record.write(folder / made["run_id"], made, {"epoch": [1]}, per_image, np.zeros((4, 2, 2), "uint8"))


@pytest.fixture
def folder(tmp_path):
    """Three seeds of a cell, a single one of another; IoU loss is ahead by about 0.012."""
    rng = np.random.default_rng(0)
    for cell, seeds in ((CELLS[0], 3), (CELLS[1], 1)):
        for seed in range(seeds):
            base = 0.7 + rng.normal(0, 0.02, 4)
            write(tmp_path / "photographs", cell, "bce", seed, base)
            write(tmp_path / "photographs", cell, "iou", seed, base + 0.012 + rng.normal(0, 0.0005, 4))
    return tmp_path / "photographs"


def effect(low, high):
    return Effect((low + high) / 2, low, high, 0.01, 8, "seeds and people")


@pytest.mark.parametrize(
    "ends, wide, said",
    [
        ((0.011, 0.030), (0.012, 0.029), "masks gain"),
        ((0.0101, 0.0149), (0.011, 0.014), "masks gain, the paper's gain is not one of masks"),
        ((0.009, 0.030), (0.010, 0.029), "undecided"),
        ((0.0058, 0.0100), (0.0062, 0.0096), "the paper's gain is not one of masks"),
        ((-0.006, 0.0055), (-0.0049, 0.0049), "the paper's gain is not one of masks, equivalent"),
        ((-0.02, 0.016), (-0.018, 0.015), "undecided"),
        ((np.nan, np.nan), (np.nan, np.nan), "not decided: one seed"),
    ],
)
def test_the_decision_is_the_plans(ends, wide, said):
    assert stopping.decision(effect(*ends), effect(*wide)) == said


def test_rules_stand_side_by_side_on_the_seeds_that_all_conditions_have(folder):
    table = stopping.stopping_table(read_study(folder)).frame()
    assert set(table.conditions) == {2} and set(table.seeds) == {1}  # the second cell has one seed alone
    masks = table[table.score == "IoU at 0.5"].set_index("weights")
    assert masks["difference"].tolist() == pytest.approx([0.012, 0.032, 0.012], abs=0.001)
    assert masks["decision"].tolist()[:2] == ["not decided: one seed"] * 2 and masks["decision"].isna().iloc[2]


def test_a_decision_has_holms_p_and_is_withheld_where_runs_met_the_limit(folder):
    study = read_study(folder)
    only = type(study)(study.folder, {name: run for name, run in study.items() if "big" in name}, [])
    masks = stopping.stopping_table(only).frame().query("score == 'IoU at 0.5'").set_index("weights")
    assert masks["decision"].tolist()[:2] == ["masks gain, the paper's gain is not one of masks", "masks gain"]
    p, adjusted = masks["p"].iloc[:2], masks["p (Holm)"].iloc[:2]
    assert adjusted.min() == pytest.approx(2 * p.min()) and adjusted.max() == pytest.approx(max(2 * p.min(), p.max()))
    write(folder, CELLS[0], "bce", 7, [0.7] * 4, epochs_run=10)
    write(folder, CELLS[0], "iou", 7, [0.71] * 4)
    study = read_study(folder)
    only = type(study)(study.folder, {name: run for name, run in study.items() if "big" in name}, [])
    table = stopping.stopping_table(only)
    assert table.frame()["decision"].tolist()[:2] == ["not answered"] * 2 and "(1 of 8 did)" in table.note


def test_a_study_without_a_plan_is_not_decided(folder):
    table = stopping.stopping_table(read_study(folder.rename(folder.with_name("mine"))))
    assert table.frame()["decision"].isna().all() and "Decision" not in table.note


def test_conditions_without_a_seed_in_common_have_no_table(folder):
    for loss in ("iou", "bce"):
        shutil.rmtree(folder / f"{CELLS[1].run_id(loss)}-seed0")
        write(folder, CELLS[1], loss, 9, [0.7] * 4)
    assert not stopping.has_rules(read_study(folder)) and not stopping.tables(read_study(folder))


def test_implied_iou_tells_the_metric(folder):
    """Accuracy 0.9 at a share of 0.5: 45 of 55. IoU′ is 0.05 below IoU after BCE."""
    table = stopping.implied_table(read_study(folder)).frame()
    assert table["implied IoU"].tolist() == pytest.approx([0.45 / 0.55] * 4)
    gap = table["IoU at 0.5 minus implied"] - table["IoU′ minus implied"]
    assert gap.tolist() == pytest.approx([0, 0.05, 0, 0.05])
    assert set(table["IoU′ as predicted"]) == {"no"}  # these made-up IoUs are 0.1 below what the accuracy implies


def test_runs_without_the_rules_have_no_such_tables(folder):
    study = read_study(folder)
    assert stopping.has_rules(study) and set(stopping.tables(study)) == {"stopping", "implied"}
    for name in study:
        path = folder / name / "per_image.csv"
        path.write_text(path.read_text().replace("iou_last", "something_else"))
    assert not stopping.has_rules(read_study(folder)) and not stopping.tables(read_study(folder))
