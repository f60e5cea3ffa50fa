"""Paired comparisons of two losses over the cells of a study (section 5 of the paper), and of several by rank.

`a` and `b` are always arrays (n,) in which a[i] and b[i] belong to the same cell. Differences a - b are rounded to
`DECIMALS`, so that equal differences of decimals are equal here (0.820 - 0.779 and 0.798 - 0.757 differ in floating
point). Every function raises `InputError` for arrays that are empty, differ in length or have a value that is not a
finite number of at most 1e12. scipy.stats takes a second to import, so functions import it when they need it.
"""

import gc
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lib import InputError
from lib.checks.arrays import LARGEST, as_array, check_number, one_row, shown

HIGHER_IS_BETTER = {"accuracy": True, "iou": True, "iou_pooled": True, "iou_soft": True, "epochs": False}
DECIMALS = 10
MARGIN = 0.005  # half an IoU point: smaller differences count as none


class Outcome(NamedTuple):
    """Result of a two-sided test: its statistic and p-value."""

    statistic: float
    p: float


class Effect(NamedTuple):
    """A mean difference with its interval and two-sided p-value.

    `n` is the number of differences that were averaged (pairs of runs, splits), `unit` the unit of replication.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    unit: str


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = (as_array(each, "a and b").astype("float64") for each in (a, b))
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(f"a and b have shapes {a.shape} and {b.shape}: give two arrays of the same length")
    if a.size == 0:
        raise InputError("a and b are empty: give at least one pair of scores")
    unusable = np.flatnonzero(~((np.abs(a) <= LARGEST) & (np.abs(b) <= LARGEST)))
    if unusable.size:
        i = unusable[0]
        raise InputError(
            f"pair {i} of a and b is ({a[i]}, {b[i]}): leave out values that are not finite, or above {LARGEST:g}"
        )
    return a, b


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    a, b = _paired(a, b)
    return np.round(a - b, DECIMALS)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> Outcome:
    """Two-sided paired t-test that the mean difference a - b is zero, with n - 1 degrees of freedom.

    Returns:
        `Outcome`, with positive t if `a` is larger. NaN for a single pair. If all differences are equal, t is 0 and p
        is 1 if they are zero; otherwise t is infinite and p is 0.
    """
    from scipy import stats

    d = _differences(a, b)
    if d.size < 2:
        return Outcome(np.nan, np.nan)
    if np.all(d == d[0]):
        return Outcome(0.0, 1.0) if d[0] == 0 else Outcome(float(np.copysign(np.inf, d[0])), 0.0)
    result = stats.ttest_1samp(d, 0.0)
    return Outcome(float(result.statistic), float(result.pvalue))


def mean_interval(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of Student's t for the mean difference a - b.

    Returns:
        (low, high); NaN for a single pair; both are the difference if all differences are equal.
    """
    from scipy import stats

    d = _differences(a, b)
    if d.size < 2:
        return np.nan, np.nan
    if np.all(d == d[0]):
        return float(d[0]), float(d[0])
    low, high = stats.ttest_1samp(d, 0.0).confidence_interval(confidence)
    return float(low), float(high)


def outcome(a: ArrayLike, b: ArrayLike, margin: float = MARGIN) -> str:
    """What paired scores say of a and b, by a rule with three ends.

    Returns:
        "a" or "b" if that one is better: the 95 % interval of the mean difference lies beyond the margin on its side;
        "equal" if no difference is larger than the margin: the 90 % interval lies within it, which is two one-sided
        tests at 5 % (Schuirmann, 1987); "open" if neither holds, or for fewer than two pairs.
    """
    low, high = mean_interval(a, b)
    narrow = mean_interval(a, b, 0.90)
    if low > margin or high < -margin:
        return "a" if low > 0 else "b"
    return "equal" if -margin < narrow[0] and narrow[1] < margin else "open"


def check_confidence(confidence: float) -> None:
    """Raises InputError for a confidence outside (0, 1), for example 95 instead of 0.95."""
    check_number("confidence", confidence, 0, 1 - 1e-9, "a share such as 0.95", above=True)


def student(mean: float, variances: np.ndarray, freedom: np.ndarray, confidence: float, n: int, unit: str) -> Effect:
    """Student's t for a mean whose variance is a sum of independent ones (Satterthwaite, 1946).

    Args:
        variances, freedom: (components,), variances of the mean and their degrees of freedom.
    Returns:
        `Effect`; if the variances are 0 its interval has no width, and p is 1 for a mean of 0, else 0.
    """
    from scipy import stats

    error = np.sqrt(variances.sum())
    if error < 1e-15:
        return Effect(mean, mean, mean, float(abs(mean) < 1e-15), n, unit)
    t = stats.t(variances.sum() ** 2 / np.sum(variances**2 / freedom))
    half = t.ppf((1 + confidence) / 2) * error
    return Effect(mean, float(mean - half), float(mean + half), float(2 * t.sf(abs(mean) / error)), n, unit)


