"""JupyterLab in a real browser, opened as `make lab` does: front page and inspector on the published study."""

import json
import re

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hostile_study import FIRES, IDS, NAME, TEXT, hostile_faces, write_hostile_study
from lab import CHROMIUM, notebook_of, run_notebook, running
from lessons import LESSONS, differences, read, with_solutions
from official_files import place
from playwright.sync_api import expect, sync_playwright
from tiny_runs import TINY

from lib import PROJECT, config, outputs
from lib.analysis import pairs, predictions
from lib.study import report

STUDY = PROJECT / "outputs" / "published" / "demo"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `make browser` installs it on Debian")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(root):
    with running(root, "published/demo") as address:
        yield address


@pytest.fixture(scope="module")
def page(lab):
    """A page of the browser; `page.problems` gathers what its console calls an error."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        page.problems = []
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        yield page
        browser.close()


@pytest.fixture(scope="module")
def inspector(page, lab):
    run_notebook(page, lab("inspect.ipynb"))
    inspector = page.locator(".iou-inspector")
    expect(inspector).to_have_attribute("data-painted", re.compile("127"))
    inspector.evaluate("element => element.scrollIntoView()")
    return inspector


def shown(inspector):
    """(image id, level k of the threshold) of what is painted."""
    return tuple(json.loads(inspector.get_attribute("data-painted")))


def expect_shown(inspector, image=".*", k="[0-9]+"):
    expect(inspector).to_have_attribute("data-painted", re.compile(rf'^\["{image}",{k}\]$'))


@pytest.fixture(scope="module")
def truth():
    """Masks and probabilities of the pair that the inspector opens with, by image id: (mask, (P, P))."""
    _, iou, bce = pairs.pairs(outputs.read_study(STUDY))[0]
    _, masks = predictions.test_pictures(iou)
    maps = zip(masks, iou.probabilities()[0], bce.probabilities()[0])
    return {name: (mask > 0, both) for name, (mask, *both) in zip(iou.per_image["id"].tolist(), maps)}


def counts(mask, probability, k):
    predicted = probability > k
    return [
        int(np.count_nonzero(cells))
        for cells in (mask & predicted, ~mask & predicted, mask & ~predicted, ~mask & ~predicted)
    ]


def check_numbers(inspector, truth):
    """Table, status and error maps against the stored probabilities."""
    image, k = shown(inspector)
    mask, maps = truth[image]
    expect(inspector.locator("tbody tr td").nth(2)).not_to_have_text("")  # the pictures are there
    for line, probability, loss in zip(inspector.locator("tbody tr").all(), maps, ("IoU loss", "BCE loss")):
        tp, fp, fn, tn = counts(mask, probability, k)
        cells = [text.replace(",", "") for text in line.locator("td").all_inner_texts()]
        assert cells[2:6] == list(map(str, (tp, fp, fn, tn)))
        assert cells[0] == f"{tp / max(1, tp + fp + fn):.4f}" and cells[1] == f"{(tp + tn) / mask.size:.4f}"
        every = [counts(m, both[loss == "BCE loss"], k) for m, both in truth.values()]
        assert float(cells[6]) == pytest.approx(np.mean([t / max(1, t + f + n) for t, f, n, _ in every]), abs=6e-5)
        text = f"Errors, {loss}: {tp:,} true positive, {fp:,} false positive, {fn:,} false negative pixels"
        expect(inspector.get_by_role("img", name=text)).to_be_visible()
        assert f"{tp / max(1, tp + fp + fn):.3f} after {loss}" in inspector.locator(".status").inner_text()


def coloured(inspector, name):
    """How many pixels of a canvas are not grey, in pixels of the image."""
    canvas = inspector.get_by_role("img", name=name)
    return canvas.evaluate("""canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let i = 0; i < data.length; i += 4) found += data[i] !== data[i + 1] || data[i] !== data[i + 2];
        return found / (canvas.width / 128) ** 2; }""")


def test_it_opens_with_a_pair_and_right_numbers(inspector, truth):
    assert shown(inspector) == (next(iter(truth)), 127)
    check_numbers(inspector, truth)


def test_the_dragged_threshold_moves_picture_and_numbers(page, inspector, truth):
    inspector.get_by_role("checkbox", name="contours").uncheck()
    box = inspector.get_by_role("slider", name="Threshold").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    levels = []
    for share in (0.6, 0.7, 0.8):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_timeout(200)  # still pressed
        levels.append(shown(inspector)[1])
        image, k = shown(inspector)
        mask, maps = truth[image]
        for probability, loss in zip(maps, ("IoU loss", "BCE loss")):
            tp, fp, fn, _ = counts(mask, probability, k)
            assert coloured(inspector, f"Predicted mask, {loss}") == tp + fp
            assert coloured(inspector, f"Errors, {loss}") == tp + fp + fn
    page.mouse.up()
    assert 127 < levels[0] < levels[1] < levels[2]
    check_numbers(inspector, truth)
    inspector.get_by_role("checkbox", name="contours").check()


def test_keys_step_jump_toggle_and_zoom(page, inspector, truth):
    ids = list(truth)
    inspector.locator("canvas").first.click()
    page.keyboard.press("ArrowRight")
    expect_shown(inspector, ids[1])
    page.keyboard.press("ArrowRight")
    expect_shown(inspector, ids[2])
    page.keyboard.press("ArrowLeft")
    expect_shown(inspector, ids[1])
    check_numbers(inspector, truth)
    pictures = inspector.locator("canvas")
    for key, fewer in (("i", 1), ("l", 1), ("p", 2), ("m", 2), ("e", 2)):
        page.keyboard.press(key)
        expect(pictures).to_have_count(8 - fewer)
        page.keyboard.press(key)
        expect(pictures).to_have_count(8)
    canvas, read = pictures.first, "canvas => canvas.toDataURL()"
    before = canvas.evaluate(read), pictures.last.evaluate(read)
    page.keyboard.press("+")
    page.wait_for_timeout(300)
    assert canvas.evaluate(read) != before[0] and pictures.last.evaluate(read) != before[1]  # linked
    page.keyboard.press("0")
    page.wait_for_timeout(300)
    assert canvas.evaluate(read) == before[0]
    page.keyboard.press("d")
    k = shown(inspector)[1]
    iou = {
        name: [t / max(1, t + f + n) for t, f, n, _ in (counts(mask, p, k) for p in maps)]
        for name, (mask, maps) in truth.items()
    }
    expect_shown(inspector, max(iou, key=lambda name: abs(iou[name][0] - iou[name][1])))
    page.keyboard.press("w")
    expect_shown(inspector, min(iou, key=lambda name: iou[name][0]))


def test_a_bar_of_the_histogram_selects_its_images(page, inspector, truth):
    k = shown(inspector)[1]
    bar = inspector.locator(".bin").last
    low, high = map(float, re.match(r"IoU ([\d.]+) to ([\d.]+):", bar.get_attribute("aria-label")).groups())
    bar.click()
    page.wait_for_timeout(500)
    image = shown(inspector)[0]
    mask, maps = truth[image]
    ious = [t / max(1, t + f + n) for t, f, n, _ in (counts(mask, p, k) for p in maps)]
    assert any(low <= iou <= high for iou in ious)
    assert inspector.get_by_role("combobox", name="image", exact=True).input_value() == image
    focused = inspector.locator(".bin[tabindex='0']")
    focused.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert shown(inspector)[0] != image or inspector.locator(".bin").count() == 1


def test_sorting_by_difference(inspector, truth):
    inspector.get_by_role("combobox", name="order of the images").select_option("difference")
    k = shown(inspector)[1]
    names = (
        inspector.get_by_role("combobox", name="image", exact=True)
        .locator("option")
        .evaluate_all("options => options.map(option => option.value)")
    )
    by_name = {
        name: [t / max(1, t + f + n) for t, f, n, _ in (counts(mask, p, k) for p in maps)]
        for name, (mask, maps) in truth.items()
    }
    differences = [by_name[name][0] - by_name[name][1] for name in names]
    assert differences == sorted(differences)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_either_theme(page, inspector, theme):
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_role("menuitem", name=theme, exact=True).or_(page.get_by_text(theme, exact=True)).first.click()
    page.wait_for_timeout(1500)
    violations = Axe().run(page, context=".iou-inspector").response["violations"]
    assert not violations, [(found["id"], found["nodes"][0]["html"][:200]) for found in violations]


def test_another_study_and_a_missing_one(page, inspector):
    def execute(code):
        page.locator(".jp-CodeCell").last.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.type(code)
        page.keyboard.press("Control+Enter")

    execute("inspector.show('nowhere')")
    expect(inspector.get_by_role("alert")).to_have_text(re.compile("nowhere: there is no such study folder"))
    assert page.locator(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0
    execute("inspector.show('published/demo')")
    expect(inspector.get_by_role("alert")).to_be_hidden()
    expect(inspector.locator("canvas").first).to_be_visible()


def test_two_clicks_from_the_front_page_to_the_largest_disagreement(page, lab):
    run_notebook(page, lab("index.ipynb"))
    page.get_by_role("button", name="published/demo: where do the losses disagree most?").click()
    inspector = page.locator(".iou-inspector")
    *_, image = predictions.largest_disagreement(outputs.read_study(STUDY))
    expect_shown(inspector, image)
    violations = Axe().run(page, context=".jp-OutputArea-output table, .widget-vbox").response["violations"]
    assert not violations, [(found["id"], found["nodes"][0]["html"][:200]) for found in violations]


def retype(page, old, new):
    """Types into the parameters cell: replaces its text by one with `new` for `old`."""
    cell = page.locator(".jp-CodeCell").first
    source = notebook_of(page).cells[1].source
    assert source.count(old) == 1
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source.replace(old, new))
    assert notebook_of(page).cells[1].source == source.replace(old, new)


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def test_run_all_stops_at_a_refusal_and_leaves_the_good_run(page, lab, root, tmp_path):
    """One types a wrong loss, then a wrong name, into the notebook of a good run: nothing runs after the sentence."""
    path = root / "notebooks" / "train.ipynb"
    notebook = nbformat.read(PROJECT / "notebooks" / "train.ipynb", as_version=4)
    for name, value in (TINY | {"epochs": 2, "out_dir": str(tmp_path)}).items():
        notebook.cells[1].source, count = re.subn(
            rf"(?m)^{name}: (\w+) = [^#\n]*", lambda line: f"{name}: {line[1]} = {value!r}  ", notebook.cells[1].source
        )
        assert count == 1, name
    nbformat.write(notebook, path)
    run_notebook(page, lab("train.ipynb"))
    expect(page.locator(".jp-CodeCell .jp-InputArea-prompt").last).to_have_text(
        re.compile(r"\[\d+\]:"), timeout=180_000
    )
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    assert page.locator("[data-mime-type*=stderr]").count() == 0  # no red line of TensorFlow
    assert len(list(tmp_path.rglob("record.json"))) == 1
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for old, new, sentence in (
        ('loss: str = "iou"', 'loss: str = "dise"', "parameter loss: 'dise' is not valid"),
        (
            'loss: str = "dise"',
            'loss: str = "iou"\nepoch: int = 3',
            "unknown parameter 'epoch': did you mean 'epochs'?",
        ),
    ):
        retype(page, old, new)
        run_all(page)
        expect(page.get_by_text(sentence)).to_be_visible()
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
        page.wait_for_timeout(500)  # in which the other cells would run
        cells = [cell for cell in notebook_of(page).cells if cell.cell_type == "code"]
        assert [output.ename for output in cells[1].outputs if output.output_type == "error"] == ["InputError"]
        assert not any(cell.execution_count or cell.outputs for cell in cells[2:])
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


# ---- a stranger's study ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(root, page):
    """A study from a stranger among one's own, with its report."""
    study = root / "outputs" / NAME
    write_hostile_study(study)
    report.write(study)
    return study


