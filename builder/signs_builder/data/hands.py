"""Draws hands that show zero to five fingers, in SIGNS's shapes: the embedded data set. Each picture has a seed."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from signs_builder.data.embedded import HANDS

LABELS = HANDS

Point = tuple[float, float]
Tone = tuple[int, int, int]

# A hand, palm towards us, in units of the palm's width, x to the right and y downwards from the palm's middle.
THUMB, INDEX, MIDDLE, RING, LITTLE = range(5)
BASES: tuple[Point, ...] = ((-0.40, 0.22), (-0.36, -0.42), (-0.12, -0.50), (0.13, -0.47), (0.36, -0.36))
LENGTHS = (0.72, 0.84, 0.95, 0.87, 0.66)
RADII = (0.125, 0.108, 0.112, 0.106, 0.092)
ANGLES = (-58.0, -13.0, -3.0, 7.0, 19.0)  # degrees from straight up, clockwise
WRIST: Point = (0.0, 0.62)

# Which fingers people raise for a count, and how often; the first is the most common in SIGNS.
RAISED: dict[int, tuple[tuple[float, tuple[int, ...]], ...]] = {
    0: ((1.0, ()),),
    1: ((1.0, (INDEX,)),),
    2: ((1.0, (INDEX, MIDDLE)),),
    3: ((0.6, (THUMB, INDEX, MIDDLE)), (0.4, (INDEX, MIDDLE, RING))),
    4: ((1.0, (INDEX, MIDDLE, RING, LITTLE)),),
    5: ((1.0, (THUMB, INDEX, MIDDLE, RING, LITTLE)),),
}
# All ways in which people anywhere raise fingers for a count.
ALL_WAYS: dict[int, tuple[tuple[float, tuple[int, ...]], ...]] = {
    0: ((1.0, ()),),
    1: ((0.9, (INDEX,)), (0.1, (THUMB,))),
    2: ((0.75, (INDEX, MIDDLE)), (0.25, (THUMB, INDEX))),
    3: ((0.4, (THUMB, INDEX, MIDDLE)), (0.45, (INDEX, MIDDLE, RING)), (0.15, (MIDDLE, RING, LITTLE))),
    4: ((0.85, (INDEX, MIDDLE, RING, LITTLE)), (0.15, (THUMB, INDEX, MIDDLE, RING))),
    5: ((1.0, (THUMB, INDEX, MIDDLE, RING, LITTLE)),),
}
BACKS = 0.4  # share of hands that show their back, if all ways are drawn
STUB = 0.3  # palms; `Way.stub`, if all ways are drawn
RING_SHARE = 0.5  # of the zeros: thumb and index finger touch, as in SIGNS; the others are fists

# From very light to very dark skin, sRGB.
SKINS: tuple[Tone, ...] = (
    (244, 208, 182),
    (226, 178, 146),
    (200, 146, 112),
    (165, 112, 80),
    (120, 78, 54),
    (84, 54, 40),
)
WALLS: tuple[Tone, ...] = (
    (226, 224, 220),
    (205, 210, 216),
    (222, 210, 190),
    (176, 190, 182),
    (150, 158, 170),
    (110, 118, 122),
)

OVERSAMPLING = 4


@dataclass(frozen=True)
class Way:
    """A way to show a number: the fingers that are raised, and the side of the hand that is seen."""

    raised: tuple[int, ...]
    back: bool = False
    stub: float = 0.0  # palms: the most by which a folded finger stands out from the hand, as bent fingers do


@dataclass(frozen=True)
class Stroke:
    """A limb of the hand: a line through points, with round joints and a radius that goes from `start` to `end`."""

    points: tuple[Point, ...]
    start: float
    end: float
    joined: bool = False  # to the stroke before it, with no rim between them


def draw_hands(
    count: int, *, size: int = 64, seed: int = 0, first: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw `count` pictures: uint8 (count, size, size, 3) and their labels (count,), 0 to 5 in turn.

    Picture i depends only on `seed` and `first + i`, so splits with different ranges never share a picture.
    """
    labels = np.arange(first, first + count, dtype=np.int64) % len(LABELS)
    images = np.empty((count, size, size, 3), np.uint8)
    for i in range(count):
        images[i] = draw_hand(int(labels[i]), size, np.random.default_rng([seed, first + i]))
    return images, labels


