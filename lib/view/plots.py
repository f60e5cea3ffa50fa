"""Figures of the study, one function each: arrays and plain values in, a matplotlib Figure out.

The figures are made without pyplot, so none stays open. A notebook shows figures only if its first code cell has
`%matplotlib inline`; without it only the name of a figure is shown. `fig.savefig("figure.svg")` writes vector graphics.
The colours are those of Okabe and Ito, which colour-blind readers can distinguish: in every figure IoU loss is blue and
BCE loss is orange.

`InputError` is raised if the arrays of a figure are empty or differ in length.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib import figure, rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lib import InputError, plain
from lib.analysis import names, paper, stats
from lib.config import Cell

OF_WINDOWS = ("backend", "interactive", "toolbar", "keymap.", "webagg.", "tk.", "macosx.", "docstring.", "timezone")
# All of matplotlib that is not about windows: its defaults and the project's. So the user's have no say.
STYLE = {name: value for name, value in rcParamsDefault.items() if not name.startswith(OF_WINDOWS)} | {
    "figure.dpi": 110,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}


class Figure(figure.Figure):
    """A figure in the project's style also when it is drawn: matplotlib makes ticks only then."""

    def draw(self, renderer):
        with rc_context(STYLE):
            return super().draw(renderer)

    def savefig(self, *arguments, **options):
        with rc_context(STYLE):
            return super().savefig(*arguments, **options)


COLOURS = {"iou": "#0072B2", "bce": "#E69F00"}  # a loss as Config names it -> its colour
NAMES = {loss: f"{names.LOSSES[loss]} loss" for loss in COLOURS}
TRAINING, VALIDATION, GREY, OUTSIDE = "#767676", "#009E73", "#767676", "#CC79A7"