def read_whole(page, *texts):
    """These texts are there to be read, and none of them ran, nor became a link or a formula."""
    shown = " ".join(page.locator("body").inner_text().split())
    missing = [text for text in texts if " ".join(text.split()) not in shown]
    assert not missing, shown[:3000]
    assert page.evaluate("[window.fired, document.querySelectorAll('mjx-container, [href^=javascript]').length]") == [
        None,
        0,
    ]


def ran(page):
    expect(page.locator(".jp-CodeCell .jp-InputArea-prompt").last).to_have_text(
        re.compile(r"\[\d+\]:"), timeout=180_000
    )
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    assert page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0


def test_nothing_of_a_strangers_study_runs_in_its_report(page, hostile):
    page.goto((hostile / "report.html").as_uri())
    read_whole(page, TEXT, FIRES, NAME)
    page.evaluate(
        "document.body.append(document.createRange().createContextualFragment('<img src=x onerror=window.fired=1>'))"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.fired") is None  # the page's policy refuses what the escapes would have missed
    page.problems.clear()


@pytest.mark.parametrize("notebook", ["analysis", "beyond"])
def test_nothing_of_a_strangers_study_runs_in_a_notebook(page, lab, root, hostile, notebook):
    path = root / "notebooks" / f"{notebook}.ipynb"
    content = read(path)
    cell = next(cell for cell in content.cells if "parameters" in cell.metadata.get("tags", ()))
    cell.source = f"study_dir: str = {NAME!r}"
    nbformat.write(content, path)
    run_notebook(page, lab(path.name))
    ran(page)
    read_whole(page, TEXT, NAME, *([FIRES] if notebook == "analysis" else []))


def test_nothing_of_a_strangers_study_runs_on_the_front_page_and_in_the_inspector(page, lab, hostile):
    """And its links open, whatever its name; a failed run's notebook, which JupyterLab hides, is named by its path."""
    run_notebook(page, lab("index.ipynb"))
    page.get_by_role("button", name=f"{NAME}: where do the losses disagree most?").click()
    expect(page.locator(".iou-inspector canvas").first).to_be_visible()
    for summary in page.locator("summary").all():
        summary.click()
    read_whole(page, TEXT, NAME, FIRES)
    images = page.locator(".iou-inspector").get_by_role("combobox", name="image", exact=True).locator("option")
    assert set(images.evaluate_all("options => options.map(option => option.value)")) == set(IDS)
    read_whole(page, str(hostile / ".failed" / FIRES / "train.ipynb"))
    page.get_by_role("link", name=config.CELLS[0].run_id("iou")).click()
    expect(page.locator(".jp-NotebookPanel").nth(1)).to_be_visible()
    opened = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    assert opened == f"outputs/{NAME}/{config.CELLS[0].run_id('iou')}/train.ipynb"


def test_no_name_of_a_strangers_face_runs_in_the_training(page, lab, root):
    place(root / "faces", hostile_faces(), packed=False)
    path = root / "notebooks" / "train.ipynb"
    content = read(path)
    at = next(number for number, cell in enumerate(content.cells) if "parameters" in cell.metadata.get("tags", ()))
    given = {**TINY, "image_size": 32, "epochs": 1, "data": str(root / "faces"), "out_dir": str(root / "by-hand")}
    lines = [f"{name} = {value!r}" for name, value in given.items()]
    content.cells.insert(at + 1, nbformat.v4.new_code_cell("# Parameters\n" + "\n".join(lines)))
    nbformat.write(content, path)
    run_notebook(page, lab(path.name))
    ran(page)
    read_whole(page)
    assert page.locator(".jp-OutputArea-output img").count() == 3  # samples, curves, masks


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_to_its_committed_outputs_its_solutions_pass_and_its_figures_move(page, lab, root, lesson):
    committed = with_solutions(read(lesson))
    nbformat.write(committed, root / "notebooks" / "lessons" / lesson.name)
    run_notebook(page, lab(f"lessons/{lesson.name}"))
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]:"), timeout=180_000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()  # the last outputs are there
    executed = notebook_of(page)
    assert not differences(committed, executed)
    assert not [each for cell in executed.cells for each in cell.get("outputs", ()) if each.get("name") == "stderr"]
    figures = page.locator(".widget-interact")
    assert figures.count() >= 1
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        drawn = figure.locator(".jp-OutputArea-output").first
        expect(drawn).to_be_visible()
        for control in figure.locator(".noUi-handle, select").all():
            before = drawn.inner_html()
            for turn in range(20):
                if control.evaluate("element => element.tagName") == "SELECT":
                    control.select_option(index=turn % control.locator("option").count())
                else:
                    at_end = control.get_attribute("aria-valuenow") == control.get_attribute("aria-valuemax")
                    control.press("ArrowLeft" if at_end else "ArrowRight")
                page.wait_for_timeout(300)
                if drawn.inner_html() != before:
                    break
            else:
                pytest.fail(f"{lesson.stem}: a control does not move its figure")
        assert figure.locator("[data-mime-type*=stderr]").count() == 0


def test_the_console_showed_no_error(page, inspector):
    assert page.problems == []


def test_a_notebook_whose_kernel_is_gone_shows_a_still_picture(page, lab):
    run_notebook(page, lab("inspect.ipynb"))
    expect(page.locator(".iou-inspector")).to_have_attribute("data-painted", re.compile("127"))
    still = page.locator(".iou-inspector-still")
    expect(still).to_have_count(1)
    expect(still).to_be_hidden()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Shut Down Kernel", exact=True).click()
    expect(page.get_by_text("No Kernel").first).to_be_visible()
    page.goto(lab("inspect.ipynb"))
    expect(still).to_be_visible()
    expect(still).to_contain_text("This is a still picture: run the cell in JupyterLab")
    expect(page.get_by_text("Error displaying widget")).to_be_hidden()
