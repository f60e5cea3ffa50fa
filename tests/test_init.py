"""lib/__init__.py: how errors and foreign text are told; where studies are."""

import sys
from pathlib import Path

import pytest

import lib
from lib import PROJECT, InputError, html, markdown, outputs_folder, plain, printable, reason


def test_bad_input_is_shown_without_a_traceback(monkeypatch):
    monkeypatch.setattr(lib, "ARRIVAL", 0.0)
    assert InputError("epochs: give 1 or more")._render_traceback_() == ["InputError: epochs: give 1 or more"]


@pytest.mark.parametrize("ipykernel", [True, False])
def test_a_refusal_in_a_kernel_waits_for_the_cells_of_run_all(monkeypatch, ipykernel):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if ipykernel:
        monkeypatch.setitem(sys.modules, "ipykernel", None)
    waited = []
    monkeypatch.setattr(lib.time, "sleep", waited.append)
    InputError("epochs: give 1 or more")._render_traceback_()
    assert waited == [lib.ARRIVAL] * ipykernel


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


# ---- foreign text ----------------------------------------------------------------------------------------------

HOSTILE = [
    '<img src=x onerror="window.P1=1">',
    "<script>window.P1=1</script>",
    "`code` ``more`` ~~out~~ **bold** _it_ __so__",
    "[link](javascript:window.P1=1) ![picture](/etc/hostname) [a]: http://a.b",
    "<https://evil.example> https://evil.example www.evil.example me@evil.example",
    r"$x^2$ $$y$$ \(z\) \[w\] \begin{align}v\end{align}",
    "&lt;b&gt; &amp; &#60;",
    "a | b | c",
    "# heading",
    "- item",
    "+ item",
    "7. item",
    "> quote",
    "===",
    "    code",
    "Ann_Lee_0001 and snake_case",
    "Köln 顔 – ½ \U0001f600",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "- {}", "**{}**", "Data: {}; more: {}.", "| {} | {} |\n|---|---|\n| {} | 1 |"])
def test_foreign_text_in_markdown_is_shown_as_it_is(text, frame):
    """As nbconvert renders it for `report.html`; `test_browser.py` shows the same of JupyterLab."""
    from bs4 import BeautifulSoup
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    page = BeautifulSoup(markdown2html_mistune(frame.replace("{}", markdown(text))), "html.parser")
    own = BeautifulSoup(markdown2html_mistune(frame.replace("{}", "word")), "html.parser")
    assert {tag.name for tag in page.find_all()} - {"span"} == {tag.name for tag in own.find_all()}
    wanted = own.get_text().replace("word", " ".join(text.split()))
    assert page.get_text().split() == wanted.split()
    assert not page.find_all("span", class_="math") and not any(tag.attrs for tag in page.find_all("span"))


def test_foreign_text_is_one_printable_line():
    assert printable("a\x1b[2Jb\nc\u202ed\x9b") == "a\N{REPLACEMENT CHARACTER}[2Jb c" + "\N{REPLACEMENT CHARACTER}d" + (
        "\N{REPLACEMENT CHARACTER}"
    )
    assert markdown("one\n\n<two>") == "one &#60;two&#62;"
    assert str(InputError("of \x1b[2J\n")) == "of \N{REPLACEMENT CHARACTER}[2J "


@pytest.mark.parametrize("text", ["$", r"$\frac$", "a$b$c", r"\$x\$", r"100 % \alpha", "two\nlines $5"])
def test_foreign_text_in_a_figure_is_no_formula(text):
    from matplotlib.figure import Figure

    figure = Figure()
    shown = figure.suptitle(plain(text))
    figure.canvas.draw()
    assert shown._preprocess_math(shown.get_text()) == (text, False)


def test_the_folder_of_studies_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv("IOU_STUDY_OUTPUTS", raising=False)
    assert outputs_folder() == PROJECT / "outputs"
    for given, folder in (("mine", PROJECT / "mine"), (str(tmp_path), tmp_path), ("~/x", Path.home() / "x")):
        monkeypatch.setenv("IOU_STUDY_OUTPUTS", given)
        assert outputs_folder() == folder
    monkeypatch.setenv("IOU_STUDY_OUTPUTS", "~nobody-at-all/x")
    with pytest.raises(InputError, match="IOU_STUDY_OUTPUTS: ~nobody-at-all/x: .*; set it to another folder"):
        outputs_folder()


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_in_html_is_shown_as_it_is(text):
    from bs4 import BeautifulSoup

    page = BeautifulSoup(f"<p>{html(text)}</p>", "html.parser")
    assert page.get_text() == text and {tag.name for tag in page.find_all()} <= {"p", "span"}
    assert all("$" not in part and "\\" not in part or len(part) == 1 for part in page.find_all(string=True))