def nadeau_bengio(differences: ArrayLike, train: int, test: int) -> Effect:
    """Corrected resampled t-test (Nadeau and Bengio, 2003) for differences over random splits of one data set.

    Splits share images, so that differences are correlated: their variance is multiplied by 1/J + test/train instead of
    1/J. Unit of replication: splits (each with its own seed).

    Args:
        differences: (J,), one mean score difference for each split.
        train, test: images in each split.
    Returns:
        `Effect` with its 95 % interval; interval and p are NaN for a single split.
    Raises:
        InputError: differences that are not finite, or none; sizes below 1.
    """
    d = one_row(differences)
    for name, images in (("train", train), ("test", test)):
        check_number(name, images, 1, LARGEST, "the number of images of that part, 1 or more")
    if d.size < 2:
        return Effect(float(d.mean()), np.nan, np.nan, np.nan, d.size, "splits")
    variance = (1 / d.size + test / train) * d.var(ddof=1)
    return student(float(d.mean()), np.array([variance]), np.array([d.size - 1]), 0.95, d.size, "splits")


def wilcoxon(a: ArrayLike, b: ArrayLike) -> Outcome:
    """Two-sided Wilcoxon signed-rank test that the differences a - b are symmetric around zero.

    Zero differences are dropped (Wilcoxon's rule), ties get their mean rank, and there is no continuity correction. p
    is exact for up to 13 pairs, and for up to 50 pairs without ties and zeros; else it is a normal approximation with
    the variance corrected for ties. For the paper's tables p is 0.376 (accuracy), 0.0034 (IoU) and 0.552 (convergence).
    For IoU, differences that are not rounded give 0.0032: 0.041 occurs four times, once negative, and with floating
    point these are no longer ties.

    Returns:
        `Outcome` with the smaller of the two rank sums; (0, 1) if all differences are zero.
    """
    from scipy import stats

    d = _differences(a, b)
    if not d.any():
        return Outcome(0.0, 1.0)
    result = stats.wilcoxon(d, zero_method="wilcox", correction=False, method="auto")
    return Outcome(float(result.statistic), float(result.pvalue))


def wins(a: ArrayLike, b: ArrayLike, higher_is_better: bool = True) -> tuple[int, int, int]:
    """Number of cells in which `a` is better, in which `b` is better, and in which they are equal."""
    d = _differences(a, b) * (1 if higher_is_better else -1)
    return int(np.sum(d > 0)), int(np.sum(d < 0)), int(np.sum(d == 0))


def error_reduction(a: ArrayLike, b: ArrayLike) -> float:
    """Share of b's error 1 - score that `a` removes, pooled over the cells: 1 - Σ(1 - a) / Σ(1 - b).

    As in the paper: "error margin is reduced by 17.5%" (section 5). Scores are in [0, 1]. If `b` has no error, it is 0
    if `a` has none either, else minus infinity.
    """
    a, b = _paired(a, b)
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > 1:
        raise InputError("a and b: some are outside [0, 1]; give scores, of which 1 is the best")
    error_a, error_b = np.sum(1 - a), np.sum(1 - b)
    if error_b == 0:
        return 0.0 if error_a == 0 else -np.inf
    return float(1 - error_a / error_b)


def largest_difference(a: ArrayLike, b: ArrayLike) -> float:
    """Largest |a - b| of any cell."""
    return float(np.abs(_differences(a, b)).max())


def compare(iou: ArrayLike, bce: ArrayLike, metric: str) -> dict[str, float | int | str]:
    """All statistics of one metric, IoU loss (a) against BCE loss (b).

    Args:
        iou, bce: (n,) scores of the same cells in [0, 1], or numbers of epochs.
        metric: a key of `HIGHER_IS_BETTER`.
    Returns:
        dict with metric, n, mean_difference (IoU loss minus BCE loss), low and high (its 95 % interval), t,
        p, wilcoxon_p, wins_iou, wins_bce, ties, error_reduction (NaN for epochs) and largest_difference.
    Raises:
        InputError: for an unknown metric or arrays that are not valid.
    """
    if not isinstance(metric, str) or metric not in HIGHER_IS_BETTER:
        raise InputError(f"metric is {shown(metric)}: use one of {', '.join(HIGHER_IS_BETTER)}")
    t, p = paired_t_test(iou, bce)
    low, high = mean_interval(iou, bce)
    wins_iou, wins_bce, ties = wins(iou, bce, HIGHER_IS_BETTER[metric])
    return {
        "metric": metric,
        "n": len(iou),
        "mean_difference": float(_differences(iou, bce).mean()),
        "low": low,
        "high": high,
        "t": t,
        "p": p,
        "wilcoxon_p": wilcoxon(iou, bce).p,
        "wins_iou": wins_iou,
        "wins_bce": wins_bce,
        "ties": ties,
        "error_reduction": error_reduction(iou, bce) if metric != "epochs" else np.nan,
        "largest_difference": largest_difference(iou, bce),
    }


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's (1979) adjusted p-values of several tests: they control the family-wise error rate.

    Args:
        p: (tests,), each in [0, 1]; NaN stays NaN and does not count as a test.
    Returns:
        (tests,) float64.
    Raises:
        InputError: a p-value outside [0, 1], or no row of them.
    """
    from statsmodels.stats.multitest import multipletests

    p = as_array(p, "p").astype("float64")  # a copy
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise InputError(f"p: of shape {p.shape}, or a p-value is outside [0, 1]; give probabilities in one row")
    if (tested := ~np.isnan(p)).any():
        gc.freeze()  # statsmodels collects garbage in each call, which takes 0.1 s or more where Keras is loaded
        try:
            p[tested] = multipletests(p[tested], method="holm")[1]
        finally:
            gc.unfreeze()
    return p
