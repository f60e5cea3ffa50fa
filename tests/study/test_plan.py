"""lib/study/plan.py: how runs stand, and how long the rest will take."""

import json
from dataclasses import replace

import pytest
from tiny_runs import RUN, cli, tiny

from lib.study import plan


def test_plan_of_the_paper_needs_no_data(tmp_path):
    planned = cli("plan", "--profile", "paper", "--data", tmp_path, "--out", tmp_path / "out")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count(" waiting") == 32 and "32 of 32 runs to do, roughly" in planned.stdout


@pytest.mark.parametrize("change, part", [({"seed": 1}, "parameters"), ({"synthetic_images": 15}, "data")])
def test_other_parameters_or_data_make_a_run_stale(recorded, change, part):
    folder, configs = recorded
    planned = plan.state(replace(configs[0], **change), folder)
    assert planned.state == "stale" and part in planned.detail and "code" not in planned.detail


def test_an_estimate_takes_the_images_that_records_tell():
    """HELEN's place may be taken by fewer faces: 300 of them do not make LFW's images cheap."""
    lfw, helen = (replace(tiny(RUN + "iou")[0], dataset=name, data="/real") for name in ("lfw", "helen"))
    waiting = plan.Planned(lfw, "waiting")
    few, all_of_it = (
        plan.estimate([plan.Planned(helen, "done", "", 600.0, images), waiting], 1) for images in (300, None)
    )
    assert few != all_of_it
    seconds = 600 * plan.operations(lfw) / plan.operations(helen, 300) + 10  # of start-up
    assert seconds > 3600 and f"roughly {plan.duration(seconds)} with" in few


def test_networks_that_encode_every_time_are_estimated_higher():
    work = {
        model: plan.operations(replace(tiny(RUN + "iou")[0], model=model)) for model in ("bfcn32s", "fcn8s", "unet")
    }
    assert work["bfcn32s"] < work["fcn8s"] < work["unet"]


def test_status_shows_the_epoch_of_a_run_at_work(tmp_path):
    """By hand: a notebook as papermill saves it in the middle of a training."""

    def cell(status, *shown):
        return {
            "cell_type": "code",
            "metadata": {"papermill": {"status": status}},
            "outputs": [{"data": {"text/markdown": [text]}} for text in shown],
        }

    cells = [
        {"cell_type": "markdown", "metadata": {}},
        cell("completed", "200 images"),
        cell("running", "training starts", "epoch 4: loss 0.31,\nvalidation IoU 0.9"),
        cell("pending"),
    ]
    notebook = tmp_path / "train.ipynb"
    assert plan.progress(notebook) == ""
    text = json.dumps({"cells": cells})
    notebook.write_text(text)
    assert plan.progress(notebook) == ", cell 2, epoch 4: loss 0.31, validation IoU 0.9"
    notebook.write_text(text[:-5])
    assert plan.progress(notebook) == ""
