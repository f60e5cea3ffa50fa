"""What public functions take: masks, probabilities, logits, stored maps, scores and numbers. Numpy alone.

Each function raises InputError or returns, if anything, the arrays. Inside a compiled training step only shapes are
known, so only they are checked there; the values of arrays, and of tensors outside of it, are checked too.
"""

import math
import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lib import InputError

LARGEST = 1e12  # of the numbers that are read, written or compared; rounding and squares of them are exact enough
KINDS = "biuf"  # of numpy: truth values, whole numbers, floats


def as_array(values: ArrayLike, name: str) -> np.ndarray:
    """Numbers or truth values as a numpy array: no words, objects, complex numbers or ragged lists."""
    try:
        array = np.asarray(values)
    except Exception as error:  # of any object: lists of unequal lengths, tensors of a compiled step
        raise InputError(f"{name}: is no array ({type(error).__name__}); give numbers") from error
    if array.dtype.kind not in KINDS and not str(array.dtype).startswith(("bfloat", "float")):  # those of ml_dtypes
        raise InputError(f"{name}: dtype {array.dtype} is not valid; give numbers")
    return array


def at_hand(tensor: Any) -> np.ndarray | None:
    """The values of an array or tensor; None inside a compiled step, and of torch, whose steps are not compiled."""
    if type(tensor).__module__.startswith("torch"):
        return None
    try:
        return np.asarray(tensor)
    except Exception:  # the backends raise different types
        return None


def _within(values, name, low, high, whole):
    """Raises InputError if a value is NaN, infinite, outside [low, high], or, if `whole`, neither end."""
    if not values.size or values.dtype == bool:
        return
    least, most = float(values.min()), float(values.max())  # NaN if there is one
    if not (math.isfinite(least) and math.isfinite(most)):
        raise InputError(f"{name}: NaN or infinite at a pixel; give finite numbers")
    if least < low or most > high:
        wanted = f"{low} and {high} alone" if whole else f"numbers from {low:g} to {high:g}"
        hint = {"m": "; divide a mask of 0 and 255 by 255", "p": ", such as sigmoids of logits"}.get(name[0], "")
        raise InputError(
            f"{name}: some are outside [{low:g}, {high:g}], from {least:g} to {most:g}; give {wanted}{hint}"
        )
    if whole and not np.isin(values, (low, high)).all():
        raise InputError(f"{name}: has values between {low} and {high}; give {low} and {high} alone")


LIMITS = {"mask": (0, 1), "probabilities": (0, 1), "predicted": (0, 1), "logits": (-LARGEST, LARGEST)}
HARD = ("predicted",)  # 0 or 1 alone; a mask is so where a function says it


def check_values(tensor: Any, name: str, hard: bool = False) -> None:
    """Raises InputError for values that `name` (see `LIMITS`) does not have, where they are at hand."""
    values = at_hand(tensor)
    if values is None:
        return
    values = as_array(values, name)
    if name == "probabilities" and values.dtype == np.uint8:
        raise InputError("probabilities: are uint8, as stored maps; give those divided by 255")
    _within(values, name, *LIMITS[name], hard or name in HARD)


def check_images(mask: Any, other: Any, name: str = "logits", hard: bool = False) -> tuple[Any, Any]:
    """What losses and Keras metrics take: both (batch, height, width, 1), as far as shapes are known, none of them 0.

    Without this check a mask of another shape would be broadcast, and the result would have no meaning.

    Args:
        mask: T, values 0 to 1; 0 or 1 alone if `hard`.
        other: "logits", finite, or "probabilities", 0 to 1, of the same shape.
        name: which of them.
    Returns:
        Both as they are; lists as arrays.
    """
    given = {"mask": mask, name: other}
    given = {each: array if hasattr(array, "shape") else as_array(array, each) for each, array in given.items()}
    shapes = [tuple(array.shape) for array in given.values()]
    if not (
        len(shapes[0]) == len(shapes[1]) == 4
        and shapes[0][3] == shapes[1][3] == 1
        and all(a == b or None in (a, b) for a, b in zip(*shapes))
    ):
        raise InputError(
            f"mask and {name} have shapes {shapes[0]} and {shapes[1]}: give both (batch, height, width, 1)"
        )
    if 0 in shapes[0] + shapes[1]:
        raise InputError(f"mask and {name} have shape {shapes[0]}: give at least one image of at least one pixel")
    for each, array in given.items():
        check_values(array, each, hard and each == "mask")
    return tuple(given.values())


