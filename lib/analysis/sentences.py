"""The results of a study in words: sentences that are correct whichever loss is better.

Every function takes the result of `outputs.read_study` and accepts a study with only some runs finished; sentences are
Markdown, in which texts of records are shown as they are. Differences are always IoU loss minus BCE loss. A difference
is called clear if its 95 % interval (Student's t over the cells) does not include zero.
"""

import numpy as np

from lib import config, markdown
from lib.analysis import names, pairs, paper, stats
from lib.analysis.pairs import collapsed, is_capped, usable
from lib.analysis.tables import Table
from lib.config import STARTED, Cell
from lib.outputs import Study

EXAMPLE = Cell("bfcn32s", "lfw", "big", False)  # the setting of the paper's Figures 5 and 6
NO_PAIR = "No cell has both of its runs finished, so the losses cannot be compared yet."


def direction(values: np.ndarray) -> int | None:
    """Which loss has clearly larger values: 1 for IoU loss, -1 for BCE, 0 for neither, None for fewer than two pairs.

    Args:
        values: (cells, 2) for IoU loss and BCE loss.
    """
    if len(values) < 2:
        return None
    low, high = stats.mean_interval(*values.T)
    return 1 if low > 0 else -1 if high < 0 else 0


def headline(study: Study) -> str:
    """The result in one line, by thresholded and by un-thresholded IoU, or why there is none (`unanswered`).

    Each score has one of the ends of `stats.outcome`: a loss is better, no difference is larger than the margin, or the
    question stays open.
    """
    if why := unanswered(study):
        return f"**Did IoU loss beat BCE here? Not answered: {why}.**"
    ends = []
    for metric in ("iou", "iou_soft"):
        values = usable(study, metric)[1]
        if len(values) < 2:
            ends.append(f"y {names.SCORES[metric]}: not answered, as there are too few pairs of runs")
            continue
        low, high = stats.mean_interval(*values.T)
        interval = f"95 % interval {low:+.3f} to {high:+.3f}"
        better = "better by {:.3f} on average (" + interval + ")"
        mean = float(np.subtract(*values.T).mean())
        words = {
            "a": f"IoU loss is {better.format(mean)}",
            "b": f"BCE is {better.format(-mean)}",
            "equal": f"no difference larger than {stats.MARGIN} ({interval})",
            "open": f"not answered ({interval}: the difference may be smaller or larger than {stats.MARGIN}; "
            "`--seeds 5` repeats every run)",
        }
        ends.append(f"y {names.SCORES[metric]}: {words[stats.outcome(*values.T)]}")
    return f"**Did IoU loss beat BCE here? B{ends[0]}; b{ends[1]}.**{demonstration(study)}"


def demonstration(study: Study) -> str:
    """What to think of a result on drawn faces, and where real ones are; "" for a study of real faces."""
    if any(run.record["params"].get("data") != "synthetic" for run in study.values()):
        return ""
    return (
        " This is a demonstration on drawn faces with small networks: it shows how the comparison works. FCResNet "
        "learns more slowly from BCE on them, so the lead of IoU loss in masks is larger than on real faces; what was "
        "found there stands in `outputs/published/CONCLUSION.md`."
    )


def unanswered(study: Study) -> str:
    """Why a study does not answer its question, and what to change; "" if it does.

    The rule: no answer if a pair of runs is missing or differs in more than the loss, or if more than a tenth of the
    runs stopped at the limit of epochs or collapsed to a constant mask.
    """
    runs = list(study.values())
    missing = len(config.CELLS) - len(pairs.pairs(study))
    capped, constant = [sum(bool(kind(run)) for run in runs) for kind in (is_capped, collapsed)]
    reasons = [f"{missing} of {len(config.CELLS)} pairs of runs are missing (run the rest)"] if missing else []
    found = [differing for _, *pair in pairs.pairs(study) if (differing := pairs.unlike(*pair))]
    if found:
        words = markdown(", ".join(sorted({name for differing in found for name in differing})))
        reasons.append(f"{len(found)} pairs differ in more than the loss ({words}; run them again alike)")
    if sum(bool(is_capped(run) or collapsed(run)) for run in runs) > len(runs) / 10:
        if capped:
            reasons.append(f"{capped} of {len(runs)} runs stopped at the limit of epochs (raise `epochs`)")
        if constant:
            reasons.append(f"{constant} of {len(runs)} runs collapsed to a constant mask (lower `learning_rate`)")
    return ", and ".join(reasons)


def comparison(study: Study, metric: str) -> str:
    """One sentence with mean difference, interval, t, p and wins for a metric of `names.COLUMNS`."""
    values = usable(study, metric)[1]
    if not len(values):
        return f"By {names.SCORES[metric]}: {NO_PAIR[0].lower()}{NO_PAIR[1:]}"
    found = stats.compare(*values.T, metric)
    mean, digits = found["mean_difference"], 1 if metric == "epochs" else 3
    leads = {
        1: f"IoU loss is higher by {abs(mean):.{digits}f} on average",
        -1: f"IoU loss is lower by {abs(mean):.{digits}f} on average",
        0: f"there is no clear difference (mean {mean:+.{digits}f})",
        None: f"there is a single pair, IoU loss minus BCE is {mean:+.{digits}f}",
    }
    text = f"By {names.SCORES[metric]}, {leads[direction(values)]}"
    if found["n"] == 1:
        return text + "."
    text += (
        f", 95 % interval {found['low']:+.{digits}f} to {found['high']:+.{digits}f}, "
        f"t = {found['t']:.2f}, p = {found['p']:.2g}"
    )
    ties = f", {found['ties']} equal" if found["ties"] else ""
    return (
        f"{text}; IoU loss is better in {found['wins_iou']} and BCE in {found['wins_bce']} of {found['n']} cells{ties}."
    )


