"""lib/inference.py: values by hand, scipy and statsmodels as oracles, coverage on simulated studies."""

import numpy as np
import pytest
from scipy import stats as distributions

from lib import InputError, inference


def test_people_are_the_clusters_of_lfw():
    found = inference.people(["Ann_Lee_0001", "Ann_Lee_0012", "Bo_0001", "100000_1", "100001_1"])
    assert found.tolist() == ["Ann_Lee", "Ann_Lee", "Bo", "100000_1", "100001_1"]


# ---- the crossed bootstrap --------------------------------------------------------------------------------

def test_a_constant_difference_has_no_width():
    effect = inference.bootstrap([np.full((3, 4), 0.25)] * 2, [np.arange(4), np.arange(4)])
    assert effect[:3] == pytest.approx((0.25, 0.25, 0.25))
    assert effect.p == pytest.approx(2 / 10_001) and (effect.n, effect.unit) == (6, "seeds and people")


def test_one_cell_one_seed_is_the_bootstrap_of_the_mean():
    d = np.random.default_rng(0).normal(0.1, 1, 60)
    ours = inference.bootstrap([d[None]], [np.arange(60)])
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
    ours = inference.bootstrap(cells, [labels, labels])
    assert (ours.low, ours.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.06)


def test_the_seed_of_the_resampling_is_used():
    d = [np.random.default_rng(0).normal(size=(5, 30))]
    one, same, other = (inference.bootstrap(d, [np.arange(30)], seed=seed) for seed in (0, 0, 1))
    assert one == same and one.low != other.low


