"""lib/analysis/names.py: every word that a person meets in a table or figure has a name, written in one way."""

from dataclasses import fields

from lib.analysis import names
from lib.analysis.stats import HIGHER_IS_BETTER
from lib.config import BEYOND, CHOICES, PAPER, Config


def test_every_choice_of_a_run_has_a_name():
    assert set(names.NETWORKS) == {*PAPER["model"], *BEYOND["model"]}
    assert set(names.LOSSES) == set(CHOICES["loss"])
    assert set(names.DATASETS) == set(CHOICES["dataset"])


def test_scores_and_settings_are_those_of_records():
    assert set(HIGHER_IS_BETTER) <= set(names.SCORES) and set(names.COLUMNS) <= set(names.SCORES)
    assert {*names.SETTINGS, *names.VALUES} <= {field.name for field in fields(Config)}


def test_no_two_things_have_one_name_and_iou_has_a_prime():
    for given in (
        names.NETWORKS,
        names.DATASETS,
        names.LOSSES,
        names.SCORES,
        names.COLUMNS,
        names.SETTINGS,
        names.VALUES,
    ):
        assert len(set(given.values())) == len(given)
        assert not any("IoU'" in name for name in given.values())  # U+2032 it is: IoU′
