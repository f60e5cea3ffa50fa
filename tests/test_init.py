"""lib/__init__.py: how errors are told."""

import pytest

from lib import PROJECT, InputError, reason


def test_bad_input_is_shown_without_a_traceback():
    assert InputError("epochs: give 1 or more")._render_traceback_() == ["InputError: epochs: give 1 or more"]


@pytest.mark.parametrize(
    "text, told",
    [
        ("two\n  lines\t", "two lines"),
        ("", "ValueError"),
        ("x" * 300, "x" * 200),
        ("a\x1b[2Jb\udcff", "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_another_library_says_becomes_a_short_printable_line(text, told):
    assert reason(ValueError(text)) == told


def test_the_project_is_where_its_parameters_are():
    assert (PROJECT / "params" / "profiles" / "paper.yaml").is_file() and (PROJECT / "lib" / "__init__.py").is_file()
