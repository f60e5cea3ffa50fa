"""Statistics over seeds, images and cells: what a difference between two losses is worth. Numpy, scipy, statsmodels.

A cell is what losses are compared on (model, data set, size, hair or part). Its scores are (seeds, images), both losses
with the same seeds and images, in the same order; seeds draw initial weights and the order of training, images are
those of one test part. Every p-value comes with its effect and interval, and every function says what it takes to be
drawn at random, its unit of replication: what is not drawn (networks, training images, cells) is fixed, and a result
says nothing about others.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lib import InputError

RESAMPLES = 10_000


class Effect(NamedTuple):
    """A mean difference with its interval and two-sided p-value; `n` and `unit` say what was drawn at random."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    unit: str


def people(ids: Sequence[str]) -> np.ndarray:
    """Whose picture each image is, (images,) str: LFW's ids are "Name_0001"; elsewhere every image is its own."""
    found = [re.fullmatch(r"(\D.*)_\d{4}", str(name)) for name in ids]
    return np.array([match[1] if match else str(name) for match, name in zip(found, ids)])


def bootstrap(differences: Sequence[ArrayLike], clusters: Sequence[ArrayLike], confidence: float = 0.95,
              resamples: int = RESAMPLES, seed: int = 0) -> Effect:
    """Mean difference over cells with a percentile interval of the crossed bootstrap (Owen, 2007).

    Unit of replication: seeds, and clusters of images (people); cells are fixed and weigh the same. Each resample
    draws seeds within each cell and, with replacement, clusters with all their images; cells with the same clusters
    share that draw, as they were tested on the same images.

    Args:
        differences: for each cell, (seeds, images), score of one loss minus that of the other.
        clusters: for each cell, (images,) labels, for example of `people`.
        seed: of the resampling; the same seed gives the same interval.
    Returns:
        `Effect`; p is twice the smaller share of resamples on either side of 0, at least 2 / (resamples + 1).
    Raises:
        InputError: no cell, shapes that do not fit, scores that are not finite.
    """
    cells = _checked(differences, clusters)
    rng = np.random.default_rng(seed)
    drawn, totals = {}, np.zeros(resamples)
    for d, labels in cells:
        names, index = np.unique(labels, return_inverse=True)
        sums = np.stack([np.bincount(index, row, len(names)) for row in d])  # (seeds, clusters)
        sizes = np.bincount(index)
        key = tuple(labels)
        if key not in drawn:
            drawn[key] = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        weights = drawn[key]  # (resamples, clusters)
        seeds = rng.multinomial(len(d), np.full(len(d), 1 / len(d)), resamples)  # (resamples, seeds)
        totals += np.einsum("rs,sc,rc->r", seeds, sums, weights, optimize=True) / len(d) / (weights @ sizes)
    means = totals / len(cells)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    p = min(1.0, max(2 * min((means <= 0).mean(), (means >= 0).mean()), 2 / (resamples + 1)))
    n = sum(len(d) for d, _ in cells)
    return Effect(float(np.mean([d.mean() for d, _ in cells])), float(low), float(high), float(p), n,
                  "seeds and people")


def over_seeds(differences: ArrayLike, confidence: float = 0.95) -> Effect:
    """Mean difference with Student's t over seeds. Unit of replication: seeds; images and cells are fixed.

    Args:
        differences: (seeds,), one mean score difference for each seed.
    Returns:
        `Effect`; interval and p are NaN for a single seed.
    Raises:
        InputError: differences that are not finite, or none.
    """
    from lib import stats

    d = _finite(differences)
    low, high = stats.mean_interval(d, np.zeros_like(d), confidence)
    return Effect(float(d.mean()), low, high, stats.paired_t_test(d, np.zeros_like(d)).p, d.size, "seeds")