def test_clusters_widen_the_interval_of_images_that_go_together():
    d = np.repeat(np.random.default_rng(0).normal(size=10), 10)[None]
    alone, together = (inference.bootstrap([d], [labels]) for labels in (np.arange(100), np.arange(100) // 10))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_intervals_cover_the_truth():
    """300 studies with effects of seeds, of people and of both; 95 % intervals of 8 seeds and 60 people."""
    rng, covered = np.random.default_rng(3), 0
    for _ in range(300):
        d = 0.3 + rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 1, (1, 60)) + rng.normal(0, 0.5, (8, 60))
        effect = inference.bootstrap([d], [np.arange(60)], resamples=500, seed=int(rng.integers(1 << 30)))
        covered += effect.low <= 0.3 <= effect.high
    assert 0.90 <= covered / 300 <= 0.98


# ---- over seeds and splits --------------------------------------------------------------------------------

def test_over_seeds_is_students_t():
    d = np.array([0.01, 0.03, -0.01, 0.02, 0.025])
    ours, oracle = inference.over_seeds(d), distributions.ttest_1samp(d, 0)
    assert ours.p == pytest.approx(oracle.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(oracle.confidence_interval()))
    assert np.isnan(inference.over_seeds([0.1]).p)


def test_nadeau_bengio_by_hand():
    """Variance of (1, 2, 3) is 1; with 3 splits and test/train = 1/9 the error is sqrt(1/3 + 1/9) = 2/3."""
    effect = inference.nadeau_bengio([1, 2, 3], train=90, test=10)
    assert effect.difference == 2 and effect.p == pytest.approx(2 * distributions.t.sf(3, 2))
    assert effect.high - 2 == pytest.approx(distributions.t.ppf(0.975, 2) * 2 / 3)
    plain = inference.over_seeds([1, 2, 3])
    assert effect.p > plain.p and effect.low < plain.low
    assert inference.nadeau_bengio([1, 1], 9, 1)[:4] == (1, 1, 1, 0)
    assert np.isnan(inference.nadeau_bengio([1], 9, 1).p)


def test_holm_by_hand_and_against_statsmodels():
    np.testing.assert_allclose(inference.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(inference.holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(0, 0.2, 9)
    np.testing.assert_allclose(inference.holm(p), multitest.multipletests(p, method="holm")[1])


def test_probability_of_improvement_by_hand():
    """Cell 1: (2, 3) against (1, 2): 3 wins and a tie of 4 pairs. Cell 2: never."""
    probability, low, high = inference.probability_of_improvement([[2, 3], [0, 0]], [[1, 2], [1, 1]])
    assert probability == pytest.approx((3.5 / 4 + 0) / 2) and low < probability <= high
    assert inference.probability_of_improvement([[1, 1]], [[1, 1]]) == (0.5, 0.5, 0.5)


def test_equivalence_within_half_a_point():
    near, far = (np.array([-0.001, 0.001, 0.0005, -0.0005, 0.0002]) + shift for shift in (0, 0.02))
    assert inference.equivalence(near).verdict == "equivalent"
    assert inference.equivalence(far).verdict == "different"
    assert inference.equivalence([-0.03, 0.03, 0.02, -0.01]).verdict == "undecided"
    assert inference.equivalence(near + 0.002).verdict == "equivalent, though not equal"
    d = np.array([0.001, 0.004, -0.002, 0.003])
    oracle = max(distributions.ttest_1samp(d, -0.005, alternative="greater").pvalue,
                 distributions.ttest_1samp(d, 0.005, alternative="less").pvalue)
    assert inference.equivalence(d).p == pytest.approx(oracle)


# ---- the mixed model --------------------------------------------------------------------------------------

def runs(effect, seed_spread, seeds=12):
    rng = np.random.default_rng(4)
    rows = [(0.8 + effect * first + 0.05 * cell + shift + rng.normal(0, 0.01), first, f"cell {cell}", seed)
            for seed, shift in enumerate(rng.normal(0, seed_spread, seeds)) for cell in range(4) for first in (0, 1)]
    return [np.array(column) for column in zip(*rows)]


def test_a_balanced_mixed_model_is_the_paired_mean_with_its_own_interval():
    y, first, cells, seeds = runs(0.02, 0.03)
    found = inference.mixed_model(y, first, cells, seeds)
    assert found.effect.difference == pytest.approx(y[first == 1].mean() - y[first == 0].mean(), abs=1e-6)
    assert found.effect.low < 0.02 < found.effect.high and found.effect.p < 1e-6 and found.remark == ""
    assert found.seed_variance == pytest.approx(0.03**2, rel=0.8) and found.effect.n == 12
    assert found.residual_variance == pytest.approx(0.01**2, rel=0.4)


def test_a_mixed_model_says_so_where_seeds_do_not_vary():
    y, first, cells, seeds = runs(0.0, 0.0)
    found = inference.mixed_model(y, first, cells, seeds)
    assert found.remark and found.effect.p > 0.01


@pytest.mark.parametrize("call, sentence", [
    (lambda: inference.bootstrap([], []), "differences and clusters have 0 and 0 cells"),
    (lambda: inference.bootstrap([[[1, np.nan]]], [[0, 1]]), "cell 0: differences of shape (1, 2)"),
    (lambda: inference.bootstrap([[[1, 2]]], [[0]]), "cell 0: differences of shape (1, 2) and clusters of shape (1,)"),
    (lambda: inference.over_seeds([]), "values of shape (0,) will not do"),
    (lambda: inference.nadeau_bengio([1, 2], 0, 5), "train, test: 0 and 5 will not do"),
    (lambda: inference.probability_of_improvement([[1]], []), "a and b have 1 and 0 cells"),
    (lambda: inference.equivalence([1]), "differences, margin: 1 and 0.005 will not do"),
    (lambda: inference.mixed_model([1, 2], [1, 0], ["a", "a"], [0, 0]), "seeds, is_first: a mixed model needs 2"),
    (lambda: inference.mixed_model([1, 2], [1], ["a"], [0]), "scores, is_first, cells, seeds have lengths 2, 1, 1"),
])
def test_unusable_input_is_refused(call, sentence):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
