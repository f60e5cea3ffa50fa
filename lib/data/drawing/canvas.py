"""Tools to draw synthetic faces: outlines, textures, colours, and a canvas for image and labels."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# RGB.
SKIN_TONES = np.array(
    [(250, 218, 198), (238, 195, 168), (226, 175, 142), (205, 148, 112), (172, 115, 80), (132, 88, 62), (96, 64, 48)],
    np.float32,
)


@lru_cache
def _corner_cutting(count: int, closed: bool) -> np.ndarray:
    """The matrix (about 8 * count, count) of three rounds of Chaikin's corner cutting of a polygon."""
    points = np.eye(count)
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        cut = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1)
        cut = cut.reshape(-1, count)
        points = cut if closed else np.concatenate([points[:1], cut[:-2], points[-1:]])
    return points


def smooth(points: np.ndarray | list, closed: bool = True) -> np.ndarray:
    """Round the corners of a polygon (n, 2), or of an open line without moving its ends."""
    return _corner_cutting(len(points), closed) @ points


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """The outline (28, 2) of an upright ellipse around (x, y) with radii rx and ry."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def mirror(right: list[tuple[float, float]]) -> np.ndarray:
    """The closed outline whose right half, from top to bottom, is given."""
    right = np.array(right)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def rotation(angle: float) -> np.ndarray:
    """The matrix (2, 2) that turns points (n, 2) in pixels clockwise by `angle` radians: points @ matrix."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@lru_cache
def _atlas(side: int, cells: int, octaves: int, gain: float, stretch: int) -> np.ndarray:
    """Fractal value noise (side, side) float32 of mean 0 and deviation 1 from a fixed seed; see `noise`."""
    rng, total = np.random.default_rng(0), np.zeros((side, side), np.float32)
    for octave in range(octaves):
        columns = min(side, cells * 2**octave * side // 256)
        grid = Image.fromarray(rng.standard_normal((columns // stretch, columns), np.float32))
        total += gain**octave * np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))
    return (total - total.mean()) / total.std()


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 4, gain: float = 0.55, stretch: int = 1
) -> np.ndarray:
    """A random window (height, width) float32 of fractal noise, about mean 0 and deviation 1.

    The coarsest octave has `cells` random values per 256 pixels; `stretch` makes the noise longer vertically.
    """
    side = 1024 * -(-max(shape) // 768)
    y, x = (int(rng.integers(side - length)) for length in shape)
    window = _atlas(side, cells, octaves, gain, stretch)[y : y + shape[0], x : x + shape[1]]
    return window[:, ::-1] if rng.random() < 0.5 else window


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour (3,), more often muted than strong."""
    grey = rng.uniform(10, 240)
    return np.clip(grey + rng.beta(1, 2) * rng.uniform(-200, 200, 3), 5, 250)


class Canvas:
    """An image (height, width, 3) float32 in 0..255 and its parts (height, width) uint8, painted together."""

    def __init__(self, height: int, width: int):
        self.size = np.array([width, height])
        self.image = np.zeros((height, width, 3), np.float32)
        self.parts = np.zeros((height, width), np.uint8)

    def paint(
        self,
        points: np.ndarray,
        colour: np.ndarray | tuple,
        part: int | None = None,
        gain: float | np.ndarray = 1.0,
        opacity: float = 1.0,
        soft: float = 0.0,
        within: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fill the polygon (n, 2) of pixel positions; return its coverage (height, width) float32 in 0..1.

        The polygon is drawn at twice the resolution and averaged; `soft` pixels blur its border.
        The colour is multiplied by `gain`; both are for all pixels or per pixel. Pixels covered by half
        or more get the label `part`; None leaves the labels unchanged. `within`, another coverage, limits
        the fill.
        """
        height, width = self.parts.shape
        alpha = np.zeros((height, width), np.float32)
        margin = 2 + 3 * soft
        (left, top), (right, bottom) = points.min(axis=0) - margin, points.max(axis=0) + margin
        x0, y0, x1, y1 = max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))
        if x0 >= x1 or y0 >= y1:
            return alpha
        mask = Image.new("L", (2 * (x1 - x0), 2 * (y1 - y0)))
        ImageDraw.Draw(mask).polygon((2 * (points - (x0, y0))).ravel().tolist(), fill=255)
        mask = mask.reduce(2)
        if soft:
            mask = mask.filter(ImageFilter.BoxBlur(float(1.5 * soft)))
        box = np.s_[y0:y1, x0:x1]
        cover = np.asarray(mask) * np.float32(1 / 255)
        if within is not None:
            cover *= within[box]
        gain = gain[box][..., None] if np.ndim(gain) else np.float32(gain)
        colour = np.asarray(colour, np.float32)
        colour = (colour[box] if colour.ndim == 3 else colour) * gain
        self.image[box] += (np.float32(opacity) * cover)[..., None] * (colour - self.image[box])
        if part is not None:
            self.parts[box][cover >= 0.5] = part
        alpha[box] = cover
        return alpha
