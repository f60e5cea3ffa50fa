"""lib/view/pictures.py: images, labels, masks and errors are shown as they are."""

import numpy as np
import pytest
from figures import FIGURES, PROBABILITIES, legend, shown
from matplotlib.colors import to_hex

from lib.view import pictures, plots


def test_samples_show_the_classes_in_the_colours_of_lfw():
    axes = FIGURES["samples"]().axes
    assert [ax.get_title() for ax in axes[:4]] == ["input", "3-class label", "label with hair", "label without hair"]
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["Ann_0001", "Bob_0001"]
    blue, green, red = [0, 0, 255], [0, 255, 0], [255, 0, 0]
    assert shown(axes[1])[0].tolist() == [[blue, green], [red, blue]]
    assert shown(axes[2])[0].tolist() == [[0, 1], [1, 0]]
    assert shown(axes[3])[0].tolist() == [[0, 1], [0, 0]]


def test_masks_threshold_and_colour_the_errors():
    figure = FIGURES["masks"]()
    axes = figure.axes
    assert [ax.get_title() for ax in axes[:5]] == ["image", "label", "probability P", "mask, P > 0.5", "errors"]
    assert [axes[0].get_ylabel(), axes[5].get_ylabel()] == ["best", "worst"]
    assert axes[-1].get_ylabel() == "probability P"  # the colour bar
    assert shown(axes[2])[0] == pytest.approx(PROBABILITIES[0] / 255)
    assert shown(axes[3])[0].tolist() == [[0, 1], [1, 0]]  # 128 is above one half, 127 is not
    errors = shown(axes[4])[0]
    tp, fp, fn = (np.array(list(bytes.fromhex(colour[1:]))) / 255 for colour in pictures.ERRORS.values())
    grey = 100 / 255
    assert errors[0, 0] == pytest.approx([grey] * 3)  # true negative
    assert errors[0, 1] == pytest.approx(0.35 * grey + 0.65 * tp)
    assert errors[1, 0] == pytest.approx(0.35 * grey + 0.65 * fp)
    assert shown(axes[9])[0][0, 1] == pytest.approx(0.35 * grey + 0.65 * fn)
    assert legend(figure) == ["true positive", "false positive", "false negative"]


def test_example_outputs_show_masks_above_probabilities():
    figure = FIGURES["example_outputs"]()
    titles = {ax.get_title(): ax for ax in figure.axes}
    assert list(titles)[:6] == [
        "image",
        "IoU loss: P > 0.5\nIoU 0.500",
        "BCE loss: P > 0.5\nIoU 0.750",
        "label",
        "IoU loss: P\nIoU′ 0.250",
        "BCE loss: P\nIoU′ 0.125",
    ]
    assert figure.get_suptitle() == "Ann_0001"
    for loss, score, soft in (("IoU", "IoU 0.500", "0.250"), ("BCE", "IoU 0.750", "0.125")):
        assert shown(titles[f"{loss} loss: P > 0.5\n{score}"])[0].tolist() == [[0, 1], [1, 0]]
        ax = titles[f"{loss} loss: P\nIoU′ {soft}"]
        assert shown(ax)[0] == pytest.approx(PROBABILITIES[0] / 255)
        assert to_hex(ax.spines["left"].get_edgecolor()).upper() == plots.COLOURS[loss.lower()]