def check_weights(weights: Any, images: int | None, pooled: bool = False) -> None:
    """Raises InputError unless the sample weights of a loss are one number or (images,): others would be broadcast.

    `images` is None where their number is not known; if `pooled`, the loss has one value for all of them.
    """
    if weights is None:
        return
    shape = tuple(weights.shape) if hasattr(weights, "shape") else as_array(weights, "sample_weight").shape
    if shape and (pooled or len(shape) != 1 or None not in (shape[0], images) and shape[0] != images):
        wanted = "one number for the whole batch" if pooled else "one number for each image, (batch,)"
        raise InputError(f"sample_weight: has shape {shape}; give {wanted}")
    values = at_hand(weights)
    if values is not None and not (as_array(values, "sample_weight") >= 0).all():
        raise InputError("sample_weight: is negative or NaN; give numbers, 0 or more")


# ---- scores, in numpy -------------------------------------------------------------------------------------


def pair(masks: ArrayLike, others: ArrayLike, name: str, pictures: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Masks, 0 or 1, and others of the same shape, as arrays; there may be none, but none without pixels.

    Args:
        name: "predicted" (0 or 1), "probabilities" (0 to 1) or "maps" (uint8 255 P).
        pictures: whether the shape must be (images, height, width) or have one more axis of length 1.
    """
    masks, others = as_array(masks, "masks"), as_array(others, name)
    if masks.shape != others.shape:
        raise InputError(
            f"{name}: their shape {others.shape} is not that of the masks, {masks.shape}; give one for each mask"
        )
    check_masks(masks, pictures)
    if name == "maps":
        if others.dtype != np.uint8:
            raise InputError(f"maps: dtype {others.dtype} is not valid; give uint8 255 P, as metrics.quantise makes it")
    else:
        check_values(others, name)
    return masks, others


def check_masks(masks: np.ndarray, pictures: bool = True) -> None:
    """Raises InputError unless masks are pictures (see `pair`), with values 0 or 1."""
    shape = masks.shape
    if pictures and (len(shape) not in (3, 4) or len(shape) == 4 and shape[3] != 1):
        raise InputError(
            f"masks: shape {shape} is not valid; give (images, height, width) or one more axis of length 1"
        )
    if not shape or 0 in shape[1:]:
        raise InputError(f"masks: shape {shape} has no pixels; give (images, height, width), 1 or more pixels each")
    _within(masks, "masks", 0, 1, True)


# ---- numbers ----------------------------------------------------------------------------------------------


def one_row(values: ArrayLike, name: str = "values") -> np.ndarray:
    """Finite numbers, one or more, none above `LARGEST` in size, as (n,) float64."""
    array = as_array(values, name)
    good = array.ndim == 1 and array.size
    array = array.astype("float64")
    if not good or not (np.abs(array) <= LARGEST).all():
        raise InputError(f"{name} of shape {array.shape} are not valid; give one finite number or more in one row")
    return array


def in_cells(values: Any, name: str) -> list[np.ndarray]:
    """Rows or tables of finite numbers, one for each cell, one cell or more, as a list of float64 arrays."""
    cells = [as_array(cell, name) for cell in in_rows(values, name)]
    if not cells or not all((np.abs(cell.astype("float64")) <= LARGEST).all() for cell in cells):
        raise InputError(f"{name}: have no cell, or a value that is not finite; give finite numbers for each cell")
    return [cell.astype("float64") for cell in cells]


def in_rows(values: Any, name: str) -> list:
    """The entries of a list or array, for example one for each cell."""
    if not hasattr(values, "__len__") or hasattr(values, "shape") and not values.shape:
        raise InputError(f"{name}: {type(values).__name__} is no list; give one entry for each cell")
    return list(values)


def in_labels(values: Any, name: str, count: int) -> list:
    """Labels, words or numbers, one for each of `count` rows or images."""
    labels = np.asarray(in_rows(values, name), None)
    if (
        labels.shape != (count,)
        or labels.dtype.kind not in KINDS + "US"
        or labels.dtype.kind == "f"
        and np.isnan(labels).any()
    ):
        raise InputError(f"{name}: of shape {labels.shape} are not valid; give {count} words or numbers in one row")
    return labels.tolist()


def check_number(name: str, value: Any, low: float, high: float, rule: str, above: bool = False) -> None:
    """Raises InputError unless `value` is one real number from `low` (above it, if `above`) to `high`, finite.

    `rule` says so in words, after "give".
    """
    if not is_number(value) or not (low < value if above else low <= value) or value > high or not abs(value) < 1e300:
        raise InputError(f"{name}: {shown(value)} is not valid; give {rule}")


def shown(value: Any) -> str:
    """A value as messages show it: in one line, cut off where it is long."""
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlevel = 120, 120, 2
    try:
        text = short.repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        text = "a number with thousands of digits"
    return " ".join(text.split())[:200]


def is_number(value: Any) -> bool:
    """Whether something is one real number; a truth value is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
