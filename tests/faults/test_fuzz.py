"""A short share of the fuzzing of tests/faults/fuzz.py, the same inputs every time, and a test of the harness."""

import os
from pathlib import Path

import fuzz
import pytest
from fuzz import Outcome, Reader, fault_of, fuzz_all, guarded, table, try_case

from lib import InputError


def test_every_reader_ends_in_a_result_or_a_refusal():
    outcomes = fuzz_all(900, 0)
    assert len(outcomes) >= 20 and all(outcome.cases >= 5 for outcome in outcomes.values())
    defects = [defect for outcome in outcomes.values() for defect in outcome.defects]
    assert not defects, "\n".join(defects[:5])
    assert all(
        outcome.results
        for title, outcome in outcomes.items()
        if title not in ("other files as archives", "addresses of downloads")
    )  # of these none is good
    assert "all" in table(outcomes)


def refuse(sentence: str):
    def attempt(case, folder: Path):
        raise InputError(sentence)

    return attempt


def climb(case, folder: Path):
    (folder.parent / "escape").touch()


def overwrite(case, folder: Path):
    (folder.parent / "secret").write_text("other")


def spend(case, folder: Path):
    return bytearray(600_000_000).count(1)


def wait(case, folder: Path):
    os.mkfifo(folder / "pipe")
    (folder / "pipe").read_bytes()


def test_a_sentence_of_two_lines_is_a_defect():
    """InputError makes its text one printable line itself; other writers of sentences may not."""
    assert fuzz.fault_of("x.npz: broken\nget another", ("x.npz",)) == "not one printable line"


@pytest.mark.parametrize(
    "attempt, words",
    [
        (lambda case, folder: 1 / 0, "ZeroDivisionError at test_fuzz.py"),
        (refuse("x.npz: broken"), "without a remedy"),
        (refuse("it is broken: get another"), "names neither file nor parameter"),
        (refuse("x.npz: get another " + "x" * 2000), "characters long"),
        (climb, "wrote outside"),
        (overwrite, "wrote outside"),
        (spend, "MB of memory"),
        (wait, "more than"),
    ],
)
def test_the_harness_sees_defects(attempt, words, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    outcome = Outcome()
    with guarded() as place:
        try_case(Reader("reader", None, attempt, ("x.npz",)), 1, outcome, place)
    assert len(outcome.defects) == 1 and words in outcome.defects[0]


def test_a_good_refusal_is_none():
    assert fault_of("x.npz: broken; get another", ("x.npz",)) is None
