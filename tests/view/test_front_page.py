"""lib/view/front_page.py: what it tells of a study."""

import re
from html import unescape
from urllib.parse import unquote

import pytest

from lib import PROJECT, outputs
from lib.view import front_page


def test_the_front_page_tells_what_failed_and_what_is_missing(study):
    (study / ".failed" / "fcresnet-lfw-big-hair-bce").mkdir(parents=True)
    (study / ".failed" / "fcresnet-lfw-big-hair-bce" / "error.txt").write_text("cell 7: <no> luck\n")
    page = front_page._overview([outputs.state(study)])
    assert "<td>8 of 32</td>" in page and "cell 7: &lt;no&gt; luck" in page
    assert "bfcn32s-helen-big-hair-iou" in page.split("missing: ")[1]


def test_every_link_of_the_front_page_opens_a_file(monkeypatch):
    monkeypatch.chdir(PROJECT / "notebooks")
    page = front_page._overview(outputs.studies())
    links = {unquote(unescape(link)) for link in re.findall('href="../([^"]+)"', page)}
    assert "outputs/published/demo/tables/README.md" in links
    assert all((PROJECT / link).is_file() for link in links)


@pytest.mark.parametrize(
    "name, link", [("run #2", "run%20%232"), ("a?b", "a%3Fb"), ("50%25 x", "50%2525%20x"), ('"<b>$', "%22%3Cb%3E%24")]
)
def test_links_open_whatever_the_name_and_hidden_or_distant_files_are_named_by_their_path(
    tmp_path, monkeypatch, name, link
):
    (tmp_path / "home" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home" / "notebooks")
    files = [
        tmp_path / "home" / "outputs" / name / "a.ipynb",
        tmp_path / "home" / ".failed" / "a.ipynb",
        tmp_path / "b",
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    inside, hidden, distant = (front_page._link(path, "<text>") for path in files)
    assert inside == f'<a href="../outputs/{link}/a.ipynb">&lt;text&gt;</a>'
    assert hidden == f"&lt;text&gt; (<code>{files[1]}</code>)" and distant == f"&lt;text&gt; (<code>{files[2]}</code>)"
    assert front_page._link(tmp_path / "nowhere", "x") == ""
