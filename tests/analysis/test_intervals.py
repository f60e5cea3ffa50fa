"""lib/analysis/intervals.py: values by hand, scipy as oracle, coverage on simulated studies."""

import time

import numpy as np
import pytest
from scipy import stats as distributions

from lib import InputError, data
from lib.analysis import intervals, stats


def test_people_are_the_clusters_of_lfw():
    found = data.people(["Ann_Lee_0001", "Ann_Lee_0012", "Bo_0001", "100000_1", "100001_1"])
    assert found.tolist() == ["Ann_Lee", "Ann_Lee", "Bo", "100000_1", "100001_1"]


# ---- the crossed bootstrap --------------------------------------------------------------------------------

def test_a_constant_difference_has_no_width():
    effect = intervals.bootstrap([np.full((3, 4), 0.25)] * 2, [np.arange(4), np.arange(4)])
    assert effect[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert effect.p == pytest.approx(2 / 10_001) and (effect.n, effect.unit) == (6, "seeds and people")


def test_one_cell_one_seed_is_the_bootstrap_of_the_mean():
    d = np.random.default_rng(0).normal(0.1, 1, 60)
    ours = intervals.bootstrap([d[None]], [np.arange(60)])
    oracle = distributions.bootstrap((d,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert ours.difference == pytest.approx(d.mean())
    assert ours.low == pytest.approx(oracle.low, abs=0.02) and ours.high == pytest.approx(oracle.high, abs=0.02)


def test_resamples_are_those_of_a_plain_loop():
    """An independent, slow bootstrap of two cells with clusters of images, by its quantiles."""
    rng = np.random.default_rng(2)
    cells = [rng.normal(size=(3, 9)) + rng.normal(size=(3, 1)), rng.normal(1, 1, (4, 9))]
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4])
    means = []
    for _ in range(4000):
        people = rng.integers(0, 5, 5)
        images = np.concatenate([np.flatnonzero(labels == person) for person in people])
        means.append(np.mean([cell[rng.integers(0, len(cell), len(cell))][:, images].mean() for cell in cells]))
    ours = intervals.bootstrap(cells, [labels, labels])
    assert (ours.low, ours.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.06)


def test_the_seed_of_the_resampling_is_used():
    d = [np.random.default_rng(0).normal(size=(5, 30))]
    one, same, other = (intervals.bootstrap(d, [np.arange(30)], seed=seed) for seed in (0, 0, 1))
    assert one == same and one.low != other.low


def test_clusters_widen_the_interval_of_images_that_go_together():
    d = np.repeat(np.random.default_rng(0).normal(size=10), 10)[None]
    alone, together = (intervals.bootstrap([d], [labels]) for labels in (np.arange(100), np.arange(100) // 10))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_of_a_single_seed_people_alone_are_drawn():
    assert intervals.bootstrap([[[1, 2, 4]]], [[0, 1, 2]]).unit == "people"


def test_ten_thousand_resamples_of_sixteen_cells_take_seconds():
    cells = [np.random.default_rng(cell).normal(size=(5, 300)) for cell in range(16)]
    start = time.perf_counter()
    intervals.bootstrap(cells, [np.arange(300)] * 16)
    assert time.perf_counter() - start < 5


# ---- coverage, and Student's t for the crossed design ------------------------------------------------------

def coverage(interval, cells, seeds, seed_spread, studies=300, between_cells=0.0):
    """Share of simulated studies whose 95 % interval holds the truth: effects of seeds, of 60 people, of both.

    `between_cells` is the correlation of a seed's effects in two cells.
    """
    rng, covered = np.random.default_rng(3), 0
    for _ in range(studies):
        people, common = rng.normal(0, 1, (1, 60)), rng.normal(0, seed_spread, (seeds, 1))
        effects = [between_cells**0.5 * common + (1 - between_cells)**0.5 * rng.normal(0, seed_spread, (seeds, 1))
                   for _ in range(cells)]
        differences = [0.3 + effect + people + rng.normal(0, 0.5, (seeds, 60)) for effect in effects]
        effect = interval(differences, [np.arange(60)] * cells)
        covered += effect.low <= 0.3 <= effect.high
    return covered / studies


def percentile(differences, clusters):
    return intervals.bootstrap(differences, clusters, resamples=500)


@pytest.mark.parametrize("cells, seeds, seed_spread", [(1, 5, 1), (1, 5, 0.05), (1, 3, 0.2), (4, 5, 0.3)])
def test_crossed_t_covers_the_truth(cells, seeds, seed_spread):
    assert 0.92 <= coverage(intervals.crossed_t, cells, seeds, seed_spread, 1000) <= 0.98


@pytest.mark.parametrize("cells, between_cells", [(2, 0.75), (6, 0.75), (6, 1.0)])
def test_crossed_t_covers_the_truth_where_a_seed_does_the_same_in_every_cell(cells, between_cells):
    assert 0.93 <= coverage(intervals.crossed_t, cells, 5, 1, 1000, between_cells) <= 0.99


def test_the_bootstrap_is_wider_where_a_seed_does_the_same_in_every_cell():
    rng = np.random.default_rng(1)
    seed = rng.normal(0, 1, (10, 1)) + rng.normal(0, 0.1, (10, 30))
    same, other = (intervals.bootstrap(cells, [np.arange(30)] * 2) for cells in ([seed, seed], [seed, seed[[4, 2, 7, 1, 9, 3, 0, 5, 8, 6]]]))
    alone = intervals.bootstrap([seed], [np.arange(30)])
    assert same.high - same.low == pytest.approx(alone.high - alone.low, rel=0.05) and same.high - same.low > other.high - other.low


def test_the_bootstrap_covers_the_truth_with_enough_seeds_and_not_where_few_seeds_decide():
    assert 0.92 <= coverage(percentile, 1, 10, 0.2) <= 0.98
    assert coverage(percentile, 1, 5, 1) < 0.92


def test_crossed_t_by_hand():
    """Seed means 1, 3: variance 2 / 2 = 1, 1 degree of freedom. Image means 0, 4: influences -1, 1 of the mean 2,
    squared and summed 2, times 2 / 1 = 4, 1 degree. Variance 5; degrees of freedom 25 / (1 + 16)."""
    effect, t = intervals.crossed_t([[[-1, 3], [1, 5]]], [[0, 1]]), distributions.t(25 / 17)
    assert effect == pytest.approx((2, 2 - t.ppf(0.975) * 5**0.5, 2 + t.ppf(0.975) * 5**0.5, 2 * t.sf(2 / 5**0.5), 2,
                                    "seeds and people"))


def test_crossed_t_takes_a_seed_as_the_same_in_every_cell_that_has_it():
    """Images agree, so that only seeds vary; with the same seeds it is the t-test of their means over the cells."""
    cells = np.array([[0.01, 0.03, -0.01, 0.02], [0.05, 0.02, 0.00, 0.04]])
    arrays = [np.repeat(row[:, None], 3, 1) for row in cells]
    found = intervals.crossed_t(arrays, [np.arange(3)] * 2)
    assert found[:4] == pytest.approx(stats.over_seeds(cells.mean(0))[:4])
    shuffled = intervals.crossed_t([arrays[0], arrays[1][::-1]], [np.arange(3)] * 2, seeds=["abcd", "dcba"])
    assert shuffled[:4] == pytest.approx(found[:4])
    apart = intervals.crossed_t(arrays, [np.arange(3)] * 2, seeds=["abcd", "efgh"])  # variances add up, 3 degrees of freedom
    half = distributions.t(3).ppf(0.975) * (cells.var(1, ddof=1).sum() / 4 / 4) ** 0.5
    assert (apart.low, apart.high) == pytest.approx((cells.mean() - half, cells.mean() + half))


def test_crossed_t_is_students_t_over_seeds_where_images_agree():
    d = np.array([0.01, 0.03, -0.01, 0.02, 0.025])
    assert intervals.crossed_t([np.repeat(d[:, None], 7, 1)], [np.arange(7)])[:4] == pytest.approx(
        stats.over_seeds(d)[:4])


def test_crossed_t_and_the_bootstrap_agree_with_many_seeds():
    rng = np.random.default_rng(5)
    labels = np.arange(90) // 3
    cells = [rng.normal(0, 0.3, (40, 1)) + rng.normal(0, 1, 30)[labels] + rng.normal(0, 0.1, (40, 90))
             for _ in range(2)]
    ours, drawn = intervals.crossed_t(cells, [labels] * 2), intervals.bootstrap(cells, [labels] * 2)
    assert ours.high - ours.low == pytest.approx(drawn.high - drawn.low, rel=0.08)


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


def test_equivalence_within_half_a_point():
    near, far = (np.array([-0.001, 0.001, 0.0005, -0.0005, 0.0002]) + shift for shift in (0, 0.02))
    assert intervals.equivalence(near).verdict == "equivalent"
    assert intervals.equivalence(far).verdict == "different"
    assert intervals.equivalence([-0.03, 0.03, 0.02, -0.01]).verdict == "undecided"
    assert intervals.equivalence(near + 0.002).verdict == "equivalent, though not equal"
    d = np.array([0.001, 0.004, -0.002, 0.003])
    oracle = max(distributions.ttest_1samp(d, -0.005, alternative="greater").pvalue,
                 distributions.ttest_1samp(d, 0.005, alternative="less").pvalue)
    assert intervals.equivalence(d).p == pytest.approx(oracle)


def made_up_scores():
    """2 cells, 5 seeds, 40 images of 20 people; `better` is 0.05 above `bce`, `same` within noise of 0.001."""
    rng, cells = np.random.default_rng(6), []
    for _ in range(2):
        bce = 0.8 + rng.normal(0, 0.02, (5, 40)) + rng.normal(0, 0.01, (5, 1))
        cells.append((bce, bce + 0.05 + rng.normal(0, 0.02, bce.shape), bce + rng.normal(0, 0.001, bce.shape)))
    return dict(zip(("bce", "better", "same"), map(list, zip(*cells)))), [np.arange(40) // 2] * 2


@pytest.mark.parametrize("interval", [intervals.crossed_t, intervals.bootstrap])
def test_losses_are_compared_with_the_reference(interval):
    scores, clusters = made_up_scores()
    better, same = intervals.compare_losses(scores, clusters, interval=interval)
    assert (better.loss, same.loss) == ("better", "same")
    differences = [a - b for a, b in zip(scores["better"], scores["bce"])]
    assert better.effect == interval(differences, clusters)
    assert better.effect.low < 0.05 < better.effect.high and better.better[0] == 1
    assert (better.verdict, same.verdict) == ("different", "equivalent")
    assert (better.p_holm, same.p_holm) == pytest.approx(tuple(stats.holm([better.effect.p, same.effect.p])))


def test_losses_of_a_single_seed_are_compared_but_not_tested():
    found, = intervals.compare_losses({"bce": [[[0.5, 0.7]]], "iou": [[[0.6, 0.8]]]}, [[0, 1]])
    assert found.effect.difference == pytest.approx(0.1)
    assert np.isnan(found.p_holm) and found.verdict == "untested"


@pytest.mark.parametrize("call, sentence", [
    (lambda: intervals.bootstrap([], []), "differences and clusters have 0 and 0 cells"),
    (lambda: intervals.bootstrap([[[1, np.nan]]], [[0, 1]]), "cell 0: differences of shape (1, 2)"),
    (lambda: intervals.bootstrap([[[1, 2]]], [[0]]), "cell 0: differences of shape (1, 2) and clusters of shape (1,)"),
    (lambda: intervals.bootstrap([[[1, 2]]], [["ann", "ann"]]), "cell 0: a single cluster"),
    (lambda: intervals.probability_of_improvement([[1]], []), "a and b have 1 and 0 cells"),
    (lambda: intervals.equivalence([1]), "differences, margin: 1 and 0.005 will not do"),
    (lambda: intervals.crossed_t([[[1, 2], [3]]], [[0, 1]]), "differences, clusters: "),
    (lambda: intervals.crossed_t([[["a", "b"]]], [[0, 1]]), "differences, clusters: "),
    (lambda: intervals.crossed_t([[[1, 2]] * 2], [[0, 1]], 95), "confidence, resamples: 95 and 1"),
    (lambda: intervals.crossed_t([[[1, 2]] * 2], [[0, 1]], seeds=["abc"]), "seeds: give one label for each row"),
    (lambda: intervals.bootstrap([[[1, 2]]], [[0, 1]], resamples=0), "confidence, resamples: 0.95 and 0"),
    (lambda: intervals.probability_of_improvement([["a"]], [[1]]), "values: "),
    (lambda: intervals.crossed_t([[[1, 2]]], [[0]]), "cell 0: differences of shape (1, 2)"),
    (lambda: intervals.compare_losses({"iou": [[[1.0]]]}, [[0]]), "scores: no loss to compare with 'bce' among iou"),
    (lambda: intervals.compare_losses({"bce": [[[1, 2]]], "iou": [[[1, 2]] * 2]}, [[0, 1]]), "scores of iou and bce"),
    (lambda: intervals.compare_losses({"bce": [[[1, 2]]], "iou": [[[1, 2]]]}, [[0, 1]], margin=0), "margin is 0"),
])
def test_unusable_input_is_refused(call, sentence):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
