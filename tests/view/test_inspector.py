"""lib/view/inspector.py without a browser: what it sends, how it is set from Python, what it says of bad studies."""

import io
import re
from base64 import b64decode

import nbformat
import numpy as np
import pytest
from IPython.display import HTML
from made_up_study import IMAGES, write_run
from nbconvert import HTMLExporter
from PIL import Image
from traitlets import TraitError

from lib import InputError, config, outputs
from lib.analysis import paper
from lib.view import inspector
from lib.view.inspector import Inspector

PAIR = [config.CELLS[0].run_id(loss) for loss in paper.LOSSES]


def ask(inspector, row):
    """What the kernel sends when the browser wants the pixels of one image."""
    sent = []
    inspector.send = lambda content, buffers: sent.append((content, buffers))
    inspector._answer(inspector, {"row": row}, [])
    return sent


def test_it_opens_with_a_pair_and_sends_its_curves(study):
    inspector = Inspector(study)
    assert [inspector.first, inspector.second] == PAIR and inspector.message == ""
    assert inspector.content["ids"] == ["Ann_0001", "Bob_0001"] and inspector.image == "Ann_0001"
    assert [run["name"] for run in inspector.content["runs"]] == ["IoU loss", "BCE loss"]
    curves = np.frombuffer(inspector.content["runs"][0]["iou"], "float32").reshape(2, 256)
    # Probabilities 0, 1, 2, 3 on the labels 1, 1, 0, 0 (hair counts): above 0, one hit, two false alarms, one miss.
    assert curves[0, :4] == pytest.approx([1 / 4, 0, 0, 0])


def test_it_sends_pixels_on_demand(study):
    inspector = Inspector(study)
    ((content, buffers),) = ask(inspector, 1)
    assert content == {"row": 1, "runs": PAIR}
    image, label, *probabilities = (np.frombuffer(buffer, "uint8") for buffer in buffers)
    assert image.tolist() == IMAGES[1].ravel().tolist() and label.tolist() == [0, 1, 1, 0]
    assert [p.tolist() for p in probabilities] == [[4, 5, 6, 7]] * 2
    for nonsense in (2, -1, "0", None):
        assert ask(inspector, nonsense) == []


def test_runs_are_set_from_python(study):
    inspector = Inspector(study)
    inspector.first = config.CELLS[1].run_id("bce")
    assert inspector.second == config.CELLS[1].run_id("iou") and inspector.partners[0] == inspector.second
    inspector.second = ""
    assert len(inspector.content["runs"]) == 1 and len(ask(inspector, 0)[0][1]) == 3
    other = next(cell for cell in config.CELLS[:4] if cell.hair != config.CELLS[1].hair).run_id("bce")
    inspector.second = other  # another task: its labels differ
    assert inspector.second == config.CELLS[1].run_id("iou") and inspector.message == ""


def test_an_image_that_is_not_there_is_refused(study):
    inspector = Inspector(study)
    with pytest.raises(
        TraitError, match="no test image 'Zoe_0001'; take one of content\\['ids'\\], for example 'Ann_0001'"
    ):
        inspector.image = "Zoe_0001"
    assert inspector.image == "Ann_0001"
    inspector.image = "Bob_0001"
    assert inspector.image == "Bob_0001"


def test_the_largest_disagreement(study):
    table = study / config.CELLS[3].run_id("bce") / "per_image.csv"
    table.write_text(table.read_text().replace("Bob_0001,0.75,0.6", "Bob_0001,0.75,0.1"))
    inspector = Inspector(study)
    inspector.show_largest_disagreement()
    assert inspector.first == config.CELLS[3].run_id("iou") and inspector.image == "Bob_0001"
    assert inspector.order == "difference"


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda study: None, "there is no such study folder"),
        (lambda study: study.mkdir(), "holds no finished run"),
        (lambda study: (study / "holiday").mkdir(parents=True), "holds no finished run (1 unfinished or unreadable)"),
        (lambda study: write_run(study, config.CELLS[0], "iou"), "parameter image_size"),
    ],
    ids=["missing", "empty", "foreign", "unfinished data"],
)
def test_a_study_that_cannot_be_shown_gets_a_sentence(tmp_path, damage, words):
    damage(tmp_path / "study")
    inspector = Inspector(tmp_path / "study")
    assert words in inspector.message and inspector.content == {}
    assert ask(inspector, 0) == []


@pytest.mark.parametrize("file", ["probabilities.npz", "per_image.csv"])
def test_a_half_written_run_gets_a_sentence_and_the_others_still_open(study, file):
    path = study / PAIR[0] / file
    path.write_bytes(path.read_bytes()[:40])
    inspector = Inspector(study)
    assert str(path) in inspector.message and "cannot be read" in inspector.message
    inspector.show(study, config.CELLS[1].run_id("iou"))
    assert inspector.message == "" and len(inspector.content["runs"]) == 2


def test_an_unknown_run_is_named(study):
    inspector = Inspector(study, "bfcn32s-lfw-big-hair-dice")
    assert "has no finished run 'bfcn32s-lfw-big-hair-dice'" in inspector.message
    with pytest.raises(InputError):
        Inspector("/nowhere").show_largest_disagreement()


@pytest.mark.parametrize("name, why", [("photographs", "pictures of people are not"), ("losses", "not passed on")])
def test_a_published_study_without_masks_says_where_its_scores_are(name, why):
    folder = outputs.PUBLISHED / name
    message = Inspector(folder).message
    assert why in message and f"the scores are in {folder / 'tables'}" in message and "synthetic" not in message


def test_without_a_kernel_there_is_a_still_picture_and_a_sentence(study, tmp_path, monkeypatch):
    """As nbconvert writes it: no state of the widget is left in a notebook that is opened or exported later."""
    shown = []
    monkeypatch.setattr(inspector, "display", lambda each, **_: shown.append(each))
    for folder in (study, tmp_path / "nowhere"):
        Inspector(folder)._ipython_display_()
    shown = [{"text/html": each.data} if isinstance(each, HTML) else each for each in shown]
    outputs = [nbformat.v4.new_output("display_data", each) for each in shown]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("inspector", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "lib.view.inspector.Inspector" not in page and "object at 0x" not in page
    assert page.count("needs a running kernel: run this cell in JupyterLab.") == 2
    assert "Ann_0001 of" in page and " after IoU loss, " in page and "nowhere: there is no such study folder" in page
    (picture,) = re.findall(
        r'class="iou-inspector-still"><img alt="Ann_0001[^"]*" src="data:image/png;base64,([^"]+)"', page
    )
    assert np.asarray(Image.open(io.BytesIO(b64decode(picture)))).std() > 10
    assert ["application/vnd.jupyter.widget-view+json" in each for each in shown] == [True, False] * 2
