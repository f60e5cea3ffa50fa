"""lib/record.py: the files of a run as they are read, which are refused, and what is kept."""

import json
import re

import numpy as np
import pytest
from made_up_study import record

from lib import InputError, config, outputs
from lib.record import SUPERSEDED, claim, read_run, set_aside

FIRST, SECOND = config.CELLS[:2]


def test_files_of_a_run(folder):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    assert run.history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(run.history["val_loss"], [0.8, 0.6, np.nan])
    assert run.per_image["id"].tolist() == ["Ann_0001", "Bob_0001"]
    assert run.per_image["tp"].dtype == "int64" and run.per_image["iou"].dtype == "float64"
    probabilities, ids = run.probabilities()
    assert probabilities.shape == (2, 2, 2) and probabilities.dtype == "uint8"
    assert ids.tolist() == run.per_image["id"].tolist()
    assert run.notebook == folder / run.run_id / "train.ipynb"


def changed(**changes):
    return json.dumps(record(SECOND, "bce") | changes)


@pytest.mark.parametrize(
    "text, why",
    [
        (None, "no record.json"),
        ("", "cannot be read"),
        ('{"run_id": "bfcn32s', "cannot be read"),
        ("[]", "a mapping of keys"),
        ("{}", "run_id is missing"),
        (changed(key=None), "key is missing, has the wrong type"),
        (changed(scores={"accuracy": 1.0}), "scores.iou is missing"),
        (changed(seconds={"total": float("nan")}), "seconds.total is missing, has the wrong type or is out of range"),
        (changed(seconds={"total": -1.0}), "seconds.total"),
        (changed(params={}), "params.model is missing"),
        (changed(data={"source": "x"}), "data.note is missing"),
        *(
            (changed(data=record(SECOND, "bce", images=images)["data"]), "data.images is missing, has the wrong type")
            for images in ("many", [1], -5, True)
        ),
        (changed(data=record(SECOND, "bce", positive_share="half")["data"]), "data.positive_share"),
        *(
            (
                changed(params=record(SECOND, "bce")["params"] | {name: value}),
                f"params.{name} is missing, has the wrong type",
            )
            for name, value in (("epochs", [3]), ("image_size", {"a": 1}), ("learning_rate", "0.1"), ("tag", None))
        ),
        *(
            (
                changed(params=record(SECOND, "bce")["params"] | {name: value}),
                f"params.{name} is missing, has the wrong type",
            )
            for name, value in (
                ("loss", "<b>"),
                ("model", "`x`"),
                ("dataset", "celeba"),
                ("size", "../.."),
                ("tag", "a`b"),
                ("part", "ear"),
                ("monitor", "$x$"),
                ("encoder_weights", "\x1b[2J"),
                ("data", "a\x9bb"),
                ("restore_best", "yes"),
                ("<img>", 1),
            )
        ),
        (changed(data=record(SECOND, "bce", counts={"train": "many"})["data"]), "data.counts"),
        (changed(dead_units={"first_epoch": [1]}), "dead_units"),
        (changed(format=2), "has format 2"),
        (changed(run_id="another"), "has the parameters of 'bfcn32s-"),
        (json.dumps(record(SECOND, "iou")), "belongs to the run 'bfcn32s-lfw-small-hair-iou'"),
        (json.dumps(record(SECOND, "iou") | {"run_id": SECOND.run_id("bce")}), "has the parameters of 'bfcn32s-"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_a_problem_not_a_failure(folder, text, why):
    bad = folder / SECOND.run_id("bce")
    bad.mkdir()
    if text is not None:
        (bad / "record.json").write_text(text)
    study = outputs.read_study(folder)
    assert len(study) == 3
    assert len(study.problems) == 1 and why in study.problems[0] and str(bad) in study.problems[0]


@pytest.mark.parametrize(
    "name, content, read",
    [
        ("history.csv", b"", lambda run: run.history),
        ("history.csv", b"loss\n1\n", lambda run: run.history),
        ("history.csv", b"epoch,loss\n1,0.5\n2\n", lambda run: run.history),
        ("per_image.csv", b"id,accuracy\nAnn,1\n", lambda run: run.per_image),
        ("per_image.csv", b"id,accuracy,iou,iou_soft,tp,fp,fn,tn\nAnn,1,1,1,,0,0,0\n", lambda run: run.per_image),
        ("per_image.csv", b"id,accuracy,iou,iou_soft,tp,fp,fn,tn\n\x1b[2J,1,1,1,1,0,0,0\n", lambda run: run.per_image),
        ("probabilities.npz", b"", lambda run: run.probabilities()),
        ("probabilities.npz", b"PK\x03\x04 cut off", lambda run: run.probabilities()),
        ("probabilities.npz", None, lambda run: run.probabilities()),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, read):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    (run.folder / name).unlink()
    if content is not None:
        (run.folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        read(run)


def test_pickled_probabilities_are_not_loaded(folder):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    np.savez(run.folder / "probabilities.npz", probabilities=np.array([{}], dtype=object), ids=["a"])
    with pytest.raises(InputError, match="allow_pickle"):
        run.probabilities()


def test_what_is_set_aside_is_kept_beside_its_place(folder):
    run_id = FIRST.run_id("iou")
    before = (folder / run_id / "record.json").read_bytes()
    set_aside(folder / run_id)
    set_aside(folder / run_id)  # nothing is there any more
    (kept,) = (folder / SUPERSEDED).iterdir()
    assert kept.name.startswith(f"{run_id}-2") and (kept / "record.json").read_bytes() == before
    assert not (folder / run_id).exists() and len(outputs.read_study(folder)) == 2


def test_a_folder_is_claimed_without_a_trace_or_refused(tmp_path):
    claim(tmp_path / "study" / "run")
    claim(tmp_path / "study" / "run")
    assert not list((tmp_path / "study" / "run").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run: cannot be written .*choose another output folder"):
        claim(tmp_path / "file" / "run")


def resaved(text: str) -> list[bytes]:
    """A text file as editors save it."""
    return [
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        text.replace("\n", "\r\n").encode(),
        text.encode() + b"\n\n",
        text.encode("utf-8-sig").replace(b"\n", b"\r\n") + b"\r\n \r\n",
    ]


def test_files_that_an_editor_or_spreadsheet_saved_again_are_read(folder):
    run = outputs.read_study(folder)[FIRST.run_id("iou")]
    for content in resaved((run.folder / "record.json").read_text()):
        (run.folder / "record.json").write_bytes(content)
        assert read_run(run.folder).record == run.record
    for name in ("history", "per_image"):
        path, want = run.folder / f"{name}.csv", getattr(run, name)
        text = path.read_text().replace("\r\n", "\n")
        columns = text.partition("\n")[0].count(",")
        semicolons = re.sub(r"(\d)\.(\d)", r"\1,\2", text.replace(",", ";"))
        contents = [*resaved(text)[:4], (text + "," * columns + "\n").encode(), semicolons.encode("utf-8-sig")]
        for content in [*contents, text.replace(",", "\t").encode("utf-16")]:
            path.write_bytes(content)
            got = getattr(read_run(run.folder), name)
            assert got.keys() == want.keys()
            for column in want:
                np.testing.assert_array_equal(got[column], want[column])
