"""Draws cluttered rooms to put behind a hand, and sleeves to put on its arm."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from signs_builder.data.hand_mask import draw_wall
from signs_builder.data.image_changes import to_uint8

Colour = tuple[int, int, int]
Shape = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]

_FINER = 2  # rooms are drawn this many times larger, then reduced
_SHAPES_IN_A_ROOM = (3, 18)
_BLURRED = 0.6  # share of rooms that are out of focus
_LEAST_ARM = 3  # pixels of the hand's mask along the edge where the arm enters
_SLEEVE = (0.03, 0.5)  # where it ends, in distances from the edge to the middle of the hand


def draw_room(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a random room of `size` (h, w): a wall, furniture, frames, lamps, limbs; float32 (h, w, 3), about 0..255."""
    height, width = size
    side = _FINER * max(height, width)
    picture = Image.fromarray(to_uint8(draw_wall(size, rng))).resize((side, side))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(*_SHAPES_IN_A_ROOM))):
        _SHAPES[int(rng.integers(len(_SHAPES)))](draw, side, rng)
    if rng.random() < _BLURRED:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.04) * side))
    room = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
    grey = room.mean(axis=2, keepdims=True)
    noise = np.float32(rng.uniform(0, 8)) * rng.standard_normal((height, width, 1), np.float32)
    muted: NDArray[np.float32] = grey + np.float32(rng.uniform(0.2, 1)) * (room - grey) + noise
    return muted


def draw_sleeve(hand: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """Draw the mask of a sleeve for a hand's mask, both uint8 (h, w), 0..255; None if no arm enters the picture.

    A sleeve is a little wider than the arm. It ends between the edge of the picture and the middle of the hand.
    """
    height, width = hand.shape
    places = np.argwhere(hand > 127)
    edges = {(0, 0): "top", (0, height - 1): "bottom", (1, 0): "left", (1, width - 1): "right"}
    entries = {edge: places[places[:, edge[0]] == edge[1]] for edge in edges}
    entry = max(entries.values(), key=len)
    if len(entry) < _LEAST_ARM:
        return None
    start, middle = entry.mean(axis=0), places.mean(axis=0)
    way = middle - start
    length = float(np.hypot(*way))
    if length < 1:
        return None
    rows, columns = np.mgrid[:height, :width]
    along = ((rows - start[0]) * way[0] + (columns - start[1]) * way[1]) / length**2
    bent = rng.uniform(-0.15, 0.15) * ((rows - start[0]) * way[1] - (columns - start[1]) * way[0]) / length**2
    covered = np.clip((rng.uniform(*_SLEEVE) - along - bent) * length, 0, 1)
    wider = Image.fromarray(hand).filter(ImageFilter.MaxFilter(_odd(rng.uniform(0.03, 0.12) * min(height, width))))
    return np.asarray(np.asarray(wider) * covered, np.uint8)


def _odd(pixels: float) -> int:
    return 2 * int(pixels / 2) + 1


def draw_cloth(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw cloth of a random colour with the light and shade of `pixels`, float32 (h, w, 3) in and out, 0..255."""
    height, width = pixels.shape[:2]
    shade = pixels.mean(axis=2, keepdims=True)
    shade = np.clip(shade / max(1.0, float(shade.mean())), 0.5, 1.5) ** rng.uniform(0.2, 1)
    tones = rng.uniform(0, 255, (2, 3)) * rng.uniform(0.2, 1)
    pattern = np.full((height, width, 1), rng.uniform(0, 0.2))
    if rng.random() < 0.4:
        angle, waves = rng.uniform(0, math.pi), rng.uniform(0.3, 2.0)
        rows, columns = np.mgrid[:height, :width]
        pattern = (np.sin(waves * (rows * math.cos(angle) + columns * math.sin(angle))) > 0)[:, :, None]
    cloth: NDArray[np.float32] = ((tones[0] + pattern * (tones[1] - tones[0])) * shade).astype(np.float32)
    return cloth


def _colour(rng: np.random.Generator) -> Colour:
    """Any colour; most things in rooms have little of it."""
    grey, strength = rng.uniform(0, 255), rng.choice((0.15, 0.4, 1.0))
    red, green, blue = np.clip(grey + strength * rng.uniform(-128, 128, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _skin(rng: np.random.Generator) -> Colour:
    light = rng.uniform(0.3, 1)
    red, green, blue = np.clip(light * np.array([245, 190, 155]) * rng.uniform(0.9, 1.1, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _box(side: int, rng: np.random.Generator, largest: float = 0.6) -> tuple[float, float, float, float]:
    width, height = rng.uniform(0.05, largest, 2) * side
    left, top = rng.uniform(-0.2, 1, 2) * side
    return left, top, left + width, top + height


def _board(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    edge = _colour(rng) if rng.random() < 0.5 else None
    draw.rectangle(_box(side, rng), fill=_colour(rng), outline=edge, width=int(rng.integers(1, 4)))


def _window(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    left, top, right, bottom = _box(side, rng, 0.8)
    bright, frame = int(rng.integers(200, 256)), _colour(rng)
    draw.rectangle((left, top, right, bottom), fill=(bright, bright, bright), outline=frame, width=3)
    middle = (left + right) / 2
    draw.line((middle, top, middle, bottom), fill=frame, width=2)


def _shelf(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    left, top, right, bottom = _box(side, rng, 0.9)
    x = left
    while x < right:
        width = rng.uniform(0.01, 0.06) * side
        draw.rectangle((x, top + rng.uniform(0, 0.4) * (bottom - top), x + width, bottom), fill=_colour(rng))
        x += width + 1
    draw.line((left, bottom, right, bottom), fill=_colour(rng), width=2)


def _round(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    colour = _skin(rng) if rng.random() < 0.4 else _colour(rng)  # a face, or a lamp, a ball, a cup
    draw.ellipse(_box(side, rng, 0.5), fill=colour)


def _stick(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """An edge, a cable, a leg of a chair, or an arm."""
    colour = _skin(rng) if rng.random() < 0.3 else _colour(rng)
    points = [tuple(rng.uniform(-0.1, 1.1, 2) * side) for _ in range(int(rng.integers(2, 4)))]
    draw.line(points, fill=colour, width=int(rng.integers(1, max(2, side // 8))), joint="curve")


def _corner(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    points = [tuple(rng.uniform(-0.3, 1.3, 2) * side) for _ in range(int(rng.integers(3, 6)))]
    draw.polygon(points, fill=_colour(rng))


_SHAPES: tuple[Shape, ...] = (_board, _window, _shelf, _round, _stick, _corner)
