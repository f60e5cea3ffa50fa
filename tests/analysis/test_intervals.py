"""lib/analysis/intervals.py: values by hand, scipy as oracle, coverage on simulated studies."""

import numpy as np
import pytest
from scipy import stats as distributions

from lib import InputError
from lib.analysis import intervals, stats
from lib.data import people


def test_people_are_the_clusters_of_lfw():
    found = people(["Ann_Lee_0001", "Ann_Lee_0012", "Bo_0001", "100000_1", "100001_1"])
    assert found.tolist() == ["Ann_Lee", "Ann_Lee", "Bo", "100000_1", "100001_1"]


# ---- coverage, and Student's t for the crossed design ------------------------------------------------------


def coverage(interval, cells, seeds, seed_spread, studies=300, between_cells=0.0):
    """Share of simulated studies whose 95 % interval holds the truth: effects of seeds, of 60 people, of both.

    `between_cells` is the correlation of a seed's effects in two cells.
    """
    rng, covered = np.random.default_rng(3), 0
    for _ in range(studies):
        people, common = rng.normal(0, 1, (1, 60)), rng.normal(0, seed_spread, (seeds, 1))
        effects = [
            between_cells**0.5 * common + (1 - between_cells) ** 0.5 * rng.normal(0, seed_spread, (seeds, 1))
            for _ in range(cells)
        ]
        differences = [0.3 + effect + people + rng.normal(0, 0.5, (seeds, 60)) for effect in effects]
        effect = interval(differences, [np.arange(60)] * cells)
        covered += effect.low <= 0.3 <= effect.high
    return covered / studies


@pytest.mark.parametrize("cells, seeds, seed_spread", [(1, 5, 1), (1, 5, 0.05), (1, 3, 0.2), (4, 5, 0.3)])
def test_crossed_t_covers_the_truth(cells, seeds, seed_spread):
    assert 0.92 <= coverage(intervals.crossed_t, cells, seeds, seed_spread, 1000) <= 0.98


@pytest.mark.parametrize("cells, between_cells", [(2, 0.75), (6, 0.75), (6, 1.0)])
def test_crossed_t_covers_the_truth_where_a_seed_does_the_same_in_every_cell(cells, between_cells):
    assert 0.93 <= coverage(intervals.crossed_t, cells, 5, 1, 1000, between_cells) <= 0.99


def test_crossed_t_by_hand():
    """Seed means 1, 3: variance 2 / 2 = 1, 1 degree of freedom. Image means 0, 4: influences -1, 1 of the mean 2,
    squared and summed 2, times 2 / 1 = 4, 1 degree. Variance 5; degrees of freedom 25 / (1 + 16)."""
    effect, t = intervals.crossed_t([[[-1, 3], [1, 5]]], [[0, 1]]), distributions.t(25 / 17)
    assert effect == pytest.approx(
        (2, 2 - t.ppf(0.975) * 5**0.5, 2 + t.ppf(0.975) * 5**0.5, 2 * t.sf(2 / 5**0.5), 2, "seeds and people")
    )


def over_seeds(d):
    """(difference, low, high, p) of the t-test of one difference for each seed."""
    found = distributions.ttest_1samp(d, 0)
    return np.mean(d), *found.confidence_interval(), found.pvalue


def test_crossed_t_takes_a_seed_as_the_same_in_every_cell_that_has_it():
    """Images agree, so that only seeds vary; with the same seeds it is the t-test of their means over the cells."""
    cells = np.array([[0.01, 0.03, -0.01, 0.02], [0.05, 0.02, 0.00, 0.04]])
    arrays = [np.repeat(row[:, None], 3, 1) for row in cells]
    found = intervals.crossed_t(arrays, [np.arange(3)] * 2)
    assert found[:4] == pytest.approx(over_seeds(cells.mean(0)))
    shuffled = intervals.crossed_t([arrays[0], arrays[1][::-1]], [np.arange(3)] * 2, seeds=["abcd", "dcba"])
    assert shuffled[:4] == pytest.approx(found[:4])
    apart = intervals.crossed_t(
        arrays, [np.arange(3)] * 2, seeds=["abcd", "efgh"]
    )  # variances add up, 3 degrees of freedom
    half = distributions.t(3).ppf(0.975) * (cells.var(1, ddof=1).sum() / 4 / 4) ** 0.5
    assert (apart.low, apart.high) == pytest.approx((cells.mean() - half, cells.mean() + half))


def test_crossed_t_is_students_t_over_seeds_where_images_agree():
    d = np.array([0.01, 0.03, -0.01, 0.02, 0.025])
    assert intervals.crossed_t([np.repeat(d[:, None], 7, 1)], [np.arange(7)])[:4] == pytest.approx(over_seeds(d))


