import numpy as np
import pytest

from lib import InputError, config, data
from lib.analysis import paper


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
