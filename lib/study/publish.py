"""Writes what may be shared of a study: records, scores, tables and, only of synthetic faces, masks and images."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import InputError, markdown, outputs, packs
from lib.analysis import conditions, paper, sentences, stopping, tables
from lib.analysis.predictions import read_pictures
from lib.config import recorded
from lib.outputs import PICTURES, Study
from lib.record import Run
from lib.study import report


def publish_pictures(run: Run, study: Path) -> Path:
    """Writes images and labels of the run's test part into `study`, so that they can be viewed without the data.

    Raises:
        InputError: images of real people, which must not be shared; see also `test_pictures`.
    """
    config = recorded(run.record["params"])
    if config.data != "synthetic":
        raise InputError(f"{run.run_id}: its pictures show real people; only synthetic faces can be published")
    images, labels, ids, digest = read_pictures(run, config)
    path = study / PICTURES / f"{config.dataset}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, images=packs.differences(images), labels=labels, ids=np.array(ids), digest=digest)
    return path


PLAN = "PLAN.md"  # of a study whose rules were written before its runs; it may stand in the target already
README = """# {name}

{text}

Written by `python -m lib.study publish`. `records.jsonl` has one record per line (parameters, seed, versions, scores,
key), `per_image.csv.xz` the pixel counts and scores of every test image, `history.csv.xz` the scores of every epoch.
`lib.outputs.read_study` reads them, `lib.outputs.frame` makes a table of them. `tables/`{picture} of the report.
{kept}
"""


def publish(study: Path, target: Path) -> str:
    """Writes what may be shared of a study into the new folder `target`, which is complete or not there.

    A target that has nothing but a `PLAN.md` is new too, and keeps it.

    The paper's 32 runs on real faces come with `report.html`, executed on what is published.

    Predicted masks and images are included if the faces are synthetic and the study is the paper's 32 runs. Those of
    real people are not, and the paths of their data are removed from the records.

    Returns:
        A sentence with the folder and its size.
    Raises:
        InputError: no such study, no report of it yet, a target that exists or cannot be written.
    """
    contents = outputs.read_study(study)
    if not (study / "tables").is_dir():
        raise InputError(f"{study}: has no tables yet; write them with `python -m lib.study report --out {study}`")
    planned = target.is_dir() and [path.name for path in target.iterdir()] == [PLAN]
    if target.exists() and not planned:
        raise InputError(f"--to: {target} exists and is kept; give a new folder, or remove it first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".publish-") as folder:
            made = Path(folder) / target.name
            made.mkdir()
            _write(contents, made)
            if planned:
                shutil.copy2(target / PLAN, made / PLAN)
                os.replace(target, aside := Path(folder) / "before")
            try:
                os.replace(made, target)
            except OSError:
                if planned:
                    os.replace(aside, target)
                raise
    except OSError as error:
        raise InputError(
            f"--to: {target} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return f"{target}: {len(contents)} runs, {size / 1e6:.1f} MB"


def _write(study: Study, folder: Path):
    drawn = not conditions.is_beyond(study) and any(map(_is_synthetic, study.values()))
    for file in (packs.RECORDS, "history.csv.xz", "per_image.csv.xz", packs.MAPS):
        _refuse_link(study.folder / file)
    for run in study.values():
        for file in ("history.csv", "per_image.csv", "probabilities.npz"):
            _refuse_link(run.folder / file)
    with_maps = [run.run_id for run in study.values() if drawn and _is_synthetic(run)]
    packs.write(folder, [replace(run, record=_without_place(run)) for run in study.values()], with_maps)
    for dataset in paper.DATASETS if drawn else ():
        run = next((run for run in study.values() if run.cell.dataset == dataset and _is_synthetic(run)), None)
        if run:
            publish_pictures(run, folder)
    for path in [*(study.folder / "tables").rglob("*"), study.folder / "tables", study.folder / "summary.png"]:
        _refuse_link(path)
    tables.write(shared_tables(study), folder / "tables")
    if (study.folder / "summary.png").is_file():
        shutil.copyfile(study.folder / "summary.png", folder / "summary.png")
    (folder / "README.md").write_text(readme(study, folder.name, bool(with_maps)), encoding="utf-8")
    if not drawn and not conditions.is_beyond(study):  # of what is published: no picture of people can be in it
        with tempfile.TemporaryDirectory() as place:
            page = report.executed(outputs.read_study(folder), Path(place) / "analysis.ipynb")
        (folder / "report.html").write_text(page, encoding="utf-8")


def shared_tables(study: Study) -> dict[str, tables.Table]:
    """The tables of a report but for those of the paper alone and that of the runs, which `records.jsonl` has."""
    return {
        name: table
        for name, table in report.csv_tables(study).items()
        if name != "runs" and not name.endswith("-paper")
    }


def readme(study: Study, name: str, with_maps: bool) -> str:
    """The page that a published study has: what it found, its data and settings, and what its files are."""
    kept = (
        "`probabilities.npz` and `pictures/` have the predicted masks and the faces, which are synthetic."
        if with_maps and all(map(_is_synthetic, study.values()))
        else "The predicted masks and the pictures are not published"
        + ("." if all(map(_is_synthetic, study.values())) else ": they show real people.")
    )
    if conditions.is_beyond(study):
        text = [f"{len(study)} runs beyond the paper's, read by `notebooks/beyond.ipynb`.", sentences.provenance(study)]
    else:
        text = [
            sentences.headline(study),
            sentences.comparison(study, "iou"),
            sentences.comparison(study, "iou_soft"),
            sentences.provenance(study),
            sentences.completeness(study),
        ]
    text = "\n\n".join([*text, *filter(None, [stopping.sentence(study)])])
    picture = " and `summary.png` are those" if (study.folder / "summary.png").is_file() else " has those"
    return README.format(name=markdown(name), text=text, kept=kept, picture=picture)


def _refuse_link(path: Path):
    if path.is_symlink():
        raise InputError(f"{path}: is a link; put the file itself there")


def _is_synthetic(run: Run) -> bool:
    return run.record["params"].get("data") == "synthetic"


def _without_place(run: Run) -> dict:
    """The record without the folder of its data; their names and digest stay."""
    params = run.record["params"] if _is_synthetic(run) else run.record["params"] | {"data": ""}
    return run.record | {"params": params}
