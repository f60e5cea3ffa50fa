"""lib/study/publish.py: what can be passed on, whole or not at all."""

import json
import lzma

import pytest
from made_up_study import write_paper_study, write_run

from lib import InputError, config, outputs, packs
from lib.config import CELLS
from lib.study import publish, report


def test_pictures_of_people_are_not_published(tmp_path):
    write_run(tmp_path, config.CELLS[0], "iou")
    path = tmp_path / config.CELLS[0].run_id("iou") / "record.json"
    record = json.loads(path.read_text())
    record["params"] |= {"image_size": 32, "data": "data"}
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="show real people"):
        publish.publish_pictures(outputs.read_study(tmp_path)[record["run_id"]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def reported(monkeypatch):
    """The studies that a report was made of; in place of executing the notebook."""
    made = []
    monkeypatch.setattr(report, "executed", lambda study, notebook: made.append(study) or "<p>the report</p>")
    return made


def test_publish_takes_what_can_be_passed_on(tmp_path, reported):
    source, target = tmp_path / "study", tmp_path / "published"
    write_paper_study(source, CELLS[:2])
    run_id = CELLS[0].run_id("iou")
    (source / run_id / "train.ipynb").write_text("{}")
    with pytest.raises(InputError, match="has no tables yet"):
        publish.publish(source, target)
    (source / "tables").mkdir()
    (source / "tables" / "runs.csv").write_text("run\n")
    path = source / run_id / "record.json"
    record = json.loads(path.read_text())
    record["params"]["data"] = "/home/somebody/faces"
    path.write_text(json.dumps(record))
    for link in (source / "tables" / "more.csv", source / "summary.png"):
        link.symlink_to(path)
        with pytest.raises(InputError, match="is a link; put the file itself there"):
            publish.publish(source, target)
        link.unlink()
    publish.publish(source, target)
    assert {file.name for file in target.iterdir()} == {
        "README.md",
        "history.csv.xz",
        "per_image.csv.xz",
        "records.jsonl",
        "report.html",
        "tables",
    }
    assert isinstance(reported[0][run_id], packs.PackedRun) and not reported[0][run_id].has_maps
    for file in target.rglob("*"):
        assert not file.is_file() or b"somebody" not in (
            lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
        )
    assert outputs.read_study(target).keys() == outputs.read_study(source).keys()
    before = {file: file.read_bytes() for file in target.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="exists and is kept"):
        publish.publish(source, target)
    assert before == {file: file.read_bytes() for file in target.rglob("*") if file.is_file()}
