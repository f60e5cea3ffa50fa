"""Pairs of runs that differ only in the loss, and their scores; differences are always IoU loss minus BCE loss."""

import numpy as np

from lib import InputError, config
from lib.analysis import paper
from lib.config import STARTED, Cell
from lib.outputs import Study
from lib.record import METRICS, Run


def usable(study: Study, metric: str) -> tuple[list[Cell], np.ndarray]:
    """`scores` without the cells that have a NaN or infinite score: (cells, (cells, 2) float64)."""
    cells, values = scores(study, metric)
    keep = np.isfinite(values).all(axis=1)
    return [cell for cell, kept in zip(cells, keep) if kept], values[keep]


def differences(study: Study | None = None) -> dict[str, np.ndarray]:
    """IoU loss minus BCE loss of every cell, (cells,) float64, for `iou`, `iou_soft` and `accuracy`.

    Without a study those of the paper, which has no `iou_soft`.
    """
    values = (
        {metric: paper.scores(metric) for metric in ("iou", "accuracy")}
        if study is None
        else {metric: usable(study, metric)[1] for metric in ("iou", "iou_soft", "accuracy")}
    )
    return {metric: pairs[:, 0] - pairs[:, 1] for metric, pairs in values.items()}


def is_capped(run: Run) -> bool:
    """Whether a run stopped at its maximum number of epochs and not by early stopping."""
    return run.record["epochs_run"] >= run.record["params"].get("epochs", np.inf)


def collapsed(run: Run) -> str:
    """The class, "positive" or "negative", that a run predicts for every pixel of the test part; "" if it has both."""
    scores = run.per_image
    for kind, others in (("positive", ("fn", "tn")), ("negative", ("tp", "fp"))):
        if not any(scores[name].any() for name in others):
            return kind
    return ""


def pairs(study: Study) -> list[tuple[Cell, Run, Run]]:
    """The cells with both runs finished, in the paper's order: (cell, IoU loss, BCE loss)."""
    return [
        (cell, study[cell.run_id("iou")], study[cell.run_id("bce")])
        for cell in config.CELLS
        if cell.run_id("iou") in study and cell.run_id("bce") in study
    ]


def unlike(one: Run, other: Run) -> list[str]:
    """The parameters besides the loss in which two runs of a pair differ; "data" if they saw other data."""
    params = [STARTED | run.record["params"] for run in (one, other)]
    names = [name for name in params[0] | params[1] if name not in ("loss", "tag", "data")]
    digests = {run.record["data"].get("digest") for run in (one, other)}
    return [name for name in names if params[0].get(name) != params[1].get(name)] + ["data"] * (len(digests) > 1)


def replicates(study: Study, run: Run) -> list[Run]:
    """The runs of a study that differ from `run` only in the seed, with `run` itself."""

    def task(other):
        return {name: value for name, value in other.record["params"].items() if name not in ("seed", "tag")}

    return [other for other in study.values() if task(other) == task(run)]


def scores(study: Study, metric: str) -> tuple[list[Cell], np.ndarray]:
    """One metric of the study's pairs, like `paper.scores` for the paper.

    Args:
        metric: accuracy, iou, iou_pooled, iou_soft (in [0, 1]) or epochs (run until the stop, `epochs_run`).
    Returns:
        (cells, (cells, 2) float64 for IoU loss and BCE loss, averaged over seeds if a study has several);
        cells with a missing run are left out.
    Raises:
        InputError: for an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric is {metric!r}: use one of {', '.join(METRICS)}")
    found = pairs(study)
    values = [[np.mean([each.score(metric) for each in replicates(study, run)]) for run in pair] for _, *pair in found]
    return [cell for cell, _, _ in found], np.array(values, "float64").reshape(-1, 2)


def minus_implied(study: Study, metric: str) -> tuple[list[Cell], np.ndarray]:
    """A metric of the study's pairs minus the IoU that their accuracy implies (`paper.implied_iou`), like `usable`."""
    cells, values = usable(study, metric)
    accuracies = dict(zip(*usable(study, "accuracy")))
    shares = {cell: iou.record["data"]["positive_share"] for cell, iou, _ in pairs(study)}
    implied = [[paper.implied_iou(each, shares[cell]) for each in accuracies[cell]] for cell in cells]
    return cells, values - np.array(implied).reshape(-1, 2)


def data_note(runs: list[Run]) -> str:
    """The data of these runs, and which splits are scaled down: a clause for each case."""
    sentences = []
    for run in runs:
        data = run.record["data"]
        name = paper.DATASETS.get(run.cell.dataset, run.cell.dataset)
        sentence = f"{name}: {(data['note'] or data['source']).rstrip('.')}"
        if data["scaled"]:
            counts = ", ".join(f"{count} {part}" for part, count in data["counts"].items())
            sentence += f" (split scaled to fewer images: {counts})"
        if sentence not in sentences:
            sentences.append(sentence)
    return "Data: " + "; ".join(sentences) + "." if sentences else ""
