"""The paper's tables as data, and its 16 cells, which this study repeats.

F. van Beers, A. Lindström, E. Okafor and M. A. Wiering, "Deep Neural Networks with Intersection over Union
Loss for Binary Image Segmentation", 2019.
"""

import numpy as np

from lib import InputError
from lib.analysis import names
from lib.config import CELLS, PAPER

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
ROUNDING = 0.0005  # scores have three decimals


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


def lowest_mean_iou(accuracy: float, positives: np.ndarray, pixels: np.ndarray) -> float:
    """Lowest mean over groups of pixels (images, batches) of their IoU, for masks with this accuracy over all pixels.

    Groups count by their size, as in Keras' mean over batches. The lowest is reached if every error is a miss, and the
    groups with the smallest share of positive pixels lose all of theirs first. The highest is the accuracy itself, as a
    group's IoU is at most its accuracy.

    Args:
        accuracy: share of correct pixels over all groups, in [0, 1].
        positives: (groups,) positive pixels of each group, 1 or more.
        pixels: (groups,) pixels of each group.
    Returns:
        IoU in [0, 1].
    Raises:
        InputError: if an argument is out of range.
    """
    positives, pixels = np.asarray(positives, "float64"), np.asarray(pixels, "float64")
    if positives.ndim != 1 or positives.shape != pixels.shape or not positives.size:
        raise InputError(
            f"positives and pixels have shapes {positives.shape} and {pixels.shape}: give one of each a group"
        )
    if not ((positives >= 1) & (positives <= pixels)).all():
        raise InputError("positives: give 1 or more for each group, and at most its pixels")
    iou_bounds(accuracy, positives.sum() / pixels.sum())  # checks the accuracy
    order = np.argsort(positives / pixels)
    positives, pixels = positives[order], pixels[order]
    before = np.cumsum(positives) - positives  # errors spent on the groups before
    missed = np.clip((1 - accuracy) * pixels.sum() - before, 0, positives)
    return float(np.average(1 - missed / positives, weights=pixels))


def implied_iou(accuracy: float, prevalence: float) -> float:
    """IoU over pooled pixels of masks with this accuracy whose errors are half misses and half false alarms.

    With π the prevalence and e = 1 - accuracy it is (π - e/2) / (π + e/2).

    Args, Raises: as in `iou_bounds`. Returns: at most 1; 0 if all positive pixels would be missed.
    """
    iou_bounds(accuracy, prevalence)  # checks
    half = (1 - accuracy) / 2
    return max(0.0, (prevalence - half) / (prevalence + half))


def implied_prevalence(dataset: str, hair: bool, loss: str) -> tuple[float, float]:
    """Shares of positive pixels with which masks can have every accuracy and IoU that the paper gives, without labels.

    All rows of a data set share a test part. IoU J over pooled pixels with e = 1 - accuracy needs π between
    eJ / (1 - J), all errors false alarms, and e / (1 - J), all errors misses (see `iou_bounds`).

    Args:
        dataset, hair: the group of rows, of both networks and sizes.
        loss: iou or bce, whose rows are taken.
    Returns:
        (low, high), with room for rounding; low > high if no share fits all rows.
    """
    chosen = [i for i, cell in enumerate(CELLS) if (cell.dataset, cell.hair) == (dataset, hair)]
    accuracy, iou = (scores(metric)[chosen, list(LOSSES).index(loss)] for metric in ("accuracy", "iou"))
    least, most = ((1 - accuracy + shift, iou + shift) for shift in (-ROUNDING, ROUNDING))
    low, high = (e * j / (1 - j) for e, j in (least, most))
    return float(low.max()), float((high / most[1]).min())


def reported_minus_implied() -> np.ndarray:
    """The paper's reported IoU minus `implied_iou`, (16, 2) float64: rows as in `CELLS`, columns IoU loss and BCE loss.

    The share of positive pixels is that of LFW's labels; HELEN's is the middle of the shares that its rows of IoU loss
    imply, so that for these rows the difference is small by construction.
    """
    shares = [
        PREVALENCE[group] if (group := (cell.dataset, cell.hair)) in PREVALENCE
        else sum(implied_prevalence(*group, "iou")) / 2
        for cell in CELLS
    ]  # fmt: skip
    implied = [[implied_iou(a, share) for a in pair] for pair, share in zip(scores("accuracy"), shares)]
    return scores("iou") - np.array(implied)
