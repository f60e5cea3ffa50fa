import math

import numpy as np
import pytest
import scipy.stats

from lib import InputError
from lib.analysis import paper, stats
from lib.record import METRICS


@pytest.mark.parametrize(
    "metric, t, p, wilcoxon_p, wins",
    [
        ("accuracy", 0.652, 0.524, 0.376, (9, 6, 1)),
        ("iou", 4.445, 4.73e-4, 0.00342, (15, 1, 0)),
        ("epochs", -1.182, 0.256, 0.552, (8, 8, 0)),
    ],
)
def test_figures_of_the_papers_tables(metric, t, p, wilcoxon_p, wins):
    found = stats.compare(*paper.scores(metric).T, metric)
    assert found["n"] == 16
    assert found["t"] == pytest.approx(t, abs=5e-4)
    assert found["p"] == pytest.approx(p, rel=2e-3)
    assert found["wilcoxon_p"] == pytest.approx(wilcoxon_p, rel=2e-3)
    assert (found["wins_iou"], found["wins_bce"], found["ties"]) == wins


def test_error_reduction_and_largest_difference_of_the_paper():
    assert stats.error_reduction(*paper.scores("iou").T) == pytest.approx(0.175, abs=5e-4)
    assert stats.largest_difference(*paper.scores("accuracy").T) == 0.021


def test_ties_hidden_by_floating_point_are_ties():
    iou, bce = paper.scores("iou").T
    assert 0.820 - 0.779 != 0.798 - 0.757  # 0.041 on paper
    unrounded = scipy.stats.wilcoxon(iou - bce)
    assert (unrounded.statistic, round(unrounded.pvalue, 4)) == (11.0, 0.0032)
    assert stats.wilcoxon(iou, bce).statistic == 11.5  # -0.041 shares its rank with three others
    assert stats.wins([0.3], [0.1 + 0.2]) == (0, 0, 1)


def test_t_test_by_hand():
    # differences 1, 2, 3: mean 2, standard error 1 / sqrt(3)
    t, p = stats.paired_t_test([1, 3, 5], [0, 1, 2])
    assert t == pytest.approx(2 * math.sqrt(3))
    assert p == pytest.approx(1 - t / math.sqrt(t * t + 2))  # closed form for 2 degrees of freedom
    assert stats.mean_interval([1, 3, 5], [0, 1, 2]) == pytest.approx(
        (2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-5
    )


def test_wilcoxon_by_hand():
    # ranks 1 to 4, all positive: two of 16 sign patterns are as extreme
    assert stats.wilcoxon([1, 2, 3, 4], [0, 0, 0, 0]) == (0.0, pytest.approx(2 / 16))


def test_the_interval_excludes_zero_where_p_is_below_five_per_cent():
    for metric in paper.METRICS:
        found = stats.compare(*paper.scores(metric).T, metric)
        assert (found["low"] > 0 or found["high"] < 0) == (found["p"] < 0.05)


def test_swapping_the_losses_swaps_the_result():
    a, b = paper.scores("iou").T
    assert stats.paired_t_test(b, a).statistic == pytest.approx(-stats.paired_t_test(a, b).statistic)
    assert stats.wilcoxon(b, a) == pytest.approx(stats.wilcoxon(a, b))
    assert stats.wins(b, a) == stats.wins(a, b, higher_is_better=False) == (1, 15, 0)


def test_one_pair_has_no_t_test():
    assert np.isnan(stats.paired_t_test([1], [0])).all()
    assert np.isnan(stats.mean_interval([1], [0])).all()
    assert stats.wilcoxon([1], [0]).p == 1
    assert stats.compare([0.9], [0.8], "iou")["error_reduction"] == pytest.approx(0.5)


def test_equal_differences():
    assert stats.paired_t_test([1, 2], [1, 2]) == (0, 1)
    assert stats.wilcoxon([1, 2], [1, 2]) == (0, 1)
    assert stats.paired_t_test([0.1, 0.2], [0.2, 0.3]) == (-math.inf, 0)
    assert stats.mean_interval([0.1, 0.2], [0.2, 0.3]) == (-0.1, -0.1)


def test_error_reduction_without_errors():
    assert stats.error_reduction([1.0], [1.0]) == 0
    assert stats.error_reduction([0.9], [1.0]) == -math.inf


def test_epochs_have_no_error_reduction():
    assert math.isnan(stats.compare([10, 12], [11, 10], "epochs")["error_reduction"])


@pytest.mark.parametrize(
    "function",
    [
        stats.paired_t_test,
        stats.mean_interval,
        stats.wilcoxon,
        stats.wins,
        stats.error_reduction,
        stats.largest_difference,
    ],
)
@pytest.mark.parametrize(
    "a, b, why",
    [
        ([], [], "empty"),
        ([1, 2], [1], "same length"),
        ([[1, 2]], [[1, 2]], "same length"),
        ([1, float("nan")], [1, 2], "pair 1"),
        ([1, 2], [float("inf"), 2], "pair 0"),
    ],
)
def test_unusable_arrays_are_refused(function, a, b, why):
    with pytest.raises(InputError, match=why):
        function(a, b)


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="dice"):
        stats.compare([1], [1], "dice")