def test_clusters_widen_the_interval_of_images_that_go_together():
    d = np.repeat(np.random.default_rng(0).normal(size=10), 10) + np.zeros((3, 1))
    alone, together = (intervals.crossed_t([d], [labels]) for labels in (np.arange(100), np.arange(100) // 10))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_crossed_t_has_no_interval_for_a_single_seed_and_says_so():
    effect = intervals.crossed_t([[[1, 2, 3]]], [[0, 1, 2]])
    assert effect.difference == 2 and np.isnan(effect[1:4]).all() and "single seed" in effect.unit
    assert intervals.crossed_t([np.full((3, 4), 0.25)], [np.arange(4)])[:4] == (0.25, 0.25, 0.25, 0)


# ---- losses compared --------------------------------------------------------------------------------------


def test_probability_of_improvement_by_hand():
    """Cell 1: (2, 3) against (1, 2): 3 wins and a tie of 4 pairs. Cell 2: never."""
    probability, low, high = intervals.probability_of_improvement([[2, 3], [0, 0]], [[1, 2], [1, 1]])
    assert probability == pytest.approx((3.5 / 4 + 0) / 2) and low < probability <= high
    assert intervals.probability_of_improvement([[1, 1]], [[1, 1]]) == (0.5, 0.5, 0.5)
    single = intervals.probability_of_improvement([[2]], [[1, 2]])
    assert single[0] == 0.75 and np.isnan(single[1:]).all()


def made_up_scores():
    """2 cells, 5 seeds, 40 images of 20 people; `better` is 0.05 above `bce`, `same` within noise of 0.001."""
    rng, cells = np.random.default_rng(6), []
    for _ in range(2):
        bce = 0.8 + rng.normal(0, 0.02, (5, 40)) + rng.normal(0, 0.01, (5, 1))
        cells.append((bce, bce + 0.05 + rng.normal(0, 0.02, bce.shape), bce + rng.normal(0, 0.001, bce.shape)))
    return dict(zip(("bce", "better", "same"), map(list, zip(*cells)))), [np.arange(40) // 2] * 2


def test_losses_are_compared_with_the_reference():
    scores, clusters = made_up_scores()
    better, same = intervals.compare_losses(scores, clusters)
    assert (better.loss, same.loss) == ("better", "same")
    differences = [a - b for a, b in zip(scores["better"], scores["bce"])]
    assert better.effect == intervals.crossed_t(differences, clusters)
    assert better.effect.low < 0.05 < better.effect.high and better.better[0] == 1
    assert (better.verdict, same.verdict) == ("different", "equivalent")
    assert (better.p_holm, same.p_holm) == pytest.approx(tuple(stats.holm([better.effect.p, same.effect.p])))


@pytest.mark.parametrize(
    "shift, spread, verdict",
    [(0, 1, "equivalent"), (0.02, 1, "different"), (0, 20, "undecided"), (0.002, 1, "equivalent, though not equal")],
)
def test_the_verdict_is_that_of_two_one_sided_tests_and_one_of_two_sides(shift, spread, verdict):
    """Images agree, so that the tests are those of scipy over seeds."""
    d = shift + spread * np.array([-0.001, 0.001, 0.0005, -0.0005, 0.0002])
    scores = {"bce": [np.full((5, 3), 0.5)], "iou": [0.5 + np.repeat(d[:, None], 3, 1)]}
    (found,) = intervals.compare_losses(scores, [np.arange(3)])
    sides = [
        distributions.ttest_1samp(d, -0.005, alternative="greater").pvalue,
        distributions.ttest_1samp(d, 0.005, alternative="less").pvalue,
    ]
    assert found.verdict == verdict
    assert verdict.startswith("equivalent") == (max(sides) < 0.05)
    assert ("different" in verdict or "not equal" in verdict) == (distributions.ttest_1samp(d, 0).pvalue < 0.05)


def test_losses_of_a_single_seed_are_compared_but_not_tested():
    (found,) = intervals.compare_losses({"bce": [[[0.5, 0.7]]], "iou": [[[0.6, 0.8]]]}, [[0, 1]])
    assert found.effect.difference == pytest.approx(0.1)
    assert np.isnan(found.p_holm) and found.verdict == "untested"


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: intervals.crossed_t([], []), "differences: have no cell"),
        (
            lambda: intervals.crossed_t([[[1, np.nan]]], [[0, 1]]),
            "differences: have no cell, or a value that is not finite",
        ),
        (lambda: intervals.crossed_t([[[1, 2]]], [[0]]), "clusters: of shape (1,) are not valid; give 2"),
        (lambda: intervals.probability_of_improvement([[1]], []), "a and b have 1 and 0 cells"),
        (lambda: intervals.crossed_t([[[1, 2], [3]]], [[0, 1]]), "differences: "),
        (lambda: intervals.crossed_t([[["a", "b"]]], [[0, 1]]), "differences: "),
        (lambda: intervals.crossed_t([[[1, 2]] * 2], [[0, 1]], 95), "confidence: 95 is not valid"),
        (
            lambda: intervals.crossed_t([[[1, 2]] * 2], [[0, 1]], seeds=["abc"]),
            "seeds: of shape (3,) are not valid; give 2",
        ),
        (lambda: intervals.probability_of_improvement([["a"]], [[1]]), "values: "),
        (
            lambda: intervals.compare_losses({"iou": [[[1.0]]]}, [[0]]),
            "scores: no loss to compare with 'bce' among iou",
        ),
        (
            lambda: intervals.compare_losses({"bce": [[[1, 2]]], "iou": [[[1, 2]] * 2]}, [[0, 1]]),
            "scores of iou and bce",
        ),
        (
            lambda: intervals.compare_losses({"bce": [[[1, 2]]], "iou": [[[1, 2]]]}, [[0, 1]], margin=0),
            "margin: 0 is not valid",
        ),
    ],
)
def test_unusable_input_is_refused(call, sentence):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
