import numpy as np
import pytest

from lib import InputError, config, data
from lib.analysis import paper, stats, tables


def test_cells_are_the_sixteen_rows_in_the_papers_order():
    assert len(set(config.CELLS)) == len(paper.ROWS) == 16
    names = [cell.name for cell in config.CELLS[:4]]
    assert names == ["big, hair", "small, hair", "big, no hair", "small, no hair"]
    assert [cell[:2] for cell in config.CELLS[::4]] == [
        ("bfcn32s", "lfw"),
        ("bfcn32s", "helen"),
        ("fcresnet", "lfw"),
        ("fcresnet", "helen"),
    ]


def test_run_ids_name_the_32_runs():
    ids = {cell.run_id(loss) for cell in config.CELLS for loss in paper.LOSSES}
    assert len(ids) == 32
    assert config.CELLS[2].run_id("bce") == "bfcn32s-lfw-big-nohair-bce"


@pytest.mark.parametrize(
    "metric, first, last, total",
    [
        ("accuracy", (0.974, 0.978), (0.963, 0.960), 30.565),
        ("iou", (0.921, 0.906), (0.796, 0.766), 26.252),
        ("epochs", (91, 146), (88, 80), 2980),
    ],
)
def test_scores_are_the_papers(metric, first, last, total):
    scores = paper.scores(metric)
    assert scores.shape == (16, 2) and scores.dtype == "float64"
    assert tuple(scores[0]) == first and tuple(scores[-1]) == last
    assert scores.sum() == pytest.approx(total)  # of the numbers in the paper's text: a mistyped one shows


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="iou_soft"):
        paper.scores("iou_soft")


def test_splits_leave_at_most_one_image_unused():
    assert 2927 - sum(paper.SPLITS["lfw", "big"]) == 1
    assert 2330 - sum(paper.SPLITS["helen", "big"]) == 0


@pytest.mark.parametrize(
    "accuracy, prevalence, low, high",
    [
        (0.978, 0.305, 0.928, 0.933),  # three BCE rows of the paper's Table 3
        (0.976, 0.212, 0.887, 0.898),
        (0.963, 0.305, 0.879, 0.892),
        (1.0, 0.3, 1.0, 1.0),
        (0.5, 0.3, 0.0, 0.375),  # more errors than positives: all of them can be missed
    ],
)
def test_bounds_by_hand(accuracy, prevalence, low, high):
    assert paper.iou_bounds(accuracy, prevalence) == pytest.approx((low, high), abs=5e-4)


def test_bounds_are_the_extremes_of_all_predictions_with_so_many_errors():
    pixels = 12
    for positives in range(1, pixels + 1):
        for errors in range(pixels + 1):
            ious = [
                (positives - fn) / (positives + errors - fn)
                for fn in range(errors + 1)
                if fn <= positives and errors - fn <= pixels - positives
            ]
            bounds = paper.iou_bounds(1 - errors / pixels, positives / pixels)
            assert bounds == pytest.approx((min(ious), max(ious))), (positives, errors)


def test_bounds_contain_the_papers_iou_loss_rows_but_not_bce_rows_of_bfcn32s():
    inside = np.array(
        [
            [
                low <= iou <= high
                for iou, (low, high) in (
                    (i, paper.iou_bounds(a, paper.PREVALENCE["lfw", cell.hair])) for a, i in zip(*row)
                )
            ]
            for cell, row in zip(config.CELLS, zip(paper.scores("accuracy"), paper.scores("iou")))
            if cell.dataset == "lfw"
        ]
    )
    assert inside[:, 0].all()
    assert not inside[:4, 1].any()


@pytest.mark.parametrize("accuracy, prevalence", [(1.1, 0.3), (-0.1, 0.3), (float("nan"), 0.3), (0.9, 0.0), (0.9, 1.2)])
def test_bounds_refuse_what_is_no_share(accuracy, prevalence):
    with pytest.raises(InputError):
        paper.iou_bounds(accuracy, prevalence)


def test_the_splits_are_table_1():
    from lib.analysis import paper

    assert paper.SPLITS == {
        (name, size): counts for name, facts in data.DATASETS.items() for size, counts in facts.splits.items()
    }


