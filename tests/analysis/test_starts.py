"""lib/analysis/starts.py: both starts of the score layer side by side, on seeds that have both."""

import numpy as np
import pytest
from made_up_study import record as made_up_record

from lib import record
from lib.analysis import starts
from lib.config import CELLS
from lib.outputs import read_study


@pytest.fixture
def study(tmp_path):
    """Both losses and starts, two seeds (of glorot three); after glorot IoU is 0.1 lower, IoU loss collapsed once."""
    for loss in ("iou", "bce"):
        for start in starts.STARTS:
            for seed in range(2 + (start == "glorot")):
                made = made_up_record(CELLS[0], loss)
                tag = f"score_start={start}-seed{seed}"
                made["params"] |= {"score_start": start, "seed": seed, "tag": tag, "learning_rate": 0.001}
                made |= {"run_id": f"{made['run_id']}-{tag}", "seed": seed}
                dead = 0.25 + 0.5 * (start == "glorot")
                made["dead_units"] = {"first_epoch": {"fc6": dead}, "best_epoch": {"fc6": 0.5}}
                collapsed = start == "glorot" and loss == "iou" and seed == 1
                iou = np.array([0.6, 0.7]) - 0.1 * (start == "glorot")
                counts = dict.fromkeys(("fn", "tn"), np.array([0, 0])) if collapsed else {"fn": [1, 1], "tn": [1, 1]}
                folder = tmp_path / "study" / made["run_id"]
                folder.mkdir(parents=True)
                per_image = {
                    "id": ["Ann_Lee_0001", "Bo_0001"],
                    "accuracy": iou,
                    "iou": iou,
                    "iou_soft": iou,
                    "tp": [1, 1],
                    "fp": [1, 1],
                    **counts,
                }
                history = {"epoch": [1, 2], "val_iou": [0.3 - 0.1 * (start == "glorot"), 0.5]}
                record.write(folder, made, history, per_image, np.zeros((2, 2, 2), "uint8"))
    return read_study(tmp_path / "study")


def test_both_starts_stand_side_by_side(study):
    table = starts.starts_table(study).frame().set_index("loss")
    assert len(table) == 2 and set(table.seeds) == {2}
    assert table["difference"].tolist() == pytest.approx([0.1, 0.1])
    assert table.loc["IoU", ["collapsed: zeros", "collapsed: glorot"]].tolist() == [0, 1]
    assert table.loc["BCE", ["collapsed: zeros", "collapsed: glorot"]].tolist() == [0, 0]
    assert table.loc["BCE", ["dead after epoch 1: zeros", "dead after epoch 1: glorot"]].tolist() == [0.25, 0.75]
    first = [f"validation IoU after epoch 1: {start}" for start in starts.STARTS]
    assert table.loc["BCE", first].tolist() == pytest.approx([0.3, 0.2])


def test_a_study_of_one_start_has_none(study):
    only = type(study)(study.folder, {name: run for name, run in study.items() if "zeros" in name}, [])
    assert starts.has_both(study) and not starts.has_both(only)
