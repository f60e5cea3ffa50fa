"""lib/analysis/predictions.py: scores at every threshold against the metrics' own, which runs compare."""

import numpy as np
import pytest
from made_up_study import study_of, write_paper_study, write_run

from lib import InputError, config, metrics, outputs
from lib.analysis import paper, predictions
from lib.analysis.predictions import Evaluation
from lib.data import datasets


@pytest.fixture(scope="module")
def evaluation():
    """Three images of random pixels, the second with an empty label, the third with no positive pixel at all."""
    random = np.random.default_rng(0)
    probabilities = random.integers(0, 256, (3, 16, 16)).astype("uint8")
    masks = (random.random((3, 16, 16)) < 0.3).astype("uint8")
    masks[1:] = 0
    probabilities[2] = 0
    return Evaluation(None, masks, probabilities)


@pytest.mark.parametrize("k", [0, 1, 100, 127, 254, 255])
def test_curves_are_the_metrics_at_each_threshold(evaluation, k):
    iou, accuracy = evaluation.curves
    counts = metrics.confusion(evaluation.masks, evaluation.probabilities > k)
    np.testing.assert_allclose(iou[:, k], counts.iou, rtol=1e-6)
    np.testing.assert_allclose(accuracy[:, k], counts.accuracy, rtol=1e-6)


def test_empty_labels(evaluation):
    iou, _ = evaluation.curves
    assert (iou[2] == 1).all()  # nothing there, nothing found
    assert iou[1, 0] == 0 and iou[1, 255] == 1


def test_the_level_of_one_half_is_that_of_the_records(evaluation):
    probabilities = np.random.default_rng(1).random((3, 16, 16))
    quantised = Evaluation(None, evaluation.masks, metrics.quantise(probabilities))
    np.testing.assert_allclose(
        quantised.curves[0][:, 127], metrics.confusion(evaluation.masks, probabilities > 0.5).iou, rtol=1e-6
    )


def test_maps_of_other_images_are_refused(tmp_path):
    write_run(tmp_path, config.CELLS[0], "iou")
    run = outputs.read_study(tmp_path)[config.CELLS[0].run_id("iou")]
    assert predictions.evaluate(run, np.zeros((2, 2, 2), "uint8")).probabilities.shape == (2, 2, 2)
    with pytest.raises(InputError, match="its maps are not those of the test part"):
        predictions.evaluate(run, np.zeros((3, 2, 2), "uint8"))


def test_runs_compare_that_saw_the_same_images_and_labels(tmp_path):
    write_paper_study(tmp_path)
    study = outputs.read_study(tmp_path)
    run = study["bfcn32s-lfw-big-nohair-iou"]
    others = [other.run_id for other in predictions.comparable(study, run)]
    assert others[0] == "bfcn32s-lfw-big-nohair-bce" and len(others) == 7
    assert all("-lfw-" in other and "-nohair-" in other for other in others)


def test_the_largest_disagreement_is_found(tmp_path):
    for cell in config.CELLS[:2]:
        for loss in paper.LOSSES:
            write_run(tmp_path, cell, loss)
    table = tmp_path / config.CELLS[1].run_id("bce") / "per_image.csv"
    table.write_text(table.read_text().replace("Bob_0001,0.75,0.6", "Bob_0001,0.75,0.1"))
    first, second, image = predictions.largest_disagreement(outputs.read_study(tmp_path))
    assert (first.run_id, second.run_id, image) == (*map(config.CELLS[1].run_id, paper.LOSSES), "Bob_0001")


def test_no_pair_no_disagreement(tmp_path):
    write_run(tmp_path, config.CELLS[0], "iou")
    with pytest.raises(InputError, match="no pair of IoU loss and BCE loss is finished"):
        predictions.largest_disagreement(outputs.read_study(tmp_path))


def test_example_is_the_median_and_copes_without_pictures(tmp_path):
    study = study_of(tmp_path, ((0.9, 0.8), (0.9, 0.8)))
    found, chosen, note = predictions.example_pictures(*(study[config.CELLS[0].run_id(loss)] for loss in paper.LOSSES))
    assert found is None and chosen == 0 and "cannot be shown" in note and "Ann_0001" in note


@pytest.mark.parametrize(
    "params, digest, words",
    [
        ({"synthetic_images": 20_000, "image_size": 512}, "ff", "now gives other pictures than those of the run"),
        ({"synthetic_images": 10, "image_size": 8192}, "its own", "its maps are not of 8192 pixels a side"),
    ],
    ids=["20,000 faces", "8192 pixels"],
)
def test_pictures_that_cannot_be_those_of_the_run_are_not_drawn(tmp_path, monkeypatch, params, digest, words):
    write_run(tmp_path, config.CELLS[0], "iou")
    run = outputs.read_study(tmp_path)[config.CELLS[0].run_id("iou")]
    run.record["params"] |= {"data": "synthetic", **params}
    own = datasets.digest(**config.recorded(run.record["params"]).dataset_arguments())
    run.record["data"]["digest"] = own if digest == "its own" else digest
    monkeypatch.setattr(datasets, "load", lambda **_: pytest.fail("they were drawn"))
    with pytest.raises(InputError, match=words):
        predictions.test_pictures(run)
