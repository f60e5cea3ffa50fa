"""Draws a person: skin, hair and the features of the face, as polygons in head coordinates.

One unit is half the width of the face, the eyes are at y = 0, y points down; a random pose turns this into pixels. The
images depend on the order of the calls of `rng`: keep it.
"""

from collections.abc import Callable

import numpy as np

from lib.data.drawing.canvas import SKIN_TONES, Canvas, ellipse, mirror, noise, random_colour, rotation, smooth
from lib.data.drawing.surroundings import paint_clothes

# The numbering of HELEN's label maps.
PARTS = (
    "background",
    "skin",
    "left_brow",
    "right_brow",
    "left_eye",
    "right_eye",
    "nose",
    "upper_lip",
    "inner_mouth",
    "lower_lip",
    "hair",
)
SKIN, NOSE, UPPER_LIP, INNER_MOUTH, LOWER_LIP, HAIR = 1, 6, 7, 8, 9, 10
# RGB.
HAIR_COLOURS = np.array(
    [
        (24, 20, 20),
        (38, 28, 24),
        (58, 40, 30),
        (88, 60, 40),
        (128, 88, 54),
        (178, 138, 90),
        (212, 180, 130),
        (134, 62, 32),
        (140, 136, 132),
        (214, 212, 208),
    ],
    np.float32,
)