def any_way(fingers: int, rng: np.random.Generator) -> Way:
    """A random way to show this many fingers."""
    shares, choices = zip(*ALL_WAYS[fingers], strict=True)
    return Way(choices[rng.choice(len(choices), p=shares)], bool(rng.random() < BACKS), STUB)


def draw_hand(fingers: int, size: int, rng: np.random.Generator, way: Way | None = None) -> NDArray[np.uint8]:
    """Draw one hand that shows `fingers`: uint8 (size, size, 3). Without `way`, its palm shows them as in SIGNS."""
    canvas = size * OVERSAMPLING
    strokes = _place(_pose(fingers, rng, way), canvas, rng)
    wall = _wall(canvas, rng)
    picture = _cast_shadow(wall, strokes, canvas, rng)
    _paint(picture, strokes, _skin(wall, rng))
    return _photograph(picture, size, rng)


def _pose(fingers: int, rng: np.random.Generator, way: Way | None = None) -> list[Stroke]:
    """Bend and stretch the fingers. A later stroke covers an earlier one: a back hides folded fingers."""
    if way is None:
        shares, choices = zip(*RAISED[fingers], strict=True)
        raised = choices[rng.choice(len(choices), p=shares)]
    else:
        raised = way.raised
    spread = rng.uniform(*(0.75, 1.5) if way is None else (0.3, 1.6))
    forearm, palm = _forearm(rng), _palm()
    if fingers == 0 and not (way and way.back) and rng.random() < RING_SHARE:
        return [forearm, *palm, *_touching_ring(rng)]
    stretched = [_stretched(finger, spread, rng) for finger in raised]
    stub = way.stub if way else 0.0
    folded = [_folded(finger, rng, stub) for finger in (LITTLE, RING, MIDDLE, INDEX) if finger not in raised]
    thumb = [] if THUMB in raised else [_thumb_across(rng, covers=bool(folded))]
    if way is not None and way.back:
        return [forearm, *folded, *thumb, *stretched, *palm]
    return [forearm, *stretched, *palm, *folded, *thumb]


def _forearm(rng: np.random.Generator) -> Stroke:
    return Stroke((WRIST, (rng.uniform(-0.5, 0.5), 3.4)), 0.31, 0.42)


def _palm() -> list[Stroke]:
    return [
        Stroke(((-0.26, 0.34), (-0.3, -0.26)), 0.27, 0.2),
        Stroke(((0.24, 0.36), (0.31, -0.2)), 0.26, 0.19, joined=True),
        Stroke(((0.0, 0.48), (0.0, -0.32)), 0.34, 0.26, joined=True),
        Stroke((WRIST, (0.0, 0.3)), 0.3, 0.3, joined=True),
    ]


def _stretched(finger: int, spread: float, rng: np.random.Generator) -> Stroke:
    angle = math.radians(ANGLES[finger] * (1.0 if finger == THUMB else spread) + rng.normal(0, 2.5))
    bend = math.radians(rng.normal(0, 5))
    base, length = BASES[finger], LENGTHS[finger] * rng.uniform(0.92, 1.06)
    knuckle = _step(base, angle, 0.5 * length)
    tip = _step(knuckle, angle + bend, 0.5 * length)
    return Stroke((base, knuckle, tip), RADII[finger] * 1.08, RADII[finger] * 0.82)


