"""Pictures of samples and predicted masks, one function each: arrays in, a matplotlib Figure out.

As in `plots`, figures are made without pyplot and need `%matplotlib inline`. Arrays: images (n, s, s, 3) uint8 RGB;
labels (n, s, s) uint8, 0 background, 2 hair, others face; masks (n, s, s), bool or 0/1; probabilities (n, s, s), uint8
255 P or float P in [0, 1]. `InputError` is raised if the arrays of a figure are empty or differ in length or image
size, and for probabilities out of range.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from lib import InputError, plain
from lib.view.plots import COLOURS, GREY, NAMES, STYLE, Figure, check_together

ERRORS = {"true positive": "#56B4E9", "false positive": "#F0E442", "false negative": "#D55E00"}
CLASSES = {"background": (0, 0, 255), "face": (0, 255, 0), "hair": (255, 0, 0)}  # as in LFW Part Labels


@rc_context(STYLE)
def samples(
    images: np.ndarray, labels: np.ndarray, with_hair: np.ndarray, without_hair: np.ndarray, ids: Sequence[str]
) -> Figure:
    """The paper's Figures 1-4, a row for each image: input, 3-class label, label with and without hair.

    `with_hair` and `without_hair` are masks; `ids` are the rows' names.
    """
    check_together(images=images, labels=labels, with_hair=with_hair, without_hair=without_hair, ids=ids)
    colours = np.array(list(CLASSES.values()), "uint8")
    fig, axes = _picture_grid(len(images), 4)
    for row, image, label, hair, face, name in zip(axes, images, labels, with_hair, without_hair, ids):
        row[0].imshow(image)
        row[1].imshow(colours[np.where(label > 2, 1, label)])
        _show_gray(row[2], hair)
        _show_gray(row[3], face)
        row[0].set_ylabel(plain(name), fontsize=8)
    for ax, title in zip(axes[0], ("input", "3-class label", "label with hair", "label without hair")):
        ax.set_title(title)
    handles = [Patch(color=np.divide(colour, 255), label=name) for name, colour in CLASSES.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


@rc_context(STYLE)
def masks(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, titles: Sequence[str]) -> Figure:
    """A row for each image: image, label, probability map, thresholded mask, errors drawn over the image.

    Args:
        labels: the true masks.
        titles: a text for each row, for example "best: IoU 0.97".
    """
    check_together(images=images, labels=labels, probabilities=probabilities, titles=titles)
    probabilities = _as_float(probabilities)
    fig, axes = _picture_grid(len(images), 5)
    for row, image, label, p, title in zip(axes, images, labels, probabilities, titles):
        row[0].imshow(image)
        _show_gray(row[1], label)
        shown = _show_gray(row[2], p)
        _show_gray(row[3], p > 0.5)
        row[4].imshow(error_map(image, label, p > 0.5))
        row[0].set_ylabel(plain(title))
    for ax, name in zip(axes[0], ("image", "label", "probability P", "mask, P > 0.5", "errors")):
        ax.set_title(name)
    fig.colorbar(shown, ax=axes, label="probability P", shrink=min(1, 1.8 / len(images)))
    handles = [Patch(color=colour, label=name) for name, colour in ERRORS.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


@rc_context(STYLE)
def example_outputs(
    image: np.ndarray,
    label: np.ndarray,
    iou_probability: np.ndarray,
    bce_probability: np.ndarray,
    image_id: str,
    iou_scores: Mapping[str, float],
    bce_scores: Mapping[str, float],
) -> Figure:
    """The paper's Figures 5 and 6: an image and its label, the mask of each loss (P > 0.5) and its P below.

    Args:
        image, label: (s, s, 3) and (s, s), a true mask.
        iou_probability, bce_probability: (s, s) probabilities after IoU loss and after BCE loss.
        iou_scores, bce_scores: this image's `iou` (at 0.5, of the mask) and `iou_soft` (IoU′, of the map).
    """
    fig, axes = _picture_grid(2, 3)
    axes[0, 0].imshow(image)
    axes[0, 0].set_title("image")
    _show_gray(axes[1, 0], label)
    axes[1, 0].set_title("label")
    nets = ("iou", iou_probability, iou_scores), ("bce", bce_probability, bce_scores)
    for (loss, p, scores), (top, bottom) in zip(nets, axes.T[1:]):
        p = _as_float(p)
        _show_gray(top, p > 0.5)
        top.set_title(f"{NAMES[loss]}: P > 0.5\nIoU {scores['iou']:.3f}")
        shown = _show_gray(bottom, p)
        bottom.set_title(f"{NAMES[loss]}: P\nIoU′ {scores['iou_soft']:.3f}")
        for ax in (top, bottom):
            ax.spines[:].set(color=COLOURS[loss], linewidth=2)
    fig.suptitle(plain(image_id), fontsize=10)
    fig.colorbar(shown, ax=axes, label="probability P", shrink=0.6)
    return fig


def _as_float(probabilities: np.ndarray) -> np.ndarray:
    """uint8 255 P or float P -> float P; in both P > 0.5 exactly if the uint8 value is above 127."""
    if probabilities.dtype == np.uint8:
        return probabilities / 255
    if not (np.all(probabilities >= 0) and np.all(probabilities <= 1)):
        raise InputError("probabilities are not all between 0 and 1: give uint8 255 P or float P, not logits")
    return probabilities


def _picture_grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    fig = Figure(figsize=(1.8 * columns, 1.7 * rows + 0.6), layout="compressed")
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=GREY)
    return fig, axes


def _show_gray(ax: Axes, values: np.ndarray) -> AxesImage:
    """Draws a mask, or P in [0, 1], from black to white."""
    return ax.imshow(np.asarray(values, "float32"), cmap="gray", vmin=0, vmax=1)


def error_map(image: np.ndarray, label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(s, s, 3) float in [0, 1]: the image in grey, in colour where the label or prediction is positive."""
    drawn = np.repeat(image.mean(axis=-1, keepdims=True) / 255, 3, axis=-1)
    label = np.asarray(label, bool)
    for colour, where in zip(ERRORS.values(), (label & predicted, ~label & predicted, label & ~predicted)):
        drawn[where] = 0.35 * drawn[where] + 0.65 * np.array(to_rgb(colour))
    return drawn