def random_look(rng: np.random.Generator) -> dict:
    """The features of a person that are the same in every image: skin tone, hair, shape of the head."""
    tone = rng.beta(1, 1.5) * (len(SKIN_TONES) - 1.001)
    low = int(tone)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    dark = tone > 3.5
    colour = HAIR_COLOURS[
        rng.choice(
            10,
            p=[0.5, 0.2, 0.12, 0.03, 0.02, 0.01, 0.02, 0.02, 0.06, 0.02]
            if dark
            else [0.12, 0.15, 0.16, 0.14, 0.1, 0.08, 0.07, 0.05, 0.08, 0.05],
        )
    ]
    if rng.random() < 0.03:
        colour = rng.uniform(30, 220, 3)  # dyed
    style = rng.choice(["short", "long", "bob", "receding", "bald"], p=[0.58, 0.17, 0.1, 0.1, 0.05])
    return dict(
        skin=(skin * rng.uniform(0.94, 1.05, 3)).astype(np.float32),
        style=style,
        hair=(colour * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        curl=rng.uniform(0.03, 0.12) if rng.random() < (0.6 if dark else 0.25) else rng.uniform(0, 0.025),
        volume=rng.gamma(3, 0.045) + (0.08 if style in ("long", "bob") else 0.03),
        hairline=rng.uniform(-0.95, -0.6) if rng.random() < 0.65 else rng.uniform(-0.6, -0.22),
        peak=rng.normal(0, 0.08),
        parting=rng.uniform(-0.5, 0.5),
        jaw=rng.uniform(0.62, 0.92),
        chin=rng.uniform(1.22, 1.52),
        cheek=rng.uniform(0.9, 1.03),
        beard=rng.choice(["none", "stubble", "moustache", "full", "goatee"], p=[0.68, 0.13, 0.08, 0.07, 0.04])
        if style not in ("long", "bob")
        else "none",
        eyes=rng.uniform(0.38, 0.47),
        eye_size=rng.uniform(0.14, 0.2),
        brow=rng.uniform(0.025, 0.06),
        nose=rng.uniform(0.2, 0.33),
        nose_tip=rng.uniform(0.5, 0.65),
        mouth=rng.uniform(0.3, 0.45),
        lips=rng.uniform(0.05, 0.12),
        lip_red=rng.uniform(0, 1),
        iris=rng.choice([(50, 32, 22), (75, 50, 30), (80, 95, 70), (85, 115, 140)], p=[0.5, 0.25, 0.1, 0.15]),
        age=rng.uniform(0, 1),
        glasses=rng.choice(["none", "clear", "dark"], p=[0.8, 0.16, 0.04]),
    )


def paint_person(canvas: Canvas, rng: np.random.Generator, look: dict, centre: np.ndarray, scale: float) -> None:
    """Paint a person with the eyes around `centre` (x, y), `scale` pixels per head unit, in a random pose."""
    shape = height, width = canvas.parts.shape
    roll, yaw, pitch = rng.normal(0, 0.13), np.clip(rng.normal(0, 0.33), -0.8, 0.8), rng.normal(0, 0.12)
    turn, stretch = rotation(roll), np.array([1.0, rng.uniform(0.96, 1.08)])

    def flat(points):  # head units -> pixels, for outlines: the chin leans to where the face looks
        points = np.asarray(points, float)
        lean = 0.28 * np.sin(yaw) * np.clip(points[:, 1:], -0.5, 1.4)
        return centre + scale * ((points + lean * (1, 0)) * stretch) @ turn

    def at(points):  # head units -> pixels, for features: on a cylinder turned by yaw and nodding by pitch
        points = np.asarray(points, float)
        angle = np.clip(np.arcsin(np.clip(0.96 * points[:, 0], -1, 1)) + yaw, -np.pi / 2, np.pi / 2)
        return flat(np.stack([np.sin(angle), points[:, 1] + 0.9 * np.sin(pitch) * np.cos(angle)], axis=1))

    def upright(points):  # head units -> pixels, for shoulders: they follow the head's place, half its roll
        half = np.array([[1, np.sin(roll / 2)], [-np.sin(roll / 2), 1]])
        return centre + scale * np.asarray(points, float) @ half

    # Light: an ellipsoid's normals in head units against one direction, with a little noise as skin texture.
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    dx, dy = (columns - float(centre[0])) / float(scale), (rows - float(centre[1])) / float(scale)
    x, y = dx * float(turn[0, 0]) + dy * float(turn[0, 1]), dx * float(turn[1, 0]) + dy * float(turn[1, 1])
    nx, ny = x / 1.15, (y - 0.05) / 1.7
    light = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.4), rng.uniform(0.3, 1.2)], np.float32)
    light /= np.linalg.norm(light)
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0.02))
    lambert = np.maximum(nx * light[0] + ny * light[1] + nz * light[2], 0)
    ambient = rng.uniform(0.3, 0.75)
    shade = (ambient + (1.18 - ambient) * lambert) * (1 + 0.03 * noise(rng, shape, 16, 4, 0.8))
    shine = lambert * lambert
    shine *= shine
    shine *= rng.uniform(0, 45) * shine * shine
    blush = rng.uniform(1, 6) * noise(rng, shape, 5, 2)
    red, green, blue = look["skin"]
    skin = np.stack(
        [red * (0.12 + 0.88 * shade) + blush, green * shade - 0.3 * blush, blue * (1.06 * shade - 0.06)], axis=-1
    )
    skin += shine[..., None]

    # Hair: noise drawn out along the strands; curls are finer and rounder.
    curly = look["curl"] > 0.03
    strands = noise(rng, shape, 18 if curly else 36, 3, 0.9, 1 if curly else int(rng.choice([4, 10])))
    sheen = np.exp(-(((y + 0.95 + 0.25 * x * light[0]) / 0.22) ** 2)) * rng.uniform(0, 0.5)
    hair = ((0.3 + 0.6 * shade + sheen) * (1 + rng.uniform(0.15, 0.4) * strands))[..., None] * look["hair"]
    hair += 4 * strands[..., None]

    def ragged(points, amount):  # the outline of hair in pixels: waves and tips
        points = smooth(points)
        waves = rng.normal(0, amount, (len(points) // 12 + 2, 2))
        tips = rng.normal(0, 0.5 * amount, points.shape)
        at_wave = np.linspace(0, len(waves) - 1, len(points))
        waves = np.stack([np.interp(at_wave, np.arange(len(waves)), wave) for wave in waves.T], axis=1)
        return points + scale * (waves + tips)

    style, volume, rough = look["style"], look["volume"], 0.012 + 0.6 * look["curl"]
    long = style in ("long", "bob")
    drop = {"long": rng.uniform(1.8, 3.2), "bob": rng.uniform(0.9, 1.5)}.get(style, rng.uniform(0.0, 0.3))
    flare = rng.uniform(0.05, 0.4) if long else 0.0
    crown = [(0.0, -1.4 - volume), (0.62, -1.27 - volume), (1.0 + 0.6 * volume, -0.68)]
    sides = (
        [(1.04 + 0.6 * volume + flare / 3, -0.1), (1.02 + 0.5 * volume + flare, drop)]
        if long
        else [(1.0 + 0.4 * volume, -0.25), (0.97, drop)]
    )
    if long:
        canvas.paint(ragged(flat(mirror(crown + sides)), rough), hair, HAIR, gain=0.6, soft=0.5)

    # Neck, then clothes of any colour (now and then that of the skin), then the head over both.
    neck = rng.uniform(0.5, 0.72)
    throat = mirror([(0.3, 0.6), (neck, 0.9), (neck, 1.7), (neck + 0.15, 2.1), (0.5, 3.3)])
    throat = canvas.paint(upright(throat), skin, SKIN, gain=0.85)
    for spread in (0.5, 0.75):
        canvas.paint(
            flat(ellipse(0, look["chin"] - 0.1, spread, 0.42)),
            skin,
            gain=0.3,
            opacity=rng.uniform(0.1, 0.5),
            soft=0.1 * scale,
            within=throat,
        )
    paint_clothes(canvas, rng, upright, neck, look)

    def ear(side):
        points = smooth(np.array([(0.9, -0.12), (1.08, -0.2), (1.15, -0.02), (1.06, 0.3), (0.9, 0.36)]))
        points = flat(points * (side, 1) - (side * (1 - np.cos(yaw)) * (side == near), 0))
        whole = canvas.paint(points, skin, SKIN, gain=0.9)
        canvas.paint(
            0.55 * points + 0.45 * points.mean(axis=0), skin, gain=0.5, opacity=0.6, soft=0.03 * scale, within=whole
        )

    near = -1 if yaw > 0 else 1
    if abs(yaw) < 0.3:
        ear(-near)
    jaw, chin, cheek = look["jaw"], look["chin"], look["cheek"]
    outline = mirror(
        [
            (0.0, -1.4),
            (0.62, -1.24),
            (0.97, -0.7),
            (1.0, -0.1),
            (cheek, 0.4),
            (jaw, 0.95),
            (0.42 * jaw + 0.08, chin),
            (0.12, chin + 0.06),
        ]
    )
    face = canvas.paint(flat(smooth(outline)), skin, SKIN)
    ear(near)  # the near ear lies on the head, the far one behind it
    _features(canvas, rng, look, at, face, skin, hair, shade, scale, light)

    # Hair over the forehead: outer edge up and over the crown, hairline back.
    if style != "bald":
        line = look["hairline"]
        if style == "receding":
            inner = [
                (-0.9, drop),
                (-0.86, -0.3),
                (-0.75, -0.8),
                (-0.3, -1.36),
                (0.3, -1.36),
                (0.75, -0.8),
                (0.86, -0.3),
                (0.9, drop),
            ]
            crown = [(0.0, -1.38), (0.62, -1.26), (1.0 + 0.4 * volume, -0.68)]
        else:
            temple = 0.84 - 0.25 * flare * rng.random()
            middle = sorted([(look["parting"], line - 0.1), (0.0, line + look["peak"])])
            inner = [
                (-0.9, drop),
                (-0.9, 0.0),
                (-temple, -0.35),
                (-0.62, line + 0.12),
                *middle,
                (0.62, line + 0.12),
                (temple, -0.35),
                (0.9, 0.0),
                (0.9, drop),
            ]
        right = np.array(crown + sides)
        outer = np.concatenate([right[::-1] * (-1, 1), right[1:]])
        strand = np.concatenate([flat(smooth(outer, closed=False)), at(smooth(inner, closed=False))[::-1]])
        canvas.paint(strand + (0, 0.04 * scale), skin, gain=0.5, opacity=0.5, soft=0.05 * scale, within=face)
        canvas.paint(ragged(strand, rough), hair, HAIR, soft=0.4)
    if rng.random() < 0.07:  # a cap or a brim, which is background
        colour, brim = random_colour(rng).astype(np.float32), rng.uniform(1.0, 1.7)
        top = mirror([(0, -1.6 - volume), (0.8, -1.4 - volume), (1.1 + 0.5 * volume, -0.6), (brim, -0.5), (0, -0.42)])
        canvas.paint(flat(smooth(top)), colour, 0, gain=0.4 + 0.7 * shade)


def _features(
    canvas: Canvas,
    rng: np.random.Generator,
    look: dict,
    at: Callable,
    face: np.ndarray,
    skin: np.ndarray,
    hair: np.ndarray,
    shade: np.ndarray,
    scale: float,
    light: np.ndarray,
) -> None:
    """Paint brows, eyes, nose, mouth, beard, wrinkles and glasses.

    `at` maps head units (n, 2) to pixels, `face` is the head's coverage (height, width), `skin` and `hair`
    are shaded colours (height, width, 3), `shade` is the brightness (height, width), `light` its direction.
    """

    def tint(points, colour, opacity, soft, gain=1.0):
        canvas.paint(at(points), colour, gain=gain, opacity=opacity, soft=soft * scale, within=face)

    eye_x, eye_rx, nose, tip = look["eyes"], look["eye_size"], look["nose"], look["nose_tip"]
    mouth_y = tip + rng.uniform(0.24, 0.34)
    relief = rng.uniform(0.15, 0.5)
    tint(ellipse(0, 0.0, 0.7, 0.17), skin, relief, 0.08, gain=0.55)
    tint(ellipse(-0.22 * np.sign(light[0]), 0.3, 0.12, 0.35), skin, relief, 0.06, gain=0.55)
    for side in (-1, 1):
        tint(
            ellipse(0.55 * side, 0.42, 0.22, 0.17), look["skin"] * (1.12, 0.95, 0.95), rng.uniform(0, 0.6), 0.09, shade
        )
        fold = smooth(np.array([(nose, tip - 0.08), (look["mouth"] + 0.12, mouth_y), (nose + 0.1, tip)]) * (side, 1))
        tint(fold, skin, 0.25 + 0.5 * look["age"], 0.025, gain=0.45)
        tint(ellipse(eye_x * side, 0.16, 0.2, 0.05), skin, 0.2 + 0.4 * look["age"], 0.03, gain=0.55)
    for wrinkle in range(int(4 * look["age"])):
        y = -0.5 - 0.1 * wrinkle
        tint(ellipse(rng.normal(0, 0.05), y, rng.uniform(0.3, 0.55), 0.012), skin, 0.5, 0.015, gain=0.5)

    beard = look["beard"]
    fur = hair if beard == "none" else 0.75 * hair + 0.2 * skin
    if beard == "stubble":
        edge = mirror([(0, tip + 0.08), (0.5, tip + 0.1), (0.85, 0.3), (0.8, 1.0), (0.3, 1.6)])
        tint(edge, fur, 0.3, 0.08)
    if beard == "full":
        edge = mirror([(0, tip + 0.1), (0.4, tip + 0.14), (0.72, 0.55), (0.95, 0.2), (1.0, 0.9), (0.5, 1.6), (0, 1.65)])
        canvas.paint(at(edge + rng.normal(0, 0.02, edge.shape)), fur, HAIR, soft=0.8, within=face)
    if beard == "goatee":
        edge = smooth(mirror([(0, mouth_y + 0.18), (0.28, mouth_y + 0.1), (0.3, 1.3), (0, 1.5)]))
        canvas.paint(at(edge), fur, HAIR, soft=0.8, within=face)
    if beard in ("moustache", "full", "goatee"):
        edge = mirror(
            [(0, tip + 0.06), (0.25, tip + 0.08), (0.46, mouth_y + 0.05), (0.3, mouth_y - 0.01), (0, mouth_y - 0.03)]
        )
        canvas.paint(at(edge + rng.normal(0, 0.012, edge.shape)), fur, HAIR, soft=0.5, within=face)

    # Nose: wings and bridge carry the label; nostrils, tip light and the shadow below give it form.
    tint(ellipse(0, tip + 0.1, nose * 0.9, 0.06), skin, 0.3 + relief, 0.03, gain=0.4)
    shape = smooth(
        mirror([(0.0, 0.0), (0.09, 0.02), (0.1, 0.28), (nose, tip - 0.06), (nose * 0.85, tip + 0.06), (0, tip + 0.1)])
    )
    canvas.paint(at(shape), skin, NOSE, gain=1.03, opacity=0.7, soft=0.4, within=face)
    tint(ellipse(0, tip - 0.08, 0.09, 0.08), skin, relief, 0.04, gain=1.25)
    for side in (-1, 1):
        tint(ellipse(side * nose * 0.92, tip - 0.02, 0.03, 0.08), skin, 0.6, 0.02, gain=0.5)
        tint(ellipse(side * nose * 0.45, tip + 0.06, 0.07, 0.03), skin, 0.9, 0.008, gain=0.22)

    opening = max(0.0, rng.normal(0.0, 0.13))
    smile, half, lips = rng.normal(0.02, 0.06), look["mouth"] * rng.uniform(0.9, 1.15), look["lips"]
    red = look["skin"] * (1 - 0.45 * look["lip_red"] * np.array([0.15, 0.75, 0.6])) * (0.86, 0.72, 0.72)
    corner, low = (half, mouth_y - smile), mouth_y + opening
    bow = (half * 0.6, mouth_y - lips * 0.6 - smile / 2)
    upper = mirror([(0, mouth_y - lips * 0.8), (0.1, mouth_y - lips), bow, corner])
    upper = np.concatenate([upper[:4], [(0, mouth_y + 0.01)], upper[4:]])
    gap = mirror([(0, mouth_y), corner, (half * 0.6, low - smile / 2), (0, low + 0.005)])
    lower = mirror([corner, (half * 0.6, low + lips * 0.8), (0.0, low + lips * 1.2)])
    lower = np.concatenate([lower, [(0, low)]])
    canvas.paint(at(lower), red, LOWER_LIP, gain=1.05 * shade, soft=0.3, within=face)
    if opening > 0.03:
        canvas.paint(at(gap), (52, 20, 20), INNER_MOUTH, within=face)
        if rng.random() < 0.8:  # teeth
            teeth = mirror(
                [
                    (0, mouth_y),
                    (half * 0.75, mouth_y - smile / 2),
                    (half * 0.6, mouth_y + 0.6 * min(opening, 0.14)),
                    (0, mouth_y + min(opening, 0.16)),
                ]
            )
            tint(teeth, (222, 212, 198), 0.9, 0.01)
    else:
        tint(ellipse(0, mouth_y - smile / 3, half, 0.02), red, 0.8, 0.012, gain=0.3 * shade)
    canvas.paint(at(upper), red, UPPER_LIP, gain=0.9 * shade, soft=0.3, within=face)
    tint(ellipse(0, low + lips * 1.2 + 0.06, half * 0.5, 0.035), skin, relief, 0.03, gain=0.5)

    lids, look_x, shut = rng.uniform(0.3, 0.52), rng.normal(0, 0.25), rng.random() < 0.05
    mood, lift = rng.normal(0, 0.03), rng.uniform(0.2, 0.3)
    for side, brow_part, eye_part in ((-1, 2, 4), (1, 3, 5)):
        eye_ry = eye_rx * (0.12 if shut else lids)
        eye = smooth(
            np.array(
                [
                    (-eye_rx, 0.02),
                    (-0.4 * eye_rx, -eye_ry),
                    (0.4 * eye_rx, -eye_ry),
                    (eye_rx, 0),
                    (0.4 * eye_rx, 0.8 * eye_ry),
                    (-0.4 * eye_rx, 0.8 * eye_ry),
                ]
            )
        )
        eye = 1.2 * eye * (side, 1) + (side * eye_x, 0)
        tint(eye + (0, -0.05), skin, 0.5, 0.02, gain=0.5)
        white = canvas.paint(at(eye), np.full(3, 0.3 * look["skin"].mean() + 115), eye_part, gain=shade, within=face)
        iris = side * eye_x + look_x * 0.3 * eye_rx
        if not shut:
            canvas.paint(at(ellipse(iris, -0.01, 0.5 * eye_rx, 0.09)), look["iris"], within=white)
            canvas.paint(at(ellipse(iris, -0.01, 0.2 * eye_rx, 0.04)), (12, 10, 10), within=white)
            glint = ellipse(iris + 0.03, -0.03, 0.018, 0.018)
            canvas.paint(at(glint), (245, 245, 245), opacity=0.8, within=white)
        lash = np.concatenate([eye[eye[:, 1] < 0], eye[eye[:, 1] < 0][::-1] + (0, -0.025)])
        tint(lash, skin, 0.8, 0.008, gain=0.18)
        inner, outer, thick = eye_x - 0.24, eye_x + 0.28, look["brow"]
        brow = np.array(
            [
                (inner, mood),
                (eye_x, -0.07 - thick),
                (outer, 0.03 - mood),
                (eye_x, -0.05 + thick),
                (inner, mood + 1.6 * thick),
            ]
        ) * (side, 1) - (0, lift)
        canvas.paint(at(brow), hair, brow_part, gain=0.75, opacity=rng.uniform(0.5, 0.85), within=face)
    if look["glasses"] != "none":
        lens, opacity = ((25, 22, 25), 0.92) if look["glasses"] == "dark" else ((200, 210, 220), 0.15)
        for side in (-1, 1):
            rim = ellipse(side * eye_x, 0.04, 0.33, 0.22)
            tint(rim, lens, opacity, 0.0)
            middle = rim.mean(axis=0)
            hole = 0.91 * (rim - middle)[::-1] + middle
            frame = np.concatenate([rim, rim[:1], hole[-1:], hole])  # out around and back inside
            tint(frame, look["hair"] * 0.5, 0.85, 0.0)
        tint(ellipse(0, 0.0, 0.13, 0.022), look["hair"] * 0.5, 0.85, 0.0)
