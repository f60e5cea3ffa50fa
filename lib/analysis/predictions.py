"""Predictions of a study: images of the test part, and scores of a run at every threshold.

Everything here is numpy; `view.inspector` shows it. Levels are those of `beyond.scores`: the level of a threshold t is
the integer part of 255 t.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lib import InputError, markdown, packs, record
from lib.analysis import pairs
from lib.beyond.scores import histograms, iou_at_levels
from lib.config import Config, recorded
from lib.data import datasets
from lib.outputs import PICTURES, Study
from lib.record import Run


def test_pictures(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The run's test part, read again: images (n, s, s, 3) uint8 RGB, true masks (n, s, s) uint8, 0 or 1.

    A published study has them (`pictures/<data set>.npz`); otherwise they are read from the data.

    Raises:
        InputError: if the data are missing, or are not those of the run any more.
    """
    try:
        config = recorded(run.record["params"])
    except InputError as error:
        raise InputError(f"{run.folder / 'record.json'}: {error}") from error
    images, labels, ids, digest = _published(run, config) or read_pictures(run, config)
    if digest != run.record["data"].get("digest") or list(ids) != run.per_image["id"].tolist():
        raise _others(run, config)
    return images, datasets.binary_masks(labels, config.hair, config.part)


def read_pictures(run: Run, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Images, labels and ids of a run's test part, and the digest of its data, read or drawn again.

    First of all the digest is compared, and the size with that of the run's maps: a record from a stranger may ask for
    any number of faces at any size.

    Raises:
        InputError: the data are missing, or are not those of the run any more.
    """
    if datasets.digest(**config.dataset_arguments()) != run.record["data"].get("digest"):
        raise _others(run, config)
    if run.has_maps and run.probabilities()[0].shape[1:] != (config.image_size, config.image_size):
        raise InputError(f"{run.folder}: its maps are not of {config.image_size} pixels a side; run it again")
    dataset = datasets.load(image_size=config.image_size, **config.dataset_arguments())
    test = dataset.split(**config.split_arguments()).test
    return dataset.images[test], dataset.labels[test], np.array(dataset.ids)[test], dataset.digest


def _others(run, config):
    return InputError(
        f"{run.run_id}: parameter data ({config.data!r}) now gives other pictures than those "
        "of the run; restore them or run it again"
    )


def _published(run, config):
    """The pictures that `study.publish` wrote for the run's data set, or None."""
    path = run.folder.parent / PICTURES / f"{config.dataset}.npz"
    if not path.is_file():
        return None
    images, labels, ids, digest = record.read_arrays(path, "images", "labels", "ids", "digest")
    shape = (len(run.per_image["id"]), *images.shape[1:3])
    if (images.shape, images.dtype, labels.shape, labels.dtype, ids.shape) != (
        (*shape, 3),
        np.uint8,
        shape,
        np.uint8,
        shape[:1],
    ):
        raise InputError(f"{path}: its pictures are not those of {run.run_id}; get the study again")
    return packs.undone(images), labels, ids.tolist(), str(digest)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A run's predictions against the labels: `masks` and `probabilities` are (n, s, s) uint8, 0/1 and 255 P."""

    run: Run
    masks: np.ndarray
    probabilities: np.ndarray

    @cached_property
    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """IoU and accuracy of each image at every level k: two (n, 256) float32, k along the second axis."""
        negative, positive = histograms(self.masks, self.probabilities)
        right = negative.cumsum(1) + positive.sum(1, keepdims=True) - positive.cumsum(1)
        iou = iou_at_levels(self.masks, self.probabilities)
        return iou.astype("float32"), (right / self.masks[0].size).astype("float32")


def evaluate(run: Run, masks: np.ndarray) -> Evaluation:
    """The run's stored probability maps with its labels. Raises InputError if they do not match."""
    probabilities, ids = run.probabilities()
    if probabilities.shape != masks.shape or ids.tolist() != run.per_image["id"].tolist():
        raise InputError(
            f"{run.folder / 'probabilities.npz'}: its maps are not those of the test part; "
            "run it again with `python -m lib.study run`"
        )
    return Evaluation(run, masks, probabilities)


def comparable(study: Study, run: Run) -> list[Run]:
    """The other runs of a study that were tested on the same images with the same labels, the paired loss first."""

    def task(other):
        about = other.record["data"]
        return (
            other.cell.dataset,
            other.cell.hair,
            about.get("digest"),
            about["counts"].get("test"),
            other.record["params"].get("image_size"),
            other.record["params"].get("part", ""),
            other.record["seed"] if other.record["params"].get("split") == "random" else None,  # images of its own
        )

    others = [other for other in study.values() if other is not run and task(other) == task(run)]
    return sorted(others, key=lambda other: other.cell != run.cell)


def largest_disagreement(study: Study) -> tuple[Run, Run, str]:
    """The pair of runs and the image with the largest difference in IoU at 0.5: (IoU loss, BCE loss, image id).

    Raises:
        InputError: if no pair of runs is finished.
    """
    found = []
    for _, iou, bce in pairs.pairs(study):
        if iou.per_image["id"].tolist() == bce.per_image["id"].tolist():
            differences = np.abs(iou.per_image["iou"] - bce.per_image["iou"])
            worst = int(differences.argmax())
            found.append((differences[worst], iou, bce, str(iou.per_image["id"][worst])))
    if not found:
        raise InputError(
            f"{study.folder}: no pair of IoU loss and BCE loss is finished; run the study with "
            "`python -m lib.study run`"
        )
    return max(found, key=lambda candidate: candidate[0])[1:]


def example_pictures(iou: Run, bce: Run) -> tuple[tuple[np.ndarray, np.ndarray] | None, int, str]:
    """The test image to show for a pair of runs: the one of median IoU after BCE loss (the lower of two).

    Returns:
        (the result of `test_pictures`, or None if the data are not available; the image's index in the test part; a
        sentence in Markdown if they are not available, else "").
    Raises:
        InputError: if the two runs were tested on different images.
    """
    if iou.per_image["id"].tolist() != bce.per_image["id"].tolist():
        raise InputError(f"{iou.folder} and {bce.folder.name}: were tested on different images; run both again")
    scores = bce.per_image["iou"]
    chosen = int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])
    try:
        return test_pictures(bce), chosen, ""
    except InputError as error:
        note = (
            f"The picture of {markdown(bce.per_image['id'][chosen])} cannot be shown ({markdown(error)}). Left after "
            "IoU loss, right after BCE loss; above the masks, below the probabilities."
        )
        return None, chosen, note
