"""Everything around a synthetic face: backgrounds, clothes, objects in front, and the effects of a camera.

Clutter and clothes also have colours of skin and hair, so that the face cannot be found by colour alone. The images
depend on the order of the calls of `rng`: keep it.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from lib.data.drawing.canvas import SKIN_TONES, Canvas, ellipse, mirror, noise, random_colour, rotation, smooth


def _stripes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Bands (height, width) float32 of -1..1 in a random direction, sharp or soft."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.02, 0.2) * shape[1]
    wave = np.sin((np.cos(angle) * columns + np.sin(angle) * rows) * 2 * np.pi / period, dtype=np.float32)
    return np.clip(wave * rng.uniform(1, 8), -1, 1)


def paint_clutter(canvas: Canvas, rng: np.random.Generator, look: dict) -> None:
    """Fill the canvas with clutter, a third of it in the colours of skin and hair."""
    size, shape = canvas.size, canvas.parts.shape

    def colour():
        kind = rng.choice(4, p=[0.2, 0.15, 0.25, 0.4])
        if kind == 0:
            return SKIN_TONES[rng.integers(len(SKIN_TONES))] * rng.uniform(0.5, 1.1)
        if kind == 1:
            return (look["skin"] if rng.random() < 0.5 else look["hair"]) * rng.uniform(0.6, 1.2)
        return np.full(3, rng.uniform(5, 250)) if kind == 2 else random_colour(rng)

    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    ramp = rng.normal(0, 1) * rows + rng.normal(0, 1) * columns
    ramp = ramp + rng.uniform(0, 1) * noise(rng, shape, 3, 5, 0.7)
    mix = (1 / (1 + np.exp(-ramp)))[..., None]
    first, second = np.float32([colour(), colour()])
    canvas.image[:] = second + (first - second) * mix
    if rng.random() < 0.3:
        canvas.image += rng.normal(0, 20, 3).astype(np.float32) * _stripes(rng, shape)[..., None]
    texture = 1 + rng.uniform(0, 0.2) * noise(rng, shape, int(rng.choice([4, 16, 40])), 3, 0.8)
    for _ in range(rng.integers(2, 30)):
        place, extent = rng.uniform(-0.1, 1.1, 2) * size, rng.gamma(2, 0.05, 2) * size * rng.uniform(0.4, 2)
        kind = rng.integers(3)
        if kind == 0:
            points = ellipse(0, 0, 1, 1)
        elif kind == 1:
            points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1.0)])
        else:
            points = smooth(rng.uniform(-1, 1, (6, 2)))
        points = (points * extent) @ rotation(rng.uniform(-0.5, 0.5)) + place
        canvas.paint(points, colour(), gain=texture, opacity=rng.uniform(0.5, 1))


def defocus(canvas: Canvas, rng: np.random.Generator) -> None:
    """Turn everything painted so far into background: out of focus, mostly darker, with a fine texture."""
    focus = rng.gamma(1.1, 0.012) * min(canvas.size)
    picture = Image.fromarray(np.clip(canvas.image, 0, 255).astype(np.uint8))
    picture = np.asarray(picture.filter(ImageFilter.BoxBlur(float(1.5 * focus))))
    texture = rng.uniform(0, 6) * noise(rng, canvas.parts.shape, 30, 2)[..., None]
    canvas.image[:] = picture * np.float32(rng.uniform(0.4, 1.05)) + texture
    canvas.parts[:] = 0


def paint_clothes(canvas: Canvas, rng: np.random.Generator, upright: Callable, neck: float, look: dict) -> None:
    """Paint a shirt with its neckline, sometimes under a jacket with a tie.

    `upright` maps head units (n, 2) to pixels, `neck` is half the neck's width in head units.
    """
    shape = canvas.parts.shape
    palette = [random_colour(rng), np.full(3, rng.uniform(10, 250)), look["skin"] * rng.uniform(0.8, 1.1, 3)]
    folds = 1 + rng.uniform(0.05, 0.2) * noise(rng, shape, 6, 3, 0.6, 3)
    cloth = folds[..., None] * palette[rng.choice(3, p=[0.5, 0.4, 0.1])].astype(np.float32)
    if rng.random() < 0.25:
        cloth += rng.normal(0, 40, 3).astype(np.float32) * _stripes(rng, shape)[..., None]
    base, slope = rng.uniform(1.35, 1.8), rng.uniform(0.25, 0.7)
    throat = base + rng.choice([0.1, 0.4, 1.0], p=[0.5, 0.35, 0.15]) * rng.uniform(0.6, 1.3)
    shirt = mirror([(0, throat), (neck * 0.95, base), (1.7, base + slope), (2.6, base + slope + 0.5), (3.0, 9)])
    canvas.paint(upright(shirt), cloth, 0)
    if rng.random() < 0.45:  # collar, tie, jacket
        collar = np.array([(0, throat), (neck, base - 0.22), (neck + 0.3, base), (0.45, throat + 0.3)])
        lapel = np.array(
            [
                (0.3, 8),
                (0.35, throat + 1.0),
                (neck + 0.15, base - 0.05),
                (1.7, base + slope - 0.1),
                (2.7, base + slope + 0.4),
                (3.1, 9),
            ]
        )
        if rng.random() < 0.7:
            tie = mirror([(0.0, throat), (0.17, throat + 0.05), (0.13, throat + 0.3), (0.25, 8)])
            canvas.paint(upright(tie), random_colour(rng), 0, gain=folds)
        jacket = 0.5 * random_colour(rng)
        for side in (-1, 1):
            canvas.paint(upright(collar * (side, 1)), cloth, 0, gain=1.12)
            canvas.paint(upright(lapel * (side, 1)), jacket, 0, gain=folds)


def paint_foreground(canvas: Canvas, rng: np.random.Generator, look: dict) -> None:
    """Sometimes paint a hand or an object in front of the person; it is background, also over the face."""
    size = canvas.size
    if rng.random() < 0.15:  # a hand: a palm and fingers
        place, spin = np.array([rng.uniform(0, 1), rng.uniform(0.7, 1.0)]) * size, rng.normal(0, 0.6)
        tone = rng.uniform(0.8, 1.05) * (1 + 0.1 * noise(rng, canvas.parts.shape, 6, 3))
        turn = rotation(spin) * 0.09 * min(size)
        for x, length in ((-0.6, 1.4), (-0.2, 1.7), (0.2, 1.6), (0.6, 1.3)):
            canvas.paint(
                ellipse(x, -0.8, 0.22, 0.5 * length) @ turn + place, look["skin"], 0, gain=tone * rng.uniform(0.8, 1)
            )
        canvas.paint(ellipse(0, 0.4, 0.85, 1.2) @ turn + place, look["skin"], 0, gain=tone)
    if rng.random() < 0.15:  # a microphone, a sign, a pole
        place = np.array([rng.uniform(0, 1), rng.uniform(0.75, 1.1)]) * size
        extent = rng.uniform(0.02, 0.12, 2) * size
        box = np.array([(-1, -1), (1, -1), (1.2, 9), (-1.2, 9)]) * extent + place
        canvas.paint(smooth(box), random_colour(rng), 0)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: fall-off, white balance, contrast, blur, grain, JPEG; uint8 (height, width, 3)."""
    shape = height, width = image.shape[:2]
    rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    falloff = 1 + rng.normal(0, 0.12) * rows + rng.normal(0, 0.12) * columns
    falloff = falloff - rng.uniform(0, 0.15) * (rows**2 + columns**2)
    saturation = 0.02 if rng.random() < 0.05 else rng.uniform(0.6, 1.3)
    balance = (1 - saturation) / 3 + saturation * np.diag(rng.normal(1, 0.06, 3).clip(0.8, 1.2))
    image = np.clip(image * falloff.astype(np.float32)[..., None] @ balance.astype(np.float32), 0, 255)
    levels = np.linspace(0, 1, 256) ** np.exp(rng.normal(-0.1, 0.2))
    levels = 255 * (0.5 + rng.uniform(0.85, 1.35) * (levels - 0.5) + rng.normal(0.02, 0.05))
    picture = Image.fromarray(image.astype(np.uint8)).point(levels.clip(0, 255).astype(int).tolist() * 3)
    blur = (0.0012 + rng.gamma(1.5, 0.0014)) * min(shape)
    picture = picture.filter(ImageFilter.GaussianBlur(blur))
    grain = np.stack([noise(rng, shape, 256, 1) for _ in range(3)], axis=-1)
    grain += noise(rng, shape, 256, 1)[..., None]
    image = np.clip(picture + np.float32(rng.gamma(1.5, 1.2)) * grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(rng.integers(45, 96)))
    return np.array(Image.open(file))
