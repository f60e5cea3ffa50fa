"""Two reports, of a whole made-up study with the paper's scores and of one with three runs; the notebook."""

import csv
import json
import re
import subprocess
import sys
from itertools import product

import nbformat
import numpy as np
import pytest
from made_up_study import PER_IMAGE, write_paper_study, write_run

from lib import InputError, config, data
from lib.analysis import paper, predictions, sentences
from lib.outputs import read_study
from lib.study import report

HAIR, SMALL = config.CELLS[:2]


def add_pictures(study):
    """Gives the example pair the test part of a synthetic data set, and predictions that are its labels."""
    arguments = {"root": "synthetic", "synthetic_images": 30}
    dataset = data.load("lfw", 32, **arguments)
    test = data.split(30, "lfw", "big").test
    labels = data.binary_masks(dataset.labels[test], False)
    for loss in paper.LOSSES:
        folder = study / sentences.EXAMPLE.run_id(loss)
        record = json.loads((folder / "record.json").read_text())
        record["params"] |= {"data": "synthetic", "synthetic_images": 30, "image_size": 32}
        record["data"]["digest"] = dataset.digest
        (folder / "record.json").write_text(json.dumps(record))
        np.savez_compressed(folder / "probabilities.npz", probabilities=labels * np.uint8(255), ids=dataset.ids[test])
        with open(folder / "per_image.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, PER_IMAGE[0])
            writer.writeheader()
            writer.writerows(PER_IMAGE[0] | {"id": name} for name in dataset.ids[test])
    return labels


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, message, labels) of the report of all 32 runs."""
    study = tmp_path_factory.mktemp("whole")
    write_paper_study(study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOU_STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        labels = add_pictures(study)
        yield study, report.write(study), labels


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """The folder of a study of three runs without a pair, and an unreadable one, with its report."""
    study = tmp_path_factory.mktemp("partial")
    for cell in config.CELLS[:3]:
        write_run(study, cell, "iou")
    (study / "broken").mkdir()
    report.write(study)
    return study


def outputs(folder):
    """All text that the executed notebook put out."""
    notebook = nbformat.read(folder / "analysis.ipynb", 4)
    return "\n".join(
        str(dict(o.get("data", {})) | {"text": o.get("text")})
        for c in notebook.cells
        if c.cell_type == "code"
        for o in c.outputs
    )


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_message_names_what_was_written(whole):
    study, message, _ = whole
    assert str(study / "report.html") in message and "table-3.csv" in message
    assert sorted(path.name for path in study.iterdir() if not path.name.startswith(("bfcn", "fcres"))) == [
        "analysis.ipynb",
        "report.html",
        "summary.png",
        "tables",
    ]


def test_statistics_of_the_papers_scores_are_the_papers(whole):
    rows = {(row["from"], row["metric"]): row for row in read_csv(whole[0] / "tables" / "statistics.csv")}
    for source in ("this study", "paper"):
        for metric, t, p in (("accuracy", 0.652, 0.524), ("IoU", 4.445, 4.73e-4), ("epochs", -1.182, 0.256)):
            row = rows[source, metric]
            assert float(row["t"]) == pytest.approx(t, abs=5e-4)
            assert float(row["p"]) == pytest.approx(p, rel=2e-3)
        assert (rows[source, "IoU"]["better: L_IoU"], rows[source, "accuracy"]["ties"]) == ("15", "1")
        assert float(rows[source, "IoU"]["error reduction"]) == pytest.approx(0.175, abs=5e-4)


def test_every_table_parses(whole):
    sizes = {path.name: len(read_csv(path)) for path in (whole[0] / "tables").glob("*.csv")}
    assert sizes == {
        "table-3.csv": 4,
        "table-4.csv": 4,
        "table-5.csv": 4,
        "table-6.csv": 4,
        "statistics.csv": 7,
        "statistics-paper.csv": 3,
        "subsets.csv": 9,
        "bounds.csv": 32,
        "bounds-paper.csv": 16,
        "implied-shares-paper.csv": 4,
        "runs.csv": 32,
    }
    notes = (whole[0] / "tables" / "README.md").read_text(encoding="utf-8")
    assert all(f"## [{name}]({name})" in notes for name in sizes) and "paired and two-sided. IoU" in notes
    run = read_csv(whole[0] / "tables" / "runs.csv")[0]
    assert (run["run"], run["iou"], run["epochs run"], run["best epoch"], run["seconds"], run["seed"]) == (
        "bfcn32s-lfw-big-hair-iou",
        "0.921",
        "91",
        "2",
        "1.5",
        "7",
    )


def test_answer_of_the_whole_study(whole):
    text = outputs(whole[0])
    assert "By IoU at 0.5: IoU loss is better by 0.034 on average (95 % interval +0.018 to +0.051)" in text
    assert "t = 4.44, p = 0.00047; IoU loss is better in 15 and BCE in 1 of 16 cells" in text
    assert "32 of 32 runs are finished" in text and "Missing" not in text
    assert "cannot be shown" not in text  # the example's picture was found


def test_page_needs_no_network(whole):
    page = (whole[0] / "report.html").read_text(encoding="utf-8")
    assert f"<title>IoU loss against BCE: {whole[0].name}</title>" in page
    assert not re.search(r"<script|<link|@import|url\(|(src|href)=[\"'](https?:)?//", page)
    assert page.count('src="data:image/png;base64,') >= 10
    assert "No description" not in page  # every figure has an alternative text
    assert "outputs.read_study" not in page  # no code


def test_report_of_three_runs_says_what_is_missing(partial):
    text = outputs(partial)
    assert "of 16 pairs of runs are missing (run the rest)" in text and sentences.NO_PAIR in text
    assert "3 of 32 runs are finished" in text and "`fcresnet-helen-small-nohair-bce`" in text
    assert "broken: has no record.json" in text
    assert "No finished run on LFW with hair" not in text
    assert len(read_csv(partial / "tables" / "runs.csv")) == 3


def test_source_notebook_is_short_and_has_no_outputs():
    notebook = nbformat.read(report.NOTEBOOKS / "analysis.ipynb", 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 30 and not cell.outputs and cell.execution_count is None
    tagged = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1 and tagged[0].startswith("study_dir: str = ")


def test_several_seeds_are_compared_over_seeds_and_cells(tmp_path):
    for cell, loss, seed in product(config.CELLS[:2], paper.LOSSES, (1, 0)):
        write_run(tmp_path, cell, loss)
        folder, tag = tmp_path / cell.run_id(loss), f"seed{seed}" if seed else ""
        record = json.loads((folder / "record.json").read_text()) | {
            "seed": seed,
            "run_id": f"{folder.name}-{tag}".rstrip("-"),
        }
        record["params"] |= {"seed": seed, "tag": tag}
        (folder / "record.json").write_text(json.dumps(record))
        iou = {"iou": (0.6, 0.8), "bce": (0.5, 0.5)}[loss][seed]
        table = (folder / "per_image.csv").read_text()
        (folder / "per_image.csv").write_text(re.sub(r"(_0001,0.75),[0-9.]+", rf"\1,{iou}", table))
        folder.rename(tmp_path / record["run_id"])
    report._execute(tmp_path, tmp_path / "analysis.ipynb")
    cells = json.loads((tmp_path / "analysis.ipynb").read_text())["cells"]
    (table,) = (
        "".join(output["data"]["text/html"])
        for cell in cells
        for output in cell.get("outputs", ())
        if "IoU loss against BCE, by score" in str(output.get("data", {}).get("text/html"))
    )
    row = re.sub("<[^>]+>", " ", table[table.index("IoU at 0.5") :]).split()
    assert row[3:6] == ["2", "4", "0.200"]  # cells, pairs of runs, the mean of 0.1 and 0.3


def test_a_kernel_that_dies_leaves_the_report_as_it_was(tmp_path, monkeypatch):
    write_run(tmp_path, HAIR, "iou")

    def die(*_):
        raise RuntimeError("Kernel died")

    monkeypatch.setattr(report.execute, "execute_notebook", die)
    with pytest.raises(
        InputError, match=r"analysis.ipynb was not executed to its end \(RuntimeError: Kernel died\).* again"
    ):
        report.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [HAIR.run_id("iou")]


def test_missing_study_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no such study folder"):
        report.write(tmp_path / "nowhere")


def test_notebook_on_a_missing_study_fails_with_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no such study folder"):
        report._execute(tmp_path / "nowhere", tmp_path / "analysis.ipynb")
    errors = [
        output
        for cell in nbformat.read(tmp_path / "analysis.ipynb", 4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]
    assert len(errors) == 1 and errors[0].traceback == [f"InputError: {errors[0].evalue}"]


def test_driver_does_not_import_keras():
    code = "import sys, lib.study.report; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_pictures_are_those_that_the_run_saw(whole):
    study, _, labels = whole
    run = read_study(study)[sentences.EXAMPLE.run_id("iou")]
    images, masks = predictions.test_pictures(run)
    assert images.shape == (*labels.shape, 3) and images.dtype == "uint8"
    np.testing.assert_array_equal(masks, labels)
    run.record["data"]["digest"] = "another"
    with pytest.raises(InputError, match="now gives other pictures"):
        predictions.test_pictures(run)


def test_the_report_has_masks_of_every_pair(whole):
    study, *_ = whole
    page = (study / "report.html").read_text()
    masks = page[page.index('<section class="masks"') :]
    assert masks.count("<details") == 16 and masks.count("<details open") == 1
    assert masks.count("cannot be shown") == 15 and masks.count('src="data:image/png;base64,') == 4
    assert "largest disagreement: " in masks and "0.500 after IoU loss, 0.500 after BCE loss" in masks


def test_a_study_whose_tables_are_a_link_elsewhere_is_refused(tmp_path):
    write_run(tmp_path / "theirs", HAIR, "iou")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "runs.csv").write_text("mine")
    (tmp_path / "theirs" / "tables").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="tables: is a link, so files elsewhere could be overwritten"):
        report.write(tmp_path / "theirs")
    assert (tmp_path / "mine" / "runs.csv").read_text() == "mine" and len(list((tmp_path / "mine").iterdir())) == 1
