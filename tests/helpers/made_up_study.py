"""Writes a study folder as the batch leaves it, with made-up scores: for tests of what reads it."""

import csv
import json

import numpy as np

from lib import config
from lib.analysis import paper
from lib.config import Cell
from lib.outputs import read_study

# Two test images of 4 pixels: one positive found and one missed; two positives found and a false one.
PER_IMAGE = [
    {"id": "Ann_0001", "accuracy": 0.75, "iou": 0.5, "iou_soft": 0.4, "tp": 1, "fp": 0, "fn": 1, "tn": 2},
    {"id": "Bob_0001", "accuracy": 0.75, "iou": 2 / 3, "iou_soft": 0.1, "tp": 2, "fp": 1, "fn": 0, "tn": 1},
]
SCORES = {"accuracy": 0.75, "iou": 7 / 12, "iou_pooled": 0.6, "iou_soft": 0.25}
# Their pictures, and labels that are 0 for background, 1 for face, 2 for hair.
IMAGES = np.arange(24, dtype="uint8").reshape(2, 2, 2, 3)
LABELS = np.array([[[1, 2], [0, 0]], [[0, 1], [1, 0]]], "uint8")


def record(cell: Cell, loss: str, scores: dict = SCORES, epochs_run: int = 3, **data) -> dict:
    return {
        "run_id": cell.run_id(loss),
        "params": {**cell._asdict(), "loss": loss, "seed": 7, "image_size": 2},
        "scores": dict(scores),
        "epochs_run": epochs_run,
        "best_epoch": 2,
        "seconds": {"train": 1.5},
        "versions": {"keras": "3"},
        "seed": 7,
        "key": "0a1b",
        "format": 1,
        "data": {
            "source": "made up",
            "note": "made-up faces.",
            "scaled": False,
            "counts": {"train": 6, "validation": 2, "test": 2},
            "digest": "ff",
            "positive_share": 0.5,
            **data,
        },
    }


def write_run(study, cell: Cell, loss: str, **changes) -> None:
    """Writes one finished run; `changes` go to `record`."""
    folder = study / cell.run_id(loss)
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch,loss,val_loss,val_iou\n1,0.9,0.8,0.3\n2,0.7,0.6,0.5\n3,0.6,,0.4\n")
    with open(folder / "per_image.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, PER_IMAGE[0])
        writer.writeheader()
        writer.writerows(PER_IMAGE)
    probabilities = np.arange(8, dtype="uint8").reshape(2, 2, 2)
    np.savez_compressed(
        folder / "probabilities.npz", probabilities=probabilities, ids=[image["id"] for image in PER_IMAGE]
    )
    (folder / "record.json").write_text(json.dumps(record(cell, loss, **changes)))


def write_paper_study(study, cells=config.CELLS) -> None:
    """Writes both runs of `cells` with the paper's scores and epochs; IoU′ is 0.01 (IoU loss), 0.05 (BCE) lower."""
    for cell in cells:
        row = paper.ROWS[config.CELLS.index(cell)]
        for i, loss in enumerate(paper.LOSSES):
            accuracy, iou, epochs = row[i::2]
            write_run(
                study,
                cell,
                loss,
                epochs_run=epochs,
                scores=SCORES | {"accuracy": accuracy, "iou": iou, "iou_soft": iou - (0.01, 0.05)[i]},
            )


def study_of(folder, *scores):
    """A study with a cell for each (IoU loss, BCE) pair of IoU scores and pair of IoU′ scores."""
    for cell, (iou, soft) in zip(config.CELLS, scores):
        for i, loss in enumerate(paper.LOSSES):
            write_run(folder, cell, loss, scores=SCORES | {"iou": iou[i], "iou_soft": soft[i]})
    return read_study(folder)
