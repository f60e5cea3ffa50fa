"""lib/view/report_masks.py: which masks the report shows."""

import numpy as np

from lib import outputs
from lib.view import report_masks


def test_masks_shown_are_worst_median_best_and_most_disputed():
    chosen = report_masks.choose(np.array([0.5, 0.9, 0.2, 0.8]), np.array([0.6, 0.1, 0.3, 0.9]))
    assert chosen == {"worst": 1, "median": 2, "best": 3, "largest disagreement": 1}


def test_a_study_that_came_without_maps_has_no_section_of_masks(study):
    assert report_masks.html(outputs.read_study(study)).count("<summary>") == 4
    for path in study.glob("*/probabilities.npz"):
        path.unlink()
    assert report_masks.html(outputs.read_study(study)) == ""
