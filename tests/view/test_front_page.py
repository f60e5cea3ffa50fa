"""lib/view/front_page.py: what it tells of a study."""

import re
from html import unescape

from lib import PROJECT, outputs
from lib.view import front_page


def test_the_front_page_tells_what_failed_and_what_is_missing(study):
    (study / ".failed" / "fcresnet-lfw-big-hair-bce").mkdir(parents=True)
    (study / ".failed" / "fcresnet-lfw-big-hair-bce" / "error.txt").write_text("cell 7: <no> luck\n")
    page = front_page._overview([outputs.state(study)])
    assert "<td>8 of 32</td>" in page and "cell 7: &lt;no&gt; luck" in page
    assert "bfcn32s-helen-big-hair-iou" in page.split("missing: ")[1]


def test_every_link_of_the_front_page_opens_a_file():
    page = front_page._overview(outputs.studies())
    links = {unescape(link) for link in re.findall('href="../([^"]+)"', page)}
    assert "outputs/published/demo/tables/README.md" in links
    assert all((PROJECT / link).is_file() for link in links)