def _folded(finger: int, rng: np.random.Generator, stub: float) -> Stroke:
    """A folded finger that stands out from the hand by up to `stub` palms."""
    x, y = BASES[finger]
    length = rng.uniform(0, stub) if stub else 0.0  # the embedded hands' random numbers stay theirs
    top = _step((x, y + 0.02), math.radians(ANGLES[finger]), length)
    return Stroke(
        (top, (x * 0.9, y + rng.uniform(0.34, 0.42))),
        RADII[finger] * 1.12,
        RADII[finger] * rng.uniform(0.9, 1.0),
    )


def _thumb_across(rng: np.random.Generator, covers: bool) -> Stroke:
    """A thumb laid over the folded fingers, or over the palm if all four are up."""
    tip = (rng.uniform(-0.02, 0.16), -0.06) if covers else (rng.uniform(-0.02, 0.14), rng.uniform(0.06, 0.16))
    return Stroke((BASES[THUMB], (-0.28, 0.02), tip), 0.14, 0.105)


def _touching_ring(rng: np.random.Generator) -> list[Stroke]:
    """Thumb and index finger form a ring next to the palm; the other fingers curl behind it."""
    meet = (-0.98 + rng.normal(0, 0.03), -0.5 + rng.normal(0, 0.04))
    curled = [
        Stroke(
            (
                BASES[finger],
                (BASES[finger][0] - 0.3 - drop, BASES[finger][1] - 0.3 + drop),
                (meet[0] + 0.2, meet[1] - 0.22 + drop),
            ),
            0.12,
            0.1,
        )
        for finger, drop in ((LITTLE, -0.06), (RING, -0.02), (MIDDLE, 0.03))
    ]
    index = Stroke((BASES[INDEX], (-0.55, -0.82), (-0.84, -0.8), meet), 0.12, 0.095)
    thumb = Stroke(((-0.32, 0.25), (-0.66, 0.04), (-0.9, -0.18), meet), 0.14, 0.1)
    return [*curled, thumb, index]


def _step(point: Point, angle: float, length: float) -> Point:
    return point[0] + length * math.sin(angle), point[1] - length * math.cos(angle)


def _place(strokes: list[Stroke], canvas: int, rng: np.random.Generator) -> list[Stroke]:
    """Mirror, rotate, scale and shift the hand on a canvas of `canvas` x `canvas` pixels."""
    side = rng.choice((-1.0, 1.0))
    angle = math.radians(np.clip(rng.normal(0, 22), -50, 50))
    scale = canvas * rng.uniform(0.25, 0.38)
    x0 = canvas * rng.uniform(0.42, 0.58)
    y0 = canvas * rng.uniform(0.55, 0.66)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)

    def place(point: Point) -> Point:
        x, y = side * point[0], point[1] + 0.1
        return x0 + cos * x - sin * y, y0 + sin * x + cos * y

    return [
        Stroke(tuple(map(place, each.points)), scale * each.start, scale * each.end, each.joined) for each in strokes
    ]


def _trace(draw: ImageDraw.ImageDraw, stroke: Stroke, fill: Tone | int, *, grow: float, shift: Point = (0, 0)) -> None:
    """Fill a stroke, with its radii times `grow`, as discs and quadrilaterals between them."""
    n = len(stroke.points)
    discs = [
        (x + shift[0], y + shift[1], grow * (stroke.start + (stroke.end - stroke.start) * i / (n - 1)))
        for i, (x, y) in enumerate(stroke.points)
    ]
    for (xa, ya, ra), (xb, yb, rb) in itertools.pairwise(discs):
        length = math.hypot(xb - xa, yb - ya) or 1.0
        nx, ny = (ya - yb) / length, (xb - xa) / length
        sides = [
            (xa + nx * ra, ya + ny * ra),
            (xb + nx * rb, yb + ny * rb),
            (xb - nx * rb, yb - ny * rb),
            (xa - nx * ra, ya - ny * ra),
        ]
        draw.polygon(sides, fill=fill)
    for x, y, r in discs:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _paint(picture: Image.Image, strokes: list[Stroke], skin: Tone) -> None:
    """Paint each stroke with a dark rim, to set it off, and a lit side, to look round."""
    draw = ImageDraw.Draw(picture)
    rim, lit = _shade(skin, 0.66), _shade(skin, 1.09)
    for limb in _limbs(strokes):
        for tone, grow, lift in ((rim, 1.0, 0.0), (skin, 0.9, 0.0), (lit, 0.6, 0.16)):
            for stroke in limb:
                _trace(draw, stroke, tone, grow=grow, shift=(-lift * stroke.end, -lift * stroke.end))