@rc_context(STYLE)
def learning_curves(history: Mapping[str, ArrayLike], best_epoch: int) -> Figure:
    """Loss and IoU at 0.5 over the epochs, of training (if the history has it) and validation.

    Args:
        history: column -> (epochs,), with `epoch` (from 1), `loss`, `val_loss` and `val_iou`; NaN is a gap.
        best_epoch: the epoch whose weights were kept, from 1; a line marks it.
    Raises:
        InputError: if the history lacks one of them.
    """
    for column in ("epoch", "loss", "val_loss", "val_iou"):
        if column not in history:
            raise InputError(f"history has no column {column!r}: it has {', '.join(history)}")
    fig = Figure(figsize=(7.5, 2.8), layout="constrained")
    for ax, name, ylabel in zip(fig.subplots(1, 2), ("loss", "iou"), ("loss of a batch", names.SCORES["iou"])):
        if name in history:
            ax.plot(history["epoch"], history[name], ".--", color=TRAINING, ms=3, label="training")
        ax.plot(history["epoch"], history["val_" + name], ".-", color=VALIDATION, ms=3, label="validation")
        ax.axvline(best_epoch, color="black", lw=0.8, ls=":", label=f"best epoch: {best_epoch}")
        ax.set(xlabel="epoch", ylabel=ylabel, xlim=(0, 1.05 * np.max(history["epoch"])))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
    fig.legend(*fig.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


@rc_context(STYLE)
def convergence(runs: Mapping[str, tuple[Mapping[str, ArrayLike], int]]) -> Figure:
    """Validation IoU at 0.5 over the epochs for IoU loss and BCE loss, in one chart with the best epochs marked.

    Args:
        runs: loss -> (history, best epoch), as in `learning_curves`.
    Raises:
        InputError: if there is no run, or a history has no `val_iou`.
    """
    check_together(runs=runs)
    fig = Figure(figsize=(5.2, 3), layout="constrained")
    ax = fig.subplots()
    # So that one ring is visible around the other.
    for number, (loss, (history, best_epoch)) in enumerate(runs.items()):
        if "val_iou" not in history:
            raise InputError(f"history has no column 'val_iou': it has {', '.join(history)}")
        values, colour = np.asarray(history["val_iou"], "float64"), COLOURS.get(loss, VALIDATION)
        ax.plot(history["epoch"], values, ".-", ms=3, color=colour, label=f"{NAMES.get(loss, loss)}, best {best_epoch}")
        ax.scatter(
            [best_epoch],
            values[np.equal(history["epoch"], best_epoch)],
            s=120 / 2**number,
            facecolor="none",
            edgecolor=colour,
            zorder=3,
        )
    ax.set(xlabel="epoch", ylabel=f"validation: {names.SCORES['iou']}", xlim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    return fig


@rc_context(STYLE)
def paired_scores(
    cells: Sequence[Cell], values: np.ndarray, metric_label: str, paper_values: np.ndarray | None = None
) -> Figure:
    """A row for each cell: its scores after IoU loss and after BCE loss, joined by a line.

    Args:
        values: (cells, 2) for IoU loss and BCE loss.
        metric_label: the x axis, with its unit, for example "IoU at 0.5".
        paper_values: (cells, 2), those of the paper, drawn below as hollow markers.
    """
    given = {"values": values} if paper_values is None else {"values": values, "paper_values": paper_values}
    check_together(cells=cells, **given)
    fig = Figure(figsize=(7, 1.1 + 0.3 * len(cells)), layout="constrained")
    ax = fig.subplots()
    for name, pairs in given.items():
        pairs, paper_row = np.asarray(pairs, "float64"), name == "paper_values"
        y = np.arange(len(cells)) + (0.36 * paper_row - 0.18) * (len(given) - 1)
        ax.hlines(y, pairs.min(axis=1), pairs.max(axis=1), color=GREY, lw=0.8 if paper_row else 1.6, zorder=1)
        for values_of_loss, (loss, colour) in zip(pairs.T, COLOURS.items()):
            ax.scatter(
                values_of_loss,
                y,
                s=20 if paper_row else 32,
                edgecolor=colour,
                zorder=2,
                facecolor="white" if paper_row else colour,
                label=f"{NAMES[loss]}, the paper" if paper_row else NAMES[loss],
            )
    for row, (above, below) in enumerate(pairwise(cells)):
        if above[:2] != below[:2]:  # another model or data set
            ax.axhline(row + 0.5, color="#bbbbbb", lw=0.8)
    _label_rows(ax, [f"{paper.MODELS[cell.model]} · {paper.DATASETS[cell.dataset]} · {cell.name}" for cell in cells])
    ax.set_xlabel(metric_label)
    if min(np.min(pairs) for pairs in given.values()) < 0:  # differences
        ax.axvline(0, color="black", lw=0.8, zorder=0)
    fig.legend(loc="outside upper center", ncols=4)
    return fig


@rc_context(STYLE)
def difference_intervals(
    rows: Sequence[tuple[str, float, float, float]], xlabel: str = "mean difference, IoU loss − BCE loss"
) -> Figure:
    """Forest plot of mean differences with their intervals and a line at zero.

    Args:
        rows: (label, mean difference, lower end, upper end) from the top; with NaN ends only the mean is drawn.
        xlabel: the x axis; all rows have its unit.
    """
    check_together(rows=rows)
    labels, means, lows, highs = zip(*rows)
    fig = Figure(figsize=(6.5, 0.9 + 0.32 * len(rows)), layout="constrained")
    ax = fig.subplots()
    ax.axvline(0, color="black", lw=0.8)
    ax.hlines(range(len(rows)), lows, highs, color=GREY, lw=2)
    ax.scatter(means, range(len(rows)), s=30, zorder=3, color=_winner(means))
    _label_rows(ax, labels)
    ax.set_xlabel(xlabel)
    return fig


@rc_context(STYLE)
def iou_accuracy_bounds(
    points: Sequence[tuple[float, float, str, str]], prevalence: float, title: str, rounding: float = 0.0
) -> Figure:
    """IoU against accuracy, with the band in which thresholded predictions must be (`paper.iou_bounds`).

    Args:
        points: (accuracy, IoU, label, loss) with loss iou or bce; points outside the band have a ring.
        prevalence: share of positive pixels, in (0, 1].
        rounding: largest rounding error of the scores, half of their last digit; 0 for exact scores.
    """
    check_together(points=points)
    accuracies = [accuracy for accuracy, *_ in points]
    margin = 0.3 * (max(accuracies) - min(accuracies)) + 0.005  # room for the labels
    x = np.linspace(max(0, min(accuracies) - margin), min(1, max(accuracies) + margin), 200)
    lows, highs = np.array([paper.iou_bounds(a, prevalence) for a in x]).T
    fig = Figure(figsize=(6.5, 4.5), layout="constrained")
    ax = fig.subplots()
    ax.fill_between(x, lows, highs, color="#dddddd", lw=0, label="possible after a threshold")
    for loss, colour in COLOURS.items():
        xy = np.array([point[:2] for point in points if point[3] == loss]).reshape(-1, 2)
        ax.scatter(*xy.T, s=28, color=colour, label=NAMES[loss], zorder=3)
    per_share = 250 / np.ptp(ax.get_ylim())  # points per unit of the axis, roughly
    ax.set_ylim(ax.get_ylim())
    for loss, side, align in (("iou", -16, "right"), ("bce", 16, "left")):
        named = [point for point in points if point[3] == loss]
        for (accuracy, iou, label, _), y in zip(named, _apart([iou for _, iou, *_ in named], 10 / per_share)):
            ax.annotate(
                plain(label),
                (accuracy, iou),
                (side, per_share * (y - iou)),
                textcoords="offset points",
                ha=align,
                va="center",
                size=7.5,
                arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 1, "shrinkB": 4},
            )
    outside = [
        (a, iou)
        for a, iou, *_ in points
        if not paper.iou_bounds(max(0, a - rounding), prevalence)[0] - rounding - 1e-9
        <= iou
        <= paper.iou_bounds(min(1, a + rounding), prevalence)[1] + rounding + 1e-9
    ]
    ax.scatter(
        *np.reshape(outside, (-1, 2)).T,
        s=130,
        facecolor="none",
        edgecolor=OUTSIDE,
        lw=1.8,
        zorder=4,
        label="outside the band",
    )
    ax.set(xlabel="accuracy (share of pixels)", ylabel="IoU", title=title, xlim=(x[0], x[-1]))
    ax.grid()
    ax.legend(loc="upper left")
    return fig


@rc_context(STYLE)
def paired_per_image(iou_scores: ArrayLike, bce_scores: ArrayLike) -> Figure:
    """The IoU of each test image after IoU loss against that after BCE loss, with the diagonal.

    Both are (images,) in [0, 1], in the same order. The legend counts the images on which each loss is better.
    """
    check_together(iou_scores=iou_scores, bce_scores=bce_scores)
    iou_scores, bce_scores = np.asarray(iou_scores, "float64"), np.asarray(bce_scores, "float64")
    fig = Figure(figsize=(4.2, 4.2), layout="constrained")
    ax = fig.subplots()
    ax.plot([0, 1], [0, 1], color="black", lw=0.8, zorder=1)
    for name, colour, chosen in (
        ("IoU loss better", COLOURS["iou"], iou_scores > bce_scores),
        ("BCE loss better", COLOURS["bce"], iou_scores < bce_scores),
        ("equal", GREY, iou_scores == bce_scores),
    ):
        ax.scatter(
            bce_scores[chosen],
            iou_scores[chosen],
            s=12,
            alpha=0.7,
            lw=0,
            color=colour,
            label=f"{name}: {chosen.sum()} images",
        )
    limits = (min(iou_scores.min(), bce_scores.min()) - 0.02, 1.005)
    ax.set(
        xlabel="IoU at 0.5 after BCE loss", ylabel="IoU at 0.5 after IoU loss", aspect="equal", xlim=limits, ylim=limits
    )
    ax.grid()
    ax.legend(loc="upper left")
    return fig


@rc_context(STYLE)
def distributions(iou_scores: ArrayLike, bce_scores: ArrayLike) -> Figure:
    """Distribution of the IoU of test images after each loss, and of its paired differences with their mean.

    Both are (images,) in [0, 1], in the same order. The interval is Student's t over the images, assuming that they are
    independent.
    """
    check_together(iou_scores=iou_scores, bce_scores=bce_scores)
    both = {"iou": np.asarray(iou_scores, "float64"), "bce": np.asarray(bce_scores, "float64")}
    fig = Figure(figsize=(7.5, 2.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    for loss, scores in both.items():
        left.hist(scores, np.linspace(0, 1, 41), color=COLOURS[loss], alpha=0.55, label=NAMES[loss])
        left.axvline(np.median(scores), color=COLOURS[loss], ls="--", label=f"median {np.median(scores):.3f}")
    left.set(xlabel="IoU at 0.5 of an image", ylabel="images", xlim=(min(map(np.min, both.values())) - 0.05, 1))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)  # above, where no bar is
    differences = both["iou"] - both["bce"]
    width = max(np.abs(differences).max(), 0.01)
    right.hist(differences, np.linspace(-width, width, 41), color=GREY)
    right.axvline(0, color="black", lw=0.8)
    if differences.size > 1:
        right.axvspan(
            *stats.mean_interval(*both.values()),
            color=_winner([differences.mean()])[0],
            alpha=0.4,
            label=f"mean {differences.mean():+.3f}, 95 % interval",
        )
        right.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    right.set(xlabel="difference of an image, IoU loss − BCE loss", ylabel="images")
    return fig


@rc_context(STYLE)
def reliability(runs: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Figure:
    """Reliability diagram (Guo et al., 2017): in each bin of predicted P, the share of pixels that are positive.

    Args:
        runs: loss -> (mean P, share of positive pixels, number of pixels), each (bins,), from
            `beyond.scores.reliability`. The curve of a calibrated network is the diagonal.
    """
    check_together(runs=runs)
    fig = Figure(figsize=(4.2, 4.6), layout="constrained")
    ax, below = fig.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    ax.plot([0, 1], [0, 1], color="black", lw=0.8, label="calibrated")
    for loss, (mean, share, pixels) in runs.items():
        colour, pixels = COLOURS.get(loss, VALIDATION), np.asarray(pixels, "float64")
        error = np.nansum(pixels * np.abs(np.subtract(mean, share))) / pixels.sum()
        ax.plot(mean, share, "o-", ms=4, color=colour, label=f"{NAMES.get(loss, loss)}: calibration error {error:.3f}")
        edges = np.linspace(0, 1, len(pixels) + 1)
        below.stairs(pixels / pixels.sum(), edges, color=colour)
    ax.set(ylabel="share of positive pixels", xlim=(0, 1), ylim=(0, 1))
    below.set(xlabel="predicted probability P", ylabel="share of\nall pixels", yscale="log")
    ax.grid()
    ax.legend(loc="upper left")
    return fig


@rc_context(STYLE)
def summary(study_differences: Mapping[str, ArrayLike], paper_differences: Mapping[str, ArrayLike]) -> Figure:
    """The result in one figure: IoU loss minus BCE loss of every cell, with mean and 95 % interval.

    Args:
        study_differences: metric (iou, iou_soft, accuracy; one panel each) -> (cells,) differences.
        paper_differences: the same for the metrics that the paper reports.
    """
    check_together(study_differences=study_differences)
    fig = Figure(figsize=(3 + 2 * len(study_differences), 2.1), layout="constrained")
    panels = fig.subplots(1, len(study_differences), squeeze=False)[0]
    for ax, metric in zip(panels, study_differences):
        for y, source in enumerate((study_differences, paper_differences)):
            if metric not in source:
                ax.text(
                    0.5,
                    y,
                    "not reported",
                    transform=ax.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    color=GREY,
                    backgroundcolor="white",
                )
                continue
            differences = np.asarray(source[metric], "float64")
            spread = 0.12 * (np.arange(differences.size) % 3 - 1)  # keeps equal dots apart
            ax.scatter(differences, y - 0.12 + spread, s=14, alpha=0.8, lw=0, color=_winner(differences))
            ax.hlines(y + 0.25, *stats.mean_interval(differences, 0 * differences), color="black", lw=1.5)
            ax.scatter(differences.mean(), y + 0.25, marker="D", s=22, color="black", zorder=3)
        ax.axvline(0, color="black", lw=0.8, zorder=1)
        ax.set_title(names.SCORES.get(metric, metric))
        _label_rows(ax, ["this study", "the paper"] if ax is panels[0] else ["", ""])
        ax.locator_params(axis="x", nbins=4)
    fig.supxlabel("difference per cell, IoU loss − BCE loss (share)", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", ms=4, label=f"{NAMES[loss]} better")
        for loss, colour in COLOURS.items()
    ]
    handles.append(Line2D([], [], color="black", marker="D", ms=4.5, label="mean and 95 % interval"))
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig


def check_together(**arrays: Sequence | Mapping) -> None:
    """Raises InputError if lengths differ or are 0, or if images differ in size."""
    (first, reference), *others = arrays.items()
    if len(reference) == 0:
        raise InputError(f"{first} is empty: give at least one")
    for name, array in others:
        if len(array) != len(reference):
            raise InputError(f"{name} has length {len(array)}, {first} {len(reference)}: give one for each")
        size, expected = np.shape(array)[1:3], np.shape(reference)[1:3]
        if isinstance(array, np.ndarray) and len(expected) == 2 and size != expected:
            raise InputError(f"{name} has pictures of size {size}, {first} of {expected}: give equal sizes")


def _label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Names the rows 0, 1, ... of a chart, from the top."""
    ax.set_yticks(range(len(labels)), list(map(plain, labels)))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")


def _apart(values: Sequence[float], gap: float) -> np.ndarray:
    """These numbers moved as little as possible (least squares) so that no two are closer than `gap`."""
    from scipy.optimize import isotonic_regression

    order, steps = np.argsort(values, kind="stable"), gap * np.arange(len(values))
    moved = (isotonic_regression(np.asarray(values)[order] - steps).x if len(values) else 0) + steps
    return moved[np.argsort(order)]


def _winner(differences: ArrayLike) -> list[str]:
    """The colour of the loss that is better by each difference (IoU loss minus BCE loss); grey for zero."""
    return [COLOURS["iou"] if d > 0 else COLOURS["bce"] if d < 0 else GREY for d in differences]
