"""Runs of several losses and seeds with known effects, for the tests of comparisons."""

import csv
import json

import numpy as np

from lib import record
from lib.analysis import comparisons
from lib.config import resolve

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
        for name in comparisons.SCORES
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
