"""lib/analysis/mixed_model.py: the paired t-test and least squares as oracles, how often it errs, what it refuses."""

import numpy as np
import pytest
from scipy import stats as distributions

from lib import InputError
from lib.analysis import mixed_model


def runs(effect, seed_spread, seeds=12):
    rng = np.random.default_rng(4)
    rows = [
        (0.8 + effect * first + 0.05 * cell + shift + rng.normal(0, 0.01), first, f"cell {cell}", seed)
        for seed, shift in enumerate(rng.normal(0, seed_spread, seeds))
        for cell in range(4)
        for first in (0, 1)
    ]
    return [np.array(column) for column in zip(*rows)]


def test_a_balanced_mixed_model_is_the_paired_mean_with_its_own_interval():
    y, first, cells, seeds = runs(0.02, 0.03)
    found = mixed_model.mixed_model(y, first, cells, seeds)
    assert found.effect.difference == pytest.approx(y[first == 1].mean() - y[first == 0].mean(), abs=1e-6)
    assert found.effect.low < 0.02 < found.effect.high and found.effect.p < 1e-6 and found.remark == ""
    assert found.seed_variance == pytest.approx(0.03**2, rel=0.8) and found.effect.n == 12
    assert found.residual_variance == pytest.approx(0.01**2, rel=0.4)


def test_a_mixed_model_says_so_where_seeds_do_not_vary():
    y, first, cells, seeds = runs(0.0, 0.0)
    found = mixed_model.mixed_model(y, first, cells, seeds)
    assert "seeds" in found.remark and "is 0 within the fit's precision" in found.remark and found.effect.p > 0.01
    design = np.stack([first, *(cells == cell for cell in np.unique(cells))], axis=1).astype(float)
    assert found.effect.difference == pytest.approx(np.linalg.lstsq(design, y)[0][0], abs=1e-6)


def test_a_mixed_model_of_one_cell_is_the_paired_t_test():
    rng = np.random.default_rng(7)
    bce = rng.normal(0.8, 0.05, 8)
    iou = bce + rng.normal(0.01, 0.01, 8)
    found = mixed_model.mixed_model(np.r_[iou, bce], [1] * 8 + [0] * 8, ["cell"] * 16, [*range(8)] * 2)
    oracle = distributions.ttest_rel(iou, bce)
    assert found.effect.p == pytest.approx(oracle.pvalue, rel=1e-3)
    assert (found.effect.low, found.effect.high) == pytest.approx(tuple(oracle.confidence_interval()), abs=1e-5)


def test_a_mixed_model_finds_that_the_loss_matters_for_one_model_only():
    y, first, cells, seeds = runs(0.0, 0.03)
    model = np.where(np.isin(cells, ("cell 0", "cell 1")), "bfcn32s", "fcresnet")
    y = y + 0.04 * first * (model == "fcresnet")
    found = mixed_model.mixed_model(y, first, cells, seeds, model)
    difference = {
        each: y[(first == 1) & (model == each)].mean() - y[(first == 0) & (model == each)].mean()
        for each in ("bfcn32s", "fcresnet")
    }
    assert list(found.interactions) == ["fcresnet"]
    assert found.interactions["fcresnet"].difference == pytest.approx(difference["fcresnet"] - difference["bfcn32s"])
    assert found.interactions["fcresnet"].low < 0.04 < found.interactions["fcresnet"].high
    assert found.effect.difference == pytest.approx(np.mean(list(difference.values())))


def test_with_effects_of_the_loss_that_vary_between_seeds_it_is_the_t_test_over_seeds():
    rng = np.random.default_rng(8)
    effects = rng.normal(0.02, 0.05, 6)
    rows = [
        (0.8 + first * effects[seed] + 0.1 * cell + rng.normal(0, 0.01), first, f"cell {cell}", seed)
        for seed in range(6)
        for cell in range(3)
        for first in (0, 1)
    ]
    y, first, cells, seeds = (np.array(column) for column in zip(*rows))
    found = mixed_model.mixed_model(y, first, cells, seeds)
    d = [y[(seeds == seed) & (first == 1)].mean() - y[(seeds == seed) & (first == 0)].mean() for seed in range(6)]
    oracle = distributions.ttest_1samp(d, 0)
    assert found.effect.difference == pytest.approx(np.mean(d)) and found.effect.p == pytest.approx(
        oracle.pvalue, rel=1e-2
    )
    assert found.loss_variance + found.residual_variance * 2 / 3 == pytest.approx(np.var(d, ddof=1), rel=1e-2)


@pytest.mark.parametrize("cells", [2, 5])
def test_it_rarely_finds_what_is_not_there(cells):
    """No effect of the loss but one that varies by seed alike in every cell: 5 % of tests may say otherwise."""
    rng, found = np.random.default_rng(9), 0
    first, cell, seed = (axis.ravel() for axis in np.meshgrid([0, 1], range(cells), range(5), indexing="ij"))
    for _ in range(60):
        y = (
            0.02 * rng.normal(size=5)[seed] * first
            + 0.02 * rng.normal(size=5)[seed]
            + 0.01 * rng.normal(size=len(seed))
        )
        found += mixed_model.mixed_model(y, first, cell.astype(str), seed).effect.p < 0.05
    assert found <= 8  # P(more than 8 of 60 at 5 %) is 0.6 %


def test_cells_with_seeds_of_their_own_are_compared_by_pairs():
    """Two cells, seeds 0-4 and 5-9: each seed has one run with each loss, so the pairs' differences are all."""
    rng = np.random.default_rng(10)
    rows = [
        (0.02 * first + level + rng.normal(0, 0.01), first, f"cell {seed // 5}", seed)
        for seed, level in enumerate(rng.normal(0.8, 0.05, 10))
        for first in (0, 1)
    ]
    y, first, cells, seeds = (np.array(column) for column in zip(*rows))
    found = mixed_model.mixed_model(y, first, cells, seeds)
    oracle = distributions.ttest_rel(y[first == 1], y[first == 0])
    assert np.isnan(found.loss_variance) and found.effect.p == pytest.approx(oracle.pvalue, rel=2e-2)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (([1, 2], [1, 0], ["a", "a"], [0, 0]), "a mixed model needs runs of both losses with 2 or more seeds"),
        (([1, 2, 3, 4], [1, 0, 1, 0], [*"abab"], [0, 0, 1, 1]), "is_first, cells, factor:"),
        (([1] * 6, [1, 0] * 3, ["a"] * 6, [0, 0, 1, 1, 2, 2]), "scores: have no spread"),
        (([2, 1, 3, 2, 4, 3], [1, 0] * 3, ["a"] * 6, [0, 0, 1, 1, 2, 2]), "scores: have no spread"),
        (
            ([1, 2, 3, 4] * 2, [1, 0] * 4, ["a"] * 8, [0, 0, 1, 1, 2, 2, 3, 3], [*"xxxxyyyy"]),
            "factor: has several levels",
        ),
        (([1, 2], [1], ["a"], [0]), "is_first: of shape (1,) are not valid; give 2"),
    ],
)
def test_unusable_input_is_refused(arguments, sentence):
    with pytest.raises(InputError) as refused:
        mixed_model.mixed_model(*arguments)
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