def _limbs(strokes: list[Stroke]) -> list[list[Stroke]]:
    limbs: list[list[Stroke]] = []
    for stroke in strokes:
        if stroke.joined:
            limbs[-1].append(stroke)
        else:
            limbs.append([stroke])
    return limbs


def _skin(wall: Image.Image, rng: np.random.Generator) -> Tone:
    """A skin tone between two neighbours of SKINS, different enough from the wall's brightness to be seen."""
    brightness = float(np.asarray(wall.convert("L")).mean())
    while True:
        i = rng.integers(len(SKINS) - 1)
        skin = _mix(SKINS[i], SKINS[i + 1], rng.uniform())
        if abs(sum(skin) / 3 - brightness) > 26:
            return skin


def _wall(canvas: int, rng: np.random.Generator) -> Image.Image:
    """A wall in uneven light, sometimes with an edge (a door, a board) across it."""
    i, j = rng.integers(len(WALLS), size=2)
    tone = np.array(_mix(WALLS[i], WALLS[j], rng.uniform(0, 0.4)), np.float64)
    across = np.linspace(-0.5, 0.5, canvas)
    slope = rng.normal(0, 0.12, size=2)
    light = 1 + slope[0] * across[:, None] + slope[1] * across[None, :]
    if rng.random() < 0.25:
        edge = rng.uniform(-0.4, 0.4)
        light = light * np.where(
            across[None, :] + rng.normal(0, 0.2) * across[:, None] > edge, rng.uniform(0.82, 1.12), 1.0
        )
    return Image.fromarray(np.clip(light[:, :, None] * tone, 0, 255).astype(np.uint8))


def _cast_shadow(wall: Image.Image, strokes: list[Stroke], canvas: int, rng: np.random.Generator) -> Image.Image:
    """Darken the wall in the hand's shadow: its blurred, shifted silhouette."""
    small = canvas // OVERSAMPLING  # blurred anyway, so drawn small
    mask = Image.new("L", (canvas, canvas), 0)
    draw = ImageDraw.Draw(mask)
    for stroke in strokes:
        _trace(draw, stroke, 255, grow=1.0)
    mask = mask.resize((small, small), Image.Resampling.BOX).filter(
        ImageFilter.GaussianBlur(small * rng.uniform(0.02, 0.06))
    )
    shift = rng.uniform(0.02, 0.08) * small
    across, down = rng.choice((-1, 1)) * shift, shift
    mask = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0, -across, 0, 1, -down)).resize(wall.size)
    strength = rng.uniform(0.1, 0.4)
    return Image.composite(Image.eval(wall, lambda value: int(value * (1 - strength))), wall, mask)


def _photograph(picture: Image.Image, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink the picture and change it as a phone would: blur, white balance, exposure, noise."""
    picture = picture.resize((size, size), Image.Resampling.BOX)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.7) * size / 64))
    pixels = np.asarray(picture, np.float64)
    balance = rng.normal(1.0, 0.035, size=3)
    pixels = pixels * rng.uniform(0.8, 1.1) * balance
    pixels = pixels + rng.normal(0, rng.uniform(0.5, 3.5), size=pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _mix(a: Tone, b: Tone, share: float) -> Tone:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _shade(tone: Tone, factor: float) -> Tone:
    return _mix((0, 0, 0), tone, factor) if factor <= 1 else _mix(tone, (255, 255, 255), factor - 1)
