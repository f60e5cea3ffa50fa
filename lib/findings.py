"""What a study's scores say, in words: sentences and tables that stay right whichever loss is ahead.

Every function takes what `results.read_study` returned and copes with a study of which only some runs are
finished; sentences are Markdown. Differences are always IoU loss minus BCE loss. A difference is called clear
where its 95 % interval (Student's t over the cells) leaves out zero.
"""

import numpy as np

from lib import InputError, inspection, paper, results, stats
from lib.paper import Cell
from lib.results import Run, Study
from lib.tables import Table

NAMES = {"iou": "IoU at threshold 0.5", "iou_soft": "IoU′ (no threshold)", "accuracy": "accuracy",
         "epochs": "epochs"}
SETTINGS = {"image_size": "image side in pixels", "encoder_width": "encoder width",
            "encoder_weights": "encoder weights", "fc_units": "head feature maps", "epochs": "epochs at most",
            "batch_size": "batch", "seed": "seed"}
EXAMPLE = Cell("bfcn32s", "lfw", "big", False)  # the setting of the paper's Figures 5 and 6
NO_PAIR = "No cell has both of its runs finished, so the losses cannot be compared yet."


def usable(study: Study, metric: str) -> tuple[list[Cell], np.ndarray]:
    """`results.scores` without the cells of which a score is not a number: (cells, (cells, 2) float64)."""
    cells, values = results.scores(study, metric)
    keep = np.isfinite(values).all(axis=1)
    return [cell for cell, kept in zip(cells, keep) if kept], values[keep]


def differences(study: Study | None = None) -> dict[str, np.ndarray]:
    """IoU loss minus BCE loss of every cell, (cells,) float64, by `iou`, `iou_soft` and `accuracy`; without a study
    the paper's, which has no `iou_soft`."""
    values = ({metric: paper.scores(metric) for metric in ("iou", "accuracy")} if study is None else
              {metric: usable(study, metric)[1] for metric in ("iou", "iou_soft", "accuracy")})
    return {metric: pairs[:, 0] - pairs[:, 1] for metric, pairs in values.items()}


def direction(values: np.ndarray) -> int | None:
    """Which loss has clearly larger values: 1 for IoU loss, -1 for BCE, 0 for neither, None below two pairs.

    Args:
        values: (cells, 2) for IoU loss and BCE loss.
    """
    if len(values) < 2:
        return None
    low, high = stats.mean_interval(*values.T)
    return 1 if low > 0 else -1 if high < 0 else 0


def headline(study: Study) -> str:
    """The answer in one line, by thresholded and by un-thresholded IoU."""
    words = {1: "yes", 0: "no clear difference", -1: "no, BCE was better",
             None: "too few pairs of runs to tell"}
    iou, soft = (f"y {NAMES[metric]}: {words[direction(usable(study, metric)[1])]}"
                 for metric in ("iou", "iou_soft"))
    return f"**Did IoU loss beat BCE here? B{iou}; b{soft}.**"


def comparison(study: Study, metric: str) -> str:
    """One sentence with mean difference, interval, t, p and wins for a metric of `NAMES`."""
    values = usable(study, metric)[1]
    if not len(values):
        return f"By {NAMES[metric]}: {NO_PAIR[0].lower()}{NO_PAIR[1:]}"
    found = stats.compare(*values.T, metric)
    mean, digits = found["mean_difference"], 1 if metric == "epochs" else 3
    leads = {1: f"IoU loss is higher by {abs(mean):.{digits}f} on average",
             -1: f"IoU loss is lower by {abs(mean):.{digits}f} on average",
             0: f"there is no clear difference (mean {mean:+.{digits}f})",
             None: f"there is a single pair, IoU loss minus BCE is {mean:+.{digits}f}"}
    text = f"By {NAMES[metric]}, {leads[direction(values)]}"
    if found["n"] == 1:
        return text + "."
    text += (f", 95 % interval {found['low']:+.{digits}f} to {found['high']:+.{digits}f}, "
             f"t = {found['t']:.2f}, p = {found['p']:.2g}")
    ties = f", {found['ties']} equal" if found["ties"] else ""
    return (f"{text}; IoU loss is better in {found['wins_iou']} and BCE in {found['wins_bce']} of "
            f"{found['n']} cells{ties}.")


