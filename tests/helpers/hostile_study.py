"""A study from a stranger in which every string is hostile, and faces with such names."""

import json

import numpy as np
from made_up_study import IMAGES, LABELS, write_run
from official_files import lfw_files

from lib import config, outputs, packs

FIRES = "<img src=x onerror=window.fired=1>"  # also a name of files
TEXT = (
    f"{FIRES} <script>window.fired=1</script> [here](javascript:window.fired=1) `a` ``b` **c** _d_ | $\\frac$ \\(e\\)"
)
NAME = f"{FIRES} $x$ `run` #2 a?b 50%25 x"
NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
IDS = (f"{FIRES} $\\frac_0001", "`a` **b** $x$ [c](javascript:window.fired=1)_0002")


def write_hostile_study(study, cells=config.CELLS[:2]) -> None:
    """Pairs of runs with their maps and pictures, failed runs, and folders and files with such names."""
    for cell in cells:
        for loss in config.PAPER["loss"]:
            write_run(
                study, cell, loss, note=TEXT, source=TEXT, scaled=True, counts={"train": 6, "validation": 2, TEXT: 2}
            )
            folder = study / cell.run_id(loss)
            record = json.loads((folder / "record.json").read_text())
            record["params"] |= {"image_size": 32, "encoder_weights": TEXT, "data": TEXT}
            record["params"] |= {"epochs": 3, "learning_rate": 0.1}
            record["scores"] |= {TEXT: 0.5}
            record["seconds"] |= {TEXT: 1.0}
            record["versions"] |= {TEXT: TEXT}
            record |= {"key": TEXT, "key_parts": {TEXT: TEXT}, TEXT: TEXT}
            (folder / "record.json").write_text(json.dumps(record))
            table = (folder / "per_image.csv").read_text()
            for old, new in zip(("Ann_0001", "Bob_0001"), IDS):
                table = table.replace(old, new)
            (folder / "per_image.csv").write_text(table)
            history = (folder / "history.csv").read_text().splitlines()
            rows = [history[0] + f",{FIRES}", *(row + ",1" for row in history[1:])]
            (folder / "history.csv").write_text("\n".join(rows) + "\n")
            maps = np.arange(8, dtype="uint8").reshape(2, 2, 2)
            np.savez_compressed(folder / "probabilities.npz", probabilities=maps, ids=IDS)
            (folder / "train.ipynb").write_text(NOTEBOOK)
    (study / FIRES).mkdir()
    (study / ".failed" / FIRES).mkdir(parents=True)
    (study / ".failed" / FIRES / "error.txt").write_text(TEXT + "\x1b[2J")
    (study / ".failed" / FIRES / "train.ipynb").write_text(NOTEBOOK)
    (study / ".running" / f"{FIRES}-0123abcd").mkdir(parents=True)
    (study / outputs.PICTURES).mkdir()
    np.savez_compressed(
        study / outputs.PICTURES / "lfw.npz", images=packs.differences(IMAGES), labels=LABELS, ids=IDS, digest="ff"
    )


def hostile_faces() -> dict[str, bytes]:
    """Files of LFW's folders whose people have such names."""
    return lfw_files([f"{FIRES} $\\frac{{x}}_{row:04d}" for row in range(1, 7)], side=32)
