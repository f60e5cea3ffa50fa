"""lib/view/plots.py: every figure shows its values; what is refused. Of `pictures`, too, that all figures are here."""

import subprocess
import sys

import matplotlib
import nbformat
import numpy as np
import pytest
from figures import CELLS, FIGURES, HISTORY, IMAGES, LABELS, MASKS, PROBABILITIES, legend, offsets
from matplotlib.colors import to_hex
from nbclient import NotebookClient

from lib import PROJECT, InputError, config
from lib.analysis import paper
from lib.view import pictures, plots


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_written_as_vectors(name, tmp_path):
    figure = FIGURES[name]()
    assert type(figure) is plots.Figure
    figure.savefig(tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


def test_no_figure_is_missing_here():
    public = {
        name
        for module in (plots, pictures)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert public == {*FIGURES, "check_together", "error_map", "Figure"}


@pytest.mark.filterwarnings("error")
def test_a_style_of_the_users_changes_no_figure(tmp_path):
    """text.usetex without LaTeX stopped runs; ticks are made when a figure is drawn, so drawing counts too."""
    theirs = {
        "text.usetex": True, "axes.facecolor": "black", "axes.formatter.use_locale": True, "xtick.labelcolor": "red",
        "savefig.dpi": 1000, "savefig.bbox": "tight", "figure.facecolor": "grey", "axes.prop_cycle": "cycler(lw=[9])",
        "font.size": 30, "lines.linewidth": 7, "text.parse_math": False, "image.cmap": "jet", "image.origin": "lower",
    }  # fmt: skip

    def drawn(name, path):
        FIGURES[name]().savefig(path, metadata={"Software": None})
        return path.read_bytes()

    for name in ("learning_curves", "masks", "reliability"):
        plain = drawn(name, tmp_path / "plain.png")
        with matplotlib.rc_context(theirs):
            assert drawn(name, tmp_path / "theirs.png") == plain


def test_notebooks_need_matplotlib_inline_to_show_a_figure():
    draw = "from lib.view import plots\nfigure = plots.paired_per_image([0.5], [0.4])\nfigure"
    cells = [draw, "%matplotlib inline", "figure", "display(figure)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    project = str(PROJECT)
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": project}}).execute()
    shown = [{kind for output in cell.outputs for kind in output.data} for cell in notebook.cells]
    assert shown == [{"text/plain"}, set(), {"text/plain", "image/png"}, {"text/plain", "image/png"}]


def test_neither_pyplot_nor_a_framework_is_imported_and_the_style_stays_inside():
    code = (
        "import sys, matplotlib as m; before = m.rcParams.copy(); from lib.view import plots; "
        "plots.paired_per_image([0.5], [0.4]); assert m.rcParams.copy() == before; "
        "assert not {'matplotlib.pyplot', 'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_learning_curves_draw_the_history_and_the_best_epoch():
    figure = plots.learning_curves(HISTORY, 2)
    loss, iou = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss of a batch")
    assert (iou.get_xlabel(), iou.get_ylabel()) == ("epoch", "IoU at 0.5")
    assert [line.get_label() for line in loss.lines] == ["training", "validation", "best epoch: 2"]
    assert [line.get_label() for line in iou.lines] == ["validation", "best epoch: 2"]  # no training IoU
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), HISTORY["val_loss"])
    assert list(iou.lines[0].get_ydata()) == [0.1, 0.3, 0.2]
    assert list(iou.lines[1].get_xdata()) == [2, 2]
    assert legend(figure) == ["training", "validation", "best epoch: 2"]


def test_convergence_draws_both_losses_and_their_best_epochs():
    (ax,) = FIGURES["convergence"]().axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [HISTORY["val_iou"]] * 2
    assert offsets(ax) == [[[2, 0.3]], [[3, 0.2]]]
    assert legend(ax) == ["IoU loss, best 2", "BCE loss, best 3"]


def test_a_history_without_a_column_is_refused():
    lacking = {name: values for name, values in HISTORY.items() if name != "val_iou"}
    for draw in (lambda: plots.convergence({"iou": (lacking, 2)}), lambda: plots.learning_curves(lacking, 2)):
        with pytest.raises(InputError, match="no column 'val_iou': it has epoch, loss, val_loss"):
            draw()


def test_paired_scores_without_and_with_the_papers():
    values = np.array([[0.8, 0.7], [0.6, 0.65]])
    alone = FIGURES["paired_scores"]()
    ax = alone.axes[0]
    assert ax.get_xlabel() == "IoU at 0.5"
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "BFCN-32s · LFW · small, no hair",
        "BFCN-32s · HELEN · big, hair",
    ]
    assert ax.get_ylim() == (1.5, -0.5)  # the first cell on top
    assert offsets(ax) == [[[0.8, 0], [0.6, 1]], [[0.7, 0], [0.65, 1]]]
    assert [segment.tolist() for segment in ax.collections[0].get_segments()] == [
        [[0.7, 0], [0.8, 0]],
        [[0.6, 1], [0.65, 1]],
    ]
    assert len(ax.lines) == 1  # between the data sets
    assert legend(alone) == ["IoU loss", "BCE loss"]
    both = plots.paired_scores(CELLS, values, "IoU at 0.5", paper_values=values - 0.1)
    assert legend(both) == ["IoU loss", "BCE loss", "IoU loss, the paper", "BCE loss, the paper"]
    assert np.array(offsets(both.axes[0]))[2:, :, 0] == pytest.approx((values - 0.1).T)
    hollow = both.axes[0].collections[-1]
    assert to_hex(hollow.get_facecolor()[0]) == "#ffffff"
    assert to_hex(hollow.get_edgecolor()[0]).upper() == plots.COLOURS["bce"]


def test_difference_intervals():
    ax = FIGURES["difference_intervals"]().axes[0]
    assert ax.get_xlabel() == "mean difference, IoU loss − BCE loss"
    assert list(ax.lines[0].get_xdata()) == [0, 0]
    assert ax.collections[0].get_segments()[0].tolist() == [[0.05, 0], [0.15, 0]]
    assert offsets(ax) == [[[0.1, 0], [-0.1, 1]]]
    assert [to_hex(c).upper() for c in ax.collections[1].get_facecolor()] == [
        plots.COLOURS["iou"],
        plots.COLOURS["bce"],
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["IoU", "accuracy"]


def test_iou_accuracy_bounds_ring_what_lies_outside():
    ax = FIGURES["iou_accuracy_bounds"]().axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("accuracy (share of pixels)", "IoU", "LFW")
    assert offsets(ax) == [[[0.9, 0.6]], [[0.95, 0.3]], [[0.95, 0.3]]]  # IoU loss, BCE loss, rings
    assert [text.get_text() for text in ax.texts] == ["possible", "impossible"]
    band = ax.collections[0].get_paths()[0].vertices
    for accuracy in (ax.get_xlim()[0], ax.get_xlim()[1]):
        at = band[np.isclose(band[:, 0], accuracy), 1]
        assert (at.min(), at.max()) == pytest.approx(paper.iou_bounds(accuracy, 0.25))


def test_labels_of_points_keep_apart_and_in_order():
    values = [0.5, 0.501, 0.9, 0.499, 0.1]
    moved = plots._apart(values, 0.02)
    assert np.diff(np.sort(moved)).min() == pytest.approx(0.02)
    assert np.argsort(moved).tolist() == np.argsort(values).tolist()
    assert moved[[2, 4]].tolist() == pytest.approx([0.9, 0.1])  # far ones stay
    assert moved[[0, 1, 3]].mean() == pytest.approx(0.5)  # the least squares move of the others
    assert plots._apart([], 0.02).tolist() == []


def test_rounding_of_reported_scores_is_forgiven():
    low = paper.iou_bounds(0.9, 0.25)[0]
    point = [(0.9, low - 0.001, "reported", "bce")]
    assert len(offsets(plots.iou_accuracy_bounds(point, 0.25, "").axes[0])[-1]) == 1
    assert len(offsets(plots.iou_accuracy_bounds(point, 0.25, "", rounding=0.0005).axes[0])[-1]) == 0


def test_the_paper_has_four_points_outside_on_lfw():
    outside = []
    for hair in (True, False):
        scores = zip(config.CELLS, paper.scores("accuracy"), paper.scores("iou"))
        points = [
            (accuracy, iou, cell.name, loss)
            for cell, accuracies, ious in scores
            if cell.dataset == "lfw" and cell.hair == hair
            for accuracy, iou, loss in zip(accuracies, ious, paper.LOSSES)
        ]
        figure = plots.iou_accuracy_bounds(points, paper.PREVALENCE["lfw", hair], "LFW", rounding=0.0005)
        outside += offsets(figure.axes[0])[-1]
    assert outside == [[0.978, 0.906], [0.963, 0.857], [0.976, 0.852], [0.967, 0.837]]


def test_paired_per_image_counts_wins():
    ax = FIGURES["paired_per_image"]().axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("IoU at 0.5 after BCE loss", "IoU at 0.5 after IoU loss")
    assert legend(ax) == ["IoU loss better: 1 images", "BCE loss better: 1 images", "equal: 1 images"]
    assert offsets(ax) == [[[0.4, 0.5]], [[0.95, 0.9]], [[0.7, 0.7]]]
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert ax.get_xlim() == ax.get_ylim()


def test_distributions_show_medians_and_the_mean_difference():
    left, right = FIGURES["distributions"]().axes
    assert legend(left) == ["median 0.700", "IoU loss", "median 0.700", "BCE loss"] or set(legend(left)) == {
        "median 0.700",
        "IoU loss",
        "BCE loss",
    }
    assert legend(right) == ["mean +0.017, 95 % interval"]


def test_reliability_names_the_calibration_error():
    ax, below = FIGURES["reliability"]().axes
    # (30 |0.1 - 0.2| + 10 |0.9 - 0.8|) / 40, and none where P is the share
    assert legend(ax) == ["calibrated", "IoU loss: calibration error 0.100", "BCE loss: calibration error 0.000"]
    assert below.get_yscale() == "log"


def test_summary_shows_means_and_what_the_paper_does_not_report():
    figure = FIGURES["summary"]()
    iou, soft = figure.axes
    assert [iou.get_title(), soft.get_title()] == ["IoU at 0.5", "IoU′ (no threshold)"]
    assert figure.get_supxlabel() == "difference per cell, IoU loss − BCE loss (share)"
    assert [label.get_text() for label in iou.get_yticklabels()] == ["this study", "the paper"]
    dots, mean, paper_dots, paper_mean = (np.array(points)[:, 0].tolist() for points in offsets(iou))
    assert (dots, paper_dots) == ([0.01, -0.01], [0.03, 0.05])
    assert (mean, paper_mean) == ([0], [pytest.approx(0.04)])
    low, high = iou.collections[1].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((-0.12706, 0.12706), abs=1e-5)  # t = 12.706, standard error 0.01
    assert [text.get_text() for text in soft.texts] == ["not reported"]
    assert not iou.texts


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: pictures.samples(IMAGES, LABELS, MASKS, MASKS, ["Ann_0001"]), "ids has length 1, images 2"),
        (
            lambda: pictures.masks(IMAGES, np.zeros((2, 3, 3)), PROBABILITIES, "ab"),
            r"labels has pictures of size \(3, 3\)",
        ),
        (lambda: pictures.masks(IMAGES[:0], MASKS[:0], PROBABILITIES[:0], []), "images is empty"),
        (lambda: pictures.masks(IMAGES, MASKS, 4.0 * MASKS, "ab"), "not all between 0 and 1"),
        (lambda: plots.difference_intervals([]), "rows is empty"),
        (lambda: plots.paired_per_image([0.5, 0.6], [0.5]), "bce_scores has length 1, iou_scores 2"),
    ],
)
def test_bad_input(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
