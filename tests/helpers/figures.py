"""Every figure, drawn of small made-up values, and what tests ask of one."""

import numpy as np

from lib import config
from lib.view import pictures, plots

# Two images of 2x2 pixels.
IMAGES = np.full((2, 2, 2, 3), 100, "uint8")
LABELS = np.array([[[0, 1], [2, 0]], [[1, 1], [0, 2]]], "uint8")
MASKS = LABELS == 1
PROBABILITIES = np.array([[[0, 255], [128, 127]], [[255, 0], [0, 0]]], "uint8")
CELLS = config.CELLS[3:5]  # the last on LFW and the first on HELEN
HISTORY = {"epoch": [1, 2, 3], "loss": [3, 2, 1], "val_loss": [4, 3, np.nan], "val_iou": [0.1, 0.3, 0.2]}
FIGURES = {
    "samples": lambda: pictures.samples(IMAGES, LABELS, LABELS > 0, MASKS, ["Ann_0001", "Bob_0001"]),
    "learning_curves": lambda: plots.learning_curves(HISTORY, 2),
    "masks": lambda: pictures.masks(IMAGES, MASKS, PROBABILITIES, ["best", "worst"]),
    "example_outputs": lambda: pictures.example_outputs(
        IMAGES[0],
        MASKS[0],
        PROBABILITIES[0],
        PROBABILITIES[0] / 255,
        "Ann_0001",
        {"iou": 0.5, "iou_soft": 0.25},
        {"iou": 0.75, "iou_soft": 0.125},
    ),
    "paired_scores": lambda: plots.paired_scores(CELLS, np.array([[0.8, 0.7], [0.6, 0.65]]), "IoU at 0.5"),
    "difference_intervals": lambda: plots.difference_intervals(
        [("IoU", 0.1, 0.05, 0.15), ("accuracy", -0.1, np.nan, np.nan)]
    ),
    "iou_accuracy_bounds": lambda: plots.iou_accuracy_bounds(
        [(0.9, 0.6, "possible", "iou"), (0.95, 0.3, "impossible", "bce")], 0.25, "LFW"
    ),
    "paired_per_image": lambda: plots.paired_per_image([0.5, 0.9, 0.7], [0.4, 0.95, 0.7]),
    "convergence": lambda: plots.convergence({"iou": (HISTORY, 2), "bce": (HISTORY, 3)}),
    "distributions": lambda: plots.distributions([0.5, 0.9, 0.7], [0.4, 0.95, 0.7]),
    "reliability": lambda: plots.reliability(
        {"iou": ([0.1, 0.9], [0.2, 0.8], [30, 10]), "bce": ([0.1, np.nan], [0.1, np.nan], [40, 0])}
    ),
    "summary": lambda: plots.summary({"iou": [0.01, -0.01], "iou_soft": [0.02, 0.04]}, {"iou": [0.03, 0.05]}),
}


def shown(ax):
    return [np.asarray(image.get_array()) for image in ax.get_images()]


def offsets(ax):
    """The points of each scatter of `ax`."""
    return [
        np.asarray(collection.get_offsets()).tolist()
        for collection in ax.collections
        if len(collection.get_sizes() if hasattr(collection, "get_sizes") else [])
    ]


def legend(figure_or_ax):
    legends = getattr(figure_or_ax, "legends", None) or [figure_or_ax.get_legend()]
    return [text.get_text() for text in legends[0].get_texts()]