# ---- splits and several losses --------------------------------------------------------------------


def test_satterthwaite_by_hand():
    """Variances 1 and 3 with 2 and 9 degrees of freedom: 16 / (1/2 + 1) = 32/3."""
    effect, t = stats.student(4.0, np.array([1, 3]), np.array([2, 9]), 0.9, 7, "both"), scipy.stats.t(32 / 3)
    assert effect == pytest.approx((4, 4 - 2 * t.ppf(0.95), 4 + 2 * t.ppf(0.95), 2 * t.sf(2), 7, "both"))


def test_nadeau_bengio_by_hand():
    """Variance of (1, 2, 3) is 1; with 3 splits and test/train = 1/9 the error is sqrt(1/3 + 1/9) = 2/3."""
    effect = stats.nadeau_bengio([1, 2, 3], train=90, test=10)
    assert effect.difference == 2 and effect.p == pytest.approx(2 * scipy.stats.t.sf(3, 2))
    assert effect.high - 2 == pytest.approx(scipy.stats.t.ppf(0.975, 2) * 2 / 3)
    plain = scipy.stats.ttest_1samp([1, 2, 3], 0)
    assert effect.p > plain.pvalue and effect.low < plain.confidence_interval().low
    assert stats.nadeau_bengio([1, 1], 9, 1)[:4] == (1, 1, 1, 0)
    assert stats.nadeau_bengio([0, 0], 9, 1)[:4] == (0, 0, 0, 1)
    assert np.isnan(stats.nadeau_bengio([1], 9, 1).p)


def test_nadeau_bengio_keeps_its_level_where_splits_share_images():
    """10 random splits of 100 numbers, the mean of the test part: the plain t-test rejects a true hypothesis often."""
    rng, rejected = np.random.default_rng(8), np.zeros(2)
    for _ in range(300):
        data = rng.normal(size=100)
        d = [data[rng.permutation(100)[:20]].mean() for _ in range(10)]
        rejected += stats.nadeau_bengio(d, 80, 20).p < 0.05, scipy.stats.ttest_1samp(d, 0).pvalue < 0.05
    assert rejected[0] / 300 < 0.08 < 0.15 < rejected[1] / 300


def test_holm_by_hand():
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(stats.holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    np.testing.assert_array_equal(stats.holm([np.nan, np.nan]), [np.nan, np.nan])
    assert stats.holm([0.5, 0.6]).tolist() == [1, 1] and stats.holm([]).size == 0


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: stats.nadeau_bengio([], 9, 1), "values of shape (0,) are not valid"),
        (lambda: stats.nadeau_bengio([0.1, math.nan], 9, 1), "values of shape (2,) are not valid"),
        (lambda: stats.nadeau_bengio([1, 2], 0, 5), "train: 0 is not valid"),
        (lambda: stats.holm([0.5, 1.5]), "p: of shape (2,), or a p-value is outside [0, 1]"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, sentence):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)


def test_every_metric_has_a_direction():
    assert set(METRICS) == set(stats.HIGHER_IS_BETTER)