def completeness(study: Study) -> str:
    """How many of the 32 runs are finished, which are missing, and why folders could not be read."""
    planned = [cell.run_id(loss) for cell in config.CELLS for loss in paper.LOSSES]
    missing = [run_id for run_id in planned if run_id not in study]
    lines = [
        f"{len(planned) - len(missing)} of {len(planned)} runs are finished; both losses are there in "
        f"{len(pairs.pairs(study))} of {len(config.CELLS)} cells."
    ]
    seeds = {len(pairs.replicates(study, run)) for _, *pair in pairs.pairs(study) for run in pair} - {1}
    if seeds:
        lines.append(
            f"Scores are averaged over seeds, {' or '.join(map(str, sorted(seeds)))} of each run; masks and "
            "curves are those of the first."
        )
    if missing:
        lines.append("Missing: " + ", ".join(f"`{run_id}`" for run_id in missing) + ".")
    if capped := sum(map(is_capped, study.values())):
        lines.append(
            f"**{capped} of {len(study)} runs stopped at the limit of epochs, not by early stopping**: "
            "they may not have converged, so a difference can be one of speed; raise the parameter `epochs` "
            "to find out."
        )
    for run, kind in ((run, collapsed(run)) for run in study.values()):
        if kind:
            lines.append(
                f"**`{run.run_id}` calls every pixel of every test image {kind}**: its training collapsed, and "
                "its scores are those of a constant mask."
            )
    if study.problems:
        lines.append(
            "\n".join(["Folders that were skipped:", "", *(f"- {markdown(problem)}" for problem in study.problems)])
        )
    return "\n\n".join(lines)


def provenance(study: Study) -> str:
    """The data and settings of the runs: the data note, and the values of each setting over all runs."""
    runs = list(study.values())
    found = []
    for name, words in names.SETTINGS.items():
        every = [STARTED | run.record["params"] for run in runs]  # as records without it were
        values = sorted({str(params[name]) for params in every if name in params})
        if values:
            found.append(markdown(f"{words} {' or '.join(values)}"))
    others = sorted(
        {
            paper.DATASETS.get(run.cell.dataset, run.cell.dataset)
            for run in runs
            if run.record["data"]["note"] or run.record["data"]["scaled"]
        },
        reverse=True,
    )
    caution = (
        f" The data for {' and '.join(others)} are not the paper's: do not compare the scores with those of the paper."
        if others
        else ""
    )
    return f"{markdown(pairs.data_note(runs))}{caution} Settings: {', '.join(found)}."


def threshold_effect(study: Study) -> str:
    """How much of BCE's deficit in IoU′ disappears when the predictions are thresholded, over the same cells."""
    cells, soft = usable(study, "iou_soft")
    thresholded = dict(zip(*usable(study, "iou")))
    kept = [i for i, cell in enumerate(cells) if cell in thresholded]
    if not kept:
        return NO_PAIR
    without = np.subtract(*soft[kept].T)
    with_threshold = np.array([np.subtract(*thresholded[cells[i]]) for i in kept])
    deficit, rest = without.mean(), with_threshold.mean()
    text = (
        f"BCE's mean deficit against IoU loss is {deficit:+.3f} in IoU′ and {rest:+.3f} in IoU, "
        f"the means of {len(kept)} of {len(config.CELLS)} cells: "
    )
    if deficit <= 0:
        text += "in IoU′ there is no deficit to explain."
    elif rest <= 0:
        text += "**all of it vanishes with a threshold**; it comes from soft probabilities, not from worse masks."
    elif rest < deficit:
        text += (
            f"**{100 * (1 - rest / deficit):.0f} % of it vanishes with a threshold**; that share comes "
            "from soft probabilities, the rest is in the masks."
        )
    else:
        text += "a threshold does not make it smaller; it is in the masks."
    if len(kept) > 1:
        low, high = stats.mean_interval(without, with_threshold)
        text += f" What the threshold takes away is {deficit - rest:+.3f} (95 % interval {low:+.3f} to {high:+.3f})."
    return text


def contrast(table: Table, first: str, second: str) -> str:
    """Two rows of `subsets_table` compared: mean over both losses, and difference between the losses."""
    rows = {row[0]: row for row in table.rows}
    one, other = rows[first], rows[second]
    pair = f"{first[0].upper()}{first[1:]} and {second}"
    if not (one[1] and other[1]):
        return f"**{pair}** cannot be compared yet: there is no finished pair of runs of both."
    means = [(row[2] + row[3]) / 2 for row in (one, other)]
    signs = [0 if not (row[5] > 0 or row[6] < 0) else np.sign(row[4]) for row in (one, other)]
    if 0 in signs:
        ahead = f"no loss is clearly ahead in {'both' if not any(signs) else second if signs[0] else first}"
    else:
        ahead = "the same loss is ahead in both" if signs[0] == signs[1] else "not the same loss is ahead in both"
    parts = [
        f"{row[4]:+.3f} (" + (f"{row[5]:+.3f} to {row[6]:+.3f}, " if row[1] > 1 else "") + f"n = {row[1]})"
        for row in (one, other)
    ]
    theirs = ""
    if len(one) > 9:
        theirs = f" In the paper it is {one[9]:+.3f} and {other[9]:+.3f}."
    return (
        f"**{pair}.** Over both losses the mean is {means[0]:.3f} and {means[1]:.3f}. IoU loss minus BCE "
        f"is {' and '.join(parts)}: {ahead}.{theirs}"
    )
