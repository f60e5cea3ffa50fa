"""The paper's tables as data, and its 16 cells, which this study repeats.

F. van Beers, A. Lindström, E. Okafor and M. A. Wiering, "Deep Neural Networks with Intersection over Union
Loss for Binary Image Segmentation", 2019.
"""

import numpy as np

from lib import InputError
from lib.analysis import names
from lib.config import PAPER

MODELS = {model: names.NETWORKS[model] for model in PAPER["model"]}
DATASETS = {dataset: names.DATASETS[dataset] for dataset in PAPER["dataset"]}
LOSSES = {"iou": "L_IoU", "bce": "L_BCE"}

# Table 1 and section 3: training, validation and test images, the same with and without hair.
SPLITS = {
    ("lfw", "big"): (2342, 292, 292),
    ("lfw", "small"): (1000, 100, 292),
    ("helen", "big"): (1864, 233, 233),
    ("helen", "small"): (1000, 100, 233),
}

# Share of positive pixels in the LFW test part, by "with hair?": counted over all pixels of the part labels,
# at their own 250x250, of the last 292 of the 2927 images in sorted file order (0.2116 and 0.3053; the same
# at 224x224).
PREVALENCE = {("lfw", False): 0.212, ("lfw", True): 0.305}

# Tables 3-6, a row for each of CELLS: accuracy, IoU score and convergence in epochs, each for (L_IoU, L_BCE).
ROWS = (
    # Table 3: BFCN-32s on LFW
    (0.974, 0.978, 0.921, 0.906, 91, 146),
    (0.962, 0.963, 0.887, 0.857, 116, 98),
    (0.977, 0.976, 0.896, 0.852, 89, 83),
    (0.970, 0.967, 0.872, 0.837, 155, 117),
    # Table 4: BFCN-32s on HELEN
    (0.961, 0.961, 0.877, 0.838, 125, 130),
    (0.943, 0.940, 0.820, 0.779, 118, 131),
    (0.983, 0.984, 0.905, 0.877, 83, 125),
    (0.978, 0.977, 0.871, 0.837, 93, 129),
    # Table 5: FCResNet on LFW
    (0.942, 0.947, 0.829, 0.826, 75, 64),
    (0.922, 0.942, 0.777, 0.818, 44, 113),
    (0.959, 0.943, 0.821, 0.730, 78, 59),
    (0.951, 0.949, 0.798, 0.757, 72, 67),
    # Table 6: FCResNet on HELEN
    (0.926, 0.905, 0.768, 0.673, 62, 50),
    (0.916, 0.917, 0.747, 0.723, 62, 97),
    (0.967, 0.962, 0.816, 0.775, 68, 72),
    (0.963, 0.960, 0.796, 0.766, 88, 80),
)
METRICS = ("accuracy", "iou", "epochs")


def scores(metric: str) -> np.ndarray:
    """The paper's scores for one metric, Tables 3-6.

    Args:
        metric: accuracy, iou (both in [0, 1], three decimals) or epochs (before convergence).
    Returns:
        (16, 2) float64, rows as in `CELLS`, columns IoU loss and BCE loss.
    Raises:
        InputError: for a metric that the paper does not report.
    """
    if metric not in METRICS:
        raise InputError(f"metric is {metric!r}, not in the paper: use one of {', '.join(METRICS)}")
    column = 2 * METRICS.index(metric)
    return np.array(ROWS, dtype="float64")[:, column : column + 2]


def iou_bounds(accuracy: float, prevalence: float) -> tuple[float, float]:
    """Lowest and highest IoU over pooled pixels that a thresholded prediction of this accuracy can have.

    With π the prevalence and e = 1 - accuracy = fp + fn (as shares of all pixels), IoU = (π - fn) / (π + fp):
    the lowest is (π - e) / π, when every error is a false negative; the highest is π / (π + e), when every error is
    a false positive. The lowest is 0 if e > π; the highest is the accuracy if there are fewer negatives than e.

    Args:
        accuracy: share of correct pixels, in [0, 1].
        prevalence: share of the pixels that are positive in the labels, in (0, 1].
    Returns:
        (low, high), both in [0, 1].
    Raises:
        InputError: if an argument is out of range.
    """
    if not 0 <= accuracy <= 1:
        raise InputError(f"accuracy is {accuracy}: give a share between 0 and 1")
    if not 0 < prevalence <= 1:
        raise InputError(f"prevalence is {prevalence}: give a share above 0 and at most 1")
    error = 1 - accuracy
    return max(0.0, (prevalence - error) / prevalence), min(accuracy, prevalence / (prevalence + error))