def test_implied_iou_by_hand():
    """100 pixels, 20 positive, 4 errors: two missed, two false alarms, so 18 found of 22 in either."""
    assert paper.implied_iou(0.96, 0.20) == pytest.approx(18 / 22)
    assert paper.implied_iou(1.0, 0.3) == 1 and paper.implied_iou(0.2, 0.1) == 0
    with pytest.raises(InputError, match="accuracy is 1.2"):
        paper.implied_iou(1.2, 0.3)


@pytest.mark.parametrize(
    "dataset, hair, low, high",
    [
        ("lfw", True, 0.295, 0.338),
        ("lfw", False, 0.200, 0.227),
        ("helen", True, 0.273, 0.320),
        ("helen", False, 0.156, 0.175),
    ],
)
def test_rows_of_iou_loss_agree_on_one_share_of_positive_pixels_and_rows_of_bce_on_none(dataset, hair, low, high):
    found = paper.implied_prevalence(dataset, hair, "iou")
    assert found == pytest.approx((low, high), abs=0.0005)
    if (dataset, hair) in paper.PREVALENCE:
        assert found[0] < paper.PREVALENCE[dataset, hair] < found[1]
    others = paper.implied_prevalence(dataset, hair, "bce")
    assert max(found[0], others[0]) > min(found[1], others[1])  # no share fits both


def test_reported_minus_implied_iou_is_small_after_iou_loss_alone():
    found = paper.reported_minus_implied()
    assert found.shape == (16, 2)
    assert found.min(axis=0) == pytest.approx([-0.010, -0.051], abs=0.0006)
    assert found.max(axis=0) == pytest.approx([0.006, -0.009], abs=0.001)
    assert found.mean(axis=0) == pytest.approx([-0.0004, -0.028], abs=0.001)
    gain = (paper.scores("iou") - found) @ [1, -1]  # in masks, as the accuracies imply it
    low, high = stats.mean_interval(gain, np.zeros(16))
    assert gain.mean() == pytest.approx(0.006, abs=0.0005) and (high - low) / 2 == pytest.approx(0.014, abs=0.0005)
    assert (paper.scores("iou") @ [1, -1]).mean() == pytest.approx(0.034, abs=0.0005)


def test_lowest_mean_iou_by_hand_and_against_every_mask():
    """Two images of 10 pixels, 2 and 4 positive, 3 errors: both of the first are missed and one of the second."""
    assert paper.lowest_mean_iou(0.85, [2, 4], [10, 10]) == pytest.approx((0 + 3 / 4) / 2)
    assert paper.lowest_mean_iou(1.0, [2, 4], [10, 10]) == 1
    assert paper.lowest_mean_iou(0.9, [2], [10]) == pytest.approx(paper.iou_bounds(0.9, 0.2)[0])  # one group is pooled
    positives, pixels = np.array([1, 2, 3]), np.array([4, 4, 8])  # groups count by their size
    for errors in range(7):
        means = [
            np.average((positives - misses) / (positives + alarms), weights=pixels)
            for misses in np.ndindex(2, 3, 4)
            for alarms in np.ndindex(4, 3, 6)
            if sum(misses) + sum(alarms) == errors
        ]
        assert paper.lowest_mean_iou(1 - errors / 16, positives, pixels) <= min(means) + 1e-12
        assert max(means) <= 1 - errors / 16 + 1e-12
    with pytest.raises(InputError, match="positives: give 1 or more"):
        paper.lowest_mean_iou(0.9, [0, 2], [4, 4])
    with pytest.raises(InputError, match="shapes"):
        paper.lowest_mean_iou(0.9, [1, 2], [4])


@pytest.mark.parametrize(
    "hair, accuracy, batches, images",
    [
        (True, 0.978, 0.922, 0.892),
        (True, 0.963, 0.869, 0.830),
        (False, 0.976, 0.882, 0.848),
        (False, 0.967, 0.838, 0.799),
    ],
)
def test_lowest_means_with_the_positive_pixels_of_lfws_test_part(hair, accuracy, batches, images):
    for counts, lowest in zip(tables.lfw_groups()[hair], (batches, images)):
        assert paper.lowest_mean_iou(accuracy, *counts) == pytest.approx(lowest, abs=0.0011)  # labels at 128 px here