def completeness(study: Study) -> str:
    """How many of the 32 runs are there, which are missing, and what is wrong with folders not readable."""
    planned = [cell.run_id(loss) for cell in paper.CELLS for loss in paper.LOSSES]
    missing = [run_id for run_id in planned if run_id not in study]
    lines = [f"{len(planned) - len(missing)} of {len(planned)} runs are finished; both losses are there in "
             f"{len(results.pairs(study))} of {len(paper.CELLS)} cells."]
    seeds = {len(results.replicates(study, run)) for _, *pair in results.pairs(study) for run in pair} - {1}
    if seeds:
        lines.append(f"Scores are averaged over seeds, {' or '.join(map(str, sorted(seeds)))} of each run; masks and "
                     "curves are those of the first.")
    if missing:
        lines.append("Missing: " + ", ".join(f"`{run_id}`" for run_id in missing) + ".")
    if capped := sum(map(is_capped, study.values())):
        lines.append(f"**{capped} of {len(study)} runs stopped at the limit of epochs, not by early stopping**: "
                     "they may not have converged, so a difference can be one of speed; raise the parameter `epochs` "
                     "to know.")
    for run, kind in ((run, collapsed(run)) for run in study.values()):
        if kind:
            lines.append(f"**`{run.run_id}` calls every pixel of every test image {kind}**: its training collapsed, and "
                         "its scores are those of a constant mask.")
    if study.problems:
        lines.append("\n".join(["Folders passed over:", "", *(f"- {problem}" for problem in study.problems)]))
    return "\n\n".join(lines)


def is_capped(run: Run) -> bool:
    """Whether a run stopped at its limit of epochs and not by early stopping."""
    return run.record["epochs_run"] >= run.record["params"].get("epochs", np.inf)


def collapsed(run: Run) -> str:
    """What a run calls every pixel of the whole test part, "positive" or "negative"; "" if it tells pixels apart."""
    scores = run.per_image
    for kind, others in (("positive", ("fn", "tn")), ("negative", ("tp", "fp"))):
        if not any(scores[name].any() for name in others):
            return kind
    return ""


def provenance(study: Study) -> str:
    """Which data and settings the runs have: the data note, and each setting's values over all runs."""
    runs = list(study.values())
    found = []
    for name, words in SETTINGS.items():
        values = sorted({str(run.record["params"][name]) for run in runs if name in run.record["params"]})
        if values:
            found.append(f"{words} {' or '.join(values)}")
    others = sorted({paper.DATASETS.get(run.cell.dataset, run.cell.dataset) for run in runs
                     if run.record["data"]["note"] or run.record["data"]["scaled"]}, reverse=True)
    caution = (f" What stands here for {' and '.join(others)} is not the paper's data, so its scores are no yardstick there."
               if others else "")
    return f"{results.data_note(runs)}{caution} Settings: {', '.join(found)}."


def threshold_effect(study: Study) -> str:
    """How much of BCE's deficit in IoU′ is gone once the predictions are thresholded, over the same cells."""
    cells, soft = usable(study, "iou_soft")
    thresholded = dict(zip(*usable(study, "iou")))
    kept = [i for i, cell in enumerate(cells) if cell in thresholded]
    if not kept:
        return NO_PAIR
    without = np.subtract(*soft[kept].T)
    with_threshold = np.array([np.subtract(*thresholded[cells[i]]) for i in kept])
    deficit, rest = without.mean(), with_threshold.mean()
    text = (f"BCE's mean deficit against IoU loss is {deficit:+.3f} in IoU′ and {rest:+.3f} in IoU, "
            f"the means of {len(kept)} of {len(paper.CELLS)} cells: ")
    if deficit <= 0:
        text += "in IoU′ there is no deficit to explain."
    elif rest <= 0:
        text += ("**all of it vanishes with a threshold**; it comes from soft probabilities, not from worse "
                 "masks.")
    elif rest < deficit:
        text += (f"**{100 * (1 - rest / deficit):.0f} % of it vanishes with a threshold**; that share comes "
                 "from soft probabilities, the rest is in the masks.")
    else:
        text += "a threshold does not make it smaller; it is in the masks."
    if len(kept) > 1:
        low, high = stats.mean_interval(without, with_threshold)
        text += (f" What the threshold takes away is {deficit - rest:+.3f} (95 % interval {low:+.3f} to "
                 f"{high:+.3f}).")
    return text


