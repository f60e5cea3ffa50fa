"""The masks in a report, as HTML: four test images for each pair of runs, chosen by their IoU (see `choose`).

The page needs no kernel and no script: it has all pictures and texts, and the browser opens and closes the pairs.
"""

import io
from base64 import b64encode
from html import escape

import numpy as np
from PIL import Image

from lib import InputError
from lib.analysis import pairs as paired
from lib.analysis import paper, predictions
from lib.config import Cell
from lib.outputs import Study
from lib.record import Run
from lib.view.pictures import ERRORS, error_map
from lib.view.plots import NAMES

COLUMNS = ("image", "label", "mask after IoU loss", "its errors", "mask after BCE loss", "its errors")
GAP = 4  # pixels between the pictures of a line
STYLE = """<style>
.masks details { border-top: 1px solid #ccc; padding: .3rem 0; }
.masks summary { cursor: pointer; padding: .2rem 0; }
.masks figure { margin: 0 0 1rem; }
.masks img { display: block; width: 100%; image-rendering: pixelated; }
.masks .columns { display: grid; grid-template-columns: repeat(6, 1fr); font-size: .8rem; }
.masks figcaption { font-size: .85rem; font-variant-numeric: tabular-nums; }
.masks .swatch { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; border: 1px solid #888; }
</style>"""


def html(study: Study) -> str:
    """A section with the masks of every finished pair of runs; "" of a study that came without any.

    A pair whose pictures cannot be shown has a sentence in their place.
    """
    pairs = paired.pairs(study) if any(run.has_maps for run in study.values()) else []
    key = "".join(f'<span class="swatch" style="background:{colour}"></span>{name}' for name, colour in ERRORS.items())
    if not pairs:
        return ""
    parts = [_pair(cell, iou, bce, is_open=number == 0) for number, (cell, iou, bce) in enumerate(pairs)]
    return (
        f'{STYLE}<section class="masks" id="masks"><h2>Masks of every pair of runs</h2><p>By IoU at 0.5: '
        "the image that is worst, median and best after BCE loss, and the one on which the two losses differ most. "
        f"Masks are P &gt; 0.5; errors:{key}.</p>{''.join(parts)}</section>"
    )


def choose(iou: np.ndarray, bce: np.ndarray) -> dict[str, int]:
    """The images to show, by the IoU of each image after each loss, (images,): name -> index."""
    ranked = np.argsort(bce, kind="stable")
    return {
        "worst": int(ranked[0]),
        "median": int(ranked[(len(ranked) - 1) // 2]),
        "best": int(ranked[-1]),
        "largest disagreement": int(np.abs(iou - bce).argmax()),
    }


def _pair(cell: Cell, iou: Run, bce: Run, is_open: bool) -> str:
    title = f"{paper.MODELS[cell.model]} on {paper.DATASETS[cell.dataset]}, {cell.name}"
    try:
        if iou.per_image["id"].tolist() != bce.per_image["id"].tolist():
            raise InputError(f"{iou.folder} and {bce.folder.name} were tested on different images; run both again")
        images, masks = predictions.test_pictures(bce)
        maps = [predictions.evaluate(run, masks).probabilities for run in (iou, bce)]
        body = f'<div class="columns" aria-hidden="true">{"".join(f"<span>{name}</span>" for name in COLUMNS)}</div>'
        scores = [run.per_image["iou"] for run in (iou, bce)]
        for name, at in choose(*scores).items():
            after = ", ".join(f"{values[at]:.3f} after {NAMES[loss]}" for loss, values in zip(paper.LOSSES, scores))
            text = f"{name}: {bce.per_image['id'][at]}, IoU {after}"
            strip = _strip(images[at], masks[at], [probabilities[at] > 127 for probabilities in maps])
            body += (
                f'<figure><img alt="{escape(text)}; {", ".join(COLUMNS)}" src="data:image/png;base64,'
                f'{b64encode(strip).decode()}"><figcaption>{escape(text)}</figcaption></figure>'
            )
    except InputError as error:
        body = f"<p>These pictures cannot be shown: {escape(str(error))}.</p>"
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{body}</details>"


def _strip(image: np.ndarray, label: np.ndarray, predicted: list[np.ndarray]) -> bytes:
    """The six pictures side by side as PNG."""
    tiles = [image / 255, _grey(label)]
    for mask in predicted:
        tiles += [_grey(mask), error_map(image, label, mask)]
    gap = np.ones((image.shape[0], GAP, 3))
    line = np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)
    file = io.BytesIO()
    Image.fromarray((255 * line).round().astype("uint8")).save(file, "PNG")
    return file.getvalue()


def _grey(mask: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(mask, "float64")[..., None], 3, axis=-1)