def nadeau_bengio(differences: ArrayLike, train: int, test: int, confidence: float = 0.95) -> Effect:
    """Corrected resampled t-test (Nadeau and Bengio, 2003) for differences over random splits of one data set.

    Splits share images, so that differences are correlated: their variance counts 1/J + test/train times instead of
    1/J times. Unit of replication: splits (and the seeds that go with them).

    Args:
        differences: (J,), one mean score difference for each split.
        train, test: images in each split.
    Returns:
        `Effect`; interval and p are NaN for a single split.
    Raises:
        InputError: differences that are not finite, or none; sizes below 1.
    """
    from scipy import stats as distributions

    d = _finite(differences)
    if min(train, test) < 1:
        raise InputError(f"train, test: {train} and {test} will not do; give the images of each part, 1 or more")
    if d.size < 2:
        return Effect(float(d.mean()), np.nan, np.nan, np.nan, d.size, "splits")
    error = np.sqrt((1 / d.size + test / train) * d.var(ddof=1))
    if error == 0:
        return Effect(float(d.mean()), float(d.mean()), float(d.mean()), float(d.mean() == 0), d.size, "splits")
    t = distributions.t(d.size - 1)
    half = t.ppf((1 + confidence) / 2) * error
    return Effect(float(d.mean()), float(d.mean() - half), float(d.mean() + half),
                  float(2 * t.sf(abs(d.mean()) / error)), d.size, "splits")


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's (1979) adjusted p-values of several tests: the family-wise error holds whichever hypotheses are true.

    NaN stays NaN and does not count as a test.
    """
    p = np.asarray(p, "float64")
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return adjusted


def probability_of_improvement(a: Sequence[ArrayLike], b: Sequence[ArrayLike], confidence: float = 0.95,
                               resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Probability that a run of `a` beats one of `b` (Agarwal et al., 2021): over all pairs of seeds, ties a half.

    Unit of replication: seeds, drawn for each loss within each cell; averaged over cells, which are fixed.

    Args:
        a, b: for each cell, (seeds,) scores.
    Returns:
        (probability, low, high) with a percentile interval of the stratified bootstrap.
    Raises:
        InputError: different numbers of cells, none, or scores that are not finite.
    """
    if len(a) != len(b) or not len(a):
        raise InputError(f"a and b have {len(a)} and {len(b)} cells: give the same number, 1 or more")
    rng, total, draws = np.random.default_rng(seed), 0.0, np.zeros(resamples)
    for x, y in zip(map(_finite, a), map(_finite, b)):
        better = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (seeds of a, seeds of b)
        total += better.mean()
        rows, columns = (rng.multinomial(n, np.full(n, 1 / n), resamples) / n for n in better.shape)
        draws += np.einsum("ri,ij,rj->r", rows, better, columns, optimize=True)
    low, high = np.quantile(draws / len(a), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(total / len(a)), float(low), float(high)


class Equivalence(NamedTuple):
    """Two one-sided tests: the 90 % interval, the larger p, and the verdict in words."""

    low: float
    high: float
    p: float
    verdict: str


def equivalence(differences: ArrayLike, margin: float = 0.005) -> Equivalence:
    """Are two losses equal within `margin`? Two one-sided t-tests at 5 % (Schuirmann, 1987).

    Unit of replication: that of `differences`, (n,). They are equivalent where the 90 % interval lies within
    +-margin, half an IoU point by default; "different" where the 95 % interval excludes 0, else "undecided".

    Raises:
        InputError: differences that are not finite, fewer than 2, or a margin that is not above 0.
    """
    from scipy import stats as distributions

    d = _finite(differences)
    if d.size < 2 or not margin > 0:
        raise InputError(f"differences, margin: {d.size} and {margin} will not do; give 2 or more and a number above 0")
    error = max(d.std(ddof=1) / np.sqrt(d.size), 1e-15)
    t, mean = distributions.t(d.size - 1), d.mean()
    low, high = (float(mean + sign * t.ppf(0.95) * error) for sign in (-1, 1))
    p = float(max(t.sf((mean + margin) / error), t.sf((margin - mean) / error)))
    outside = abs(mean) > t.ppf(0.975) * error
    verdict = "equivalent" if p < 0.05 else "different" if outside else "undecided"
    return Equivalence(low, high, p, verdict + (", though not equal" if p < 0.05 and outside else ""))


class Mixed(NamedTuple):
    """The loss's fixed effect in a mixed model, and what the fit has to say for itself (empty if nothing)."""

    effect: Effect
    seed_variance: float
    residual_variance: float
    remark: str


def mixed_model(scores: ArrayLike, is_first: ArrayLike, cells: Sequence[str], seeds: ArrayLike) -> Mixed:
    """score ~ loss + cell + (1 | seed): the effect of the first loss over the second, cells as fixed effects.

    Unit of replication: seeds, the random intercept; fitted by restricted maximum likelihood (statsmodels).

    Args:
        scores: (runs,) mean score of each run.
        is_first: (runs,) True where the run was trained with the first of the two losses.
        cells: (runs,) name of the run's cell.
        seeds: (runs,) seed of the run; the same in different cells is the same level.
    Returns:
        `Mixed`; `remark` says so where the fit did not converge or the seeds' variance is at its bound of 0, where
        the model is ordinary least squares.
    Raises:
        InputError: arrays of different lengths, fewer than 2 seeds, or a loss that is missing.
    """
    import warnings

    import statsmodels.api as sm

    y, first = _finite(scores), np.asarray(is_first, bool)
    cells, seeds = np.asarray(cells), np.asarray(seeds)
    if not len(y) == len(first) == len(cells) == len(seeds):
        raise InputError(f"scores, is_first, cells, seeds have lengths {len(y)}, {len(first)}, {len(cells)} and "
                         f"{len(seeds)}: give one of each for every run")
    if len(np.unique(seeds)) < 2 or first.all() or not first.any():
        raise InputError("seeds, is_first: a mixed model needs 2 or more seeds and runs of both losses; run the study "
                         "with --seeds 5")
    columns = [first.astype(float), *((cells == cell).astype(float) for cell in np.unique(cells))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optimisers that were tried in vain; `remark` tells what counts
        fitted = sm.MixedLM(y, np.stack(columns, axis=1), groups=seeds).fit(reml=True)
        low, high = fitted.conf_int()[0]
        p, variance = float(fitted.pvalues[0]), float(np.squeeze(fitted.cov_re))
    remark = ("the fit did not converge" if not fitted.converged else
              "the seeds' variance is 0 within the fit's precision" if variance < 1e-3 * fitted.scale else "")
    effect = Effect(float(fitted.params[0]), float(low), float(high), p, len(np.unique(seeds)), "seeds")
    return Mixed(effect, variance, float(fitted.scale), remark)


def _checked(differences, clusters):
    if not len(differences) or len(differences) != len(clusters):
        raise InputError(f"differences and clusters have {len(differences)} and {len(clusters)} cells: give the same "
                         "number, 1 or more")
    cells = [(np.atleast_2d(np.asarray(d, "float64")), np.asarray(labels)) for d, labels in zip(differences, clusters)]
    for number, (d, labels) in enumerate(cells):
        if d.ndim != 2 or not d.size or d.shape[1:] != labels.shape or not np.isfinite(d).all():
            raise InputError(f"cell {number}: differences of shape {d.shape} and clusters of shape {labels.shape} will "
                             "not do; give finite (seeds, images) and one label for each image")
    return cells


def _finite(values):
    values = np.asarray(values, "float64")
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"values of shape {values.shape} will not do; give one finite number or more in one row")
    return values