def subsets_table(study: Study, metric: str = "iou") -> Table:
    """Mean scores and mean differences in every part of the study, beside the paper's: all cells, then by
    model, data set, size and hair. `metric` is accuracy, iou, iou_pooled, iou_soft or epochs."""
    cells, values = usable(study, metric)
    published = paper.scores(metric) if metric in paper.METRICS else None
    parts = {"all": lambda cell: True}
    for position, names in enumerate((paper.MODELS, paper.DATASETS, {"big": "big", "small": "small"},
                                      {True: "hair", False: "no hair"})):
        for value, name in names.items():
            parts[name] = lambda cell, position=position, value=value: cell[position] == value
    rows = []
    for name, belongs in parts.items():
        here = values[[belongs(cell) for cell in cells]].reshape(-1, 2)
        row = [name, len(here), *([None] * 5)]
        if len(here):
            means = here.mean(axis=0).tolist()
            row = [name, len(here), *means, means[0] - means[1], *stats.mean_interval(*here.T)]
        if published is not None:
            theirs = published[[belongs(cell) for cell in paper.CELLS]]
            row += [*theirs.mean(axis=0).tolist(), float(np.subtract(*theirs.T).mean())]
        rows.append(row)
    columns = ["cells", "n", "L_IoU", "L_BCE", "difference", "95 % low", "95 % high"]
    columns += ["paper: L_IoU", "paper: L_BCE", "paper: difference"] if published is not None else []
    runs = [run for _, iou, bce in results.pairs(study) for run in (iou, bce)]
    title = f"Mean {NAMES.get(metric, metric)} by part of the study"
    return Table(title, columns, rows, results.data_note(runs))


def contrast(table: Table, first: str, second: str) -> str:
    """Two rows of `subsets_table` against each other: mean over both losses, and the losses' difference."""
    rows = {row[0]: row for row in table.rows}
    one, other = rows[first], rows[second]
    pair = f"{first[0].upper()}{first[1:]} and {second}"
    if not (one[1] and other[1]):
        return f"**{pair}** cannot be compared yet: there is no finished pair of runs of both."
    means = [(row[2] + row[3]) / 2 for row in (one, other)]
    same = "the same loss is ahead in both" if one[4] * other[4] > 0 else "not the same loss is ahead in both"
    return (f"**{pair}.** Over both losses the mean is {means[0]:.3f} and {means[1]:.3f}. IoU loss minus BCE "
            f"is {one[4]:+.3f} (n = {one[1]}) and {other[4]:+.3f} (n = {other[1]}): {same}.")


def runs_table(study: Study) -> Table:
    """One row a run: its configuration, scores, epochs, seconds, seed and which data it is from."""
    columns = ["run", "model", "dataset", "size", "hair", "loss", *results.SCORES, "epochs run", "best epoch",
               "seconds", "seed", "image size", "positive share", "data"]
    rows = []
    for run in study.values():
        record = run.record
        seconds = record["seconds"].get("total", sum(record["seconds"].values()))
        rows.append([run.run_id, *run.cell[:3], "yes" if run.cell.hair else "no", run.loss,
                     *map(run.score, results.SCORES), record["epochs_run"], record["best_epoch"], seconds,
                     record["seed"], record["params"].get("image_size"), record["data"].get("positive_share"),
                     results.data_note([run])])
    return Table("Runs", columns, rows)


def example_pictures(iou: Run, bce: Run) -> tuple[tuple[np.ndarray, np.ndarray] | None, int, str]:
    """The test image to show for a pair of runs: the one of median IoU after BCE loss (the lower of two).

    Returns:
        (what `inspection.test_pictures` returns, or None if the data cannot be had; the image's index in the test part; what
        there is to say if they cannot, else "").
    Raises:
        InputError: if the two runs were tested on different images.
    """
    if iou.per_image["id"].tolist() != bce.per_image["id"].tolist():
        raise InputError(f"{iou.folder} and {bce.folder.name}: were tested on different images; run both "
                         "again")
    scores = bce.per_image["iou"]
    chosen = int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])
    try:
        return inspection.test_pictures(bce), chosen, ""
    except InputError as error:
        note = (f"The picture of `{bce.per_image['id'][chosen]}` cannot be shown ({error}). Left after IoU "
                "loss, right after BCE loss; above the masks, below the probabilities.")
        return None, chosen, note
