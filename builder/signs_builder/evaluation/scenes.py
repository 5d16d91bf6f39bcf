"""Puts the hand of a test picture elsewhere: small, in a sleeve, in a room. The augmentation draws with other code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from signs_builder.data.hand_mask import find_hand, middle_of
from signs_builder.data.textures import draw_textures

Bounds = tuple[float, float]

_SOLID = 128  # of a mask's 255
_DRAWN = 96  # pixels: the side of a texture
_TILT = 0.25  # how far a sleeve's end may rise, in widths of the picture


@dataclass(frozen=True)
class Scene:
    """How a hand is shown. `size` is relative to the test picture, `across` and `down` are shares of the picture."""

    size: Bounds = (1.0, 1.0)
    across: Bounds | None = None  # where the middle of the hand comes to lie; None: it stays where it was
    down: Bounds = (0.5, 0.5)
    sleeve: Bounds | None = None  # where it ends: 0 is the arm's end, 1 the finger tips
    room: bool = False
    grey: int | None = None  # a plain wall of this brightness
    gain: float = 1.0  # light on the hand


def show(image: NDArray[np.uint8], scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """The picture, uint8 (h, w, 3), as a scene; None if no hand is found in it."""
    mask = find_hand(image)
    if mask is None:
        return None
    height, width = mask.shape
    behind = _behind(image, mask, scene, rng)
    lit = np.clip(image * scene.gain, 0, 255).astype(np.uint8)
    hand, top, left = _with_longer_arm(np.dstack([lit, mask]))
    if scene.sleeve is not None:
        hand = _with_sleeve(hand, _end_of_sleeve(mask, rng.uniform(*scene.sleeve)) + top, rng)
    scale = rng.uniform(*scene.size)
    hand = hand.resize((max(1, round(hand.width * scale)), max(1, round(hand.height * scale))), Image.Resampling.BOX)
    x, y = middle_of(mask)
    across = x if scene.across is None else rng.uniform(*scene.across)
    down = y if scene.across is None else rng.uniform(*scene.down)
    corner = (round(width * (across - scale * x) - scale * left), round(height * (down - scale * y) - scale * top))
    behind.paste(hand, corner, hand)
    return np.asarray(behind)


def _behind(image: NDArray[np.uint8], mask: NDArray[np.uint8], scene: Scene, rng: np.random.Generator) -> Image.Image:
    height, width = mask.shape
    if scene.room:
        return draw_empty_room((width, height), rng)
    if scene.grey is not None:
        return Image.new("RGB", (width, height), (scene.grey, scene.grey, scene.grey))
    wall = np.median(image[mask < _SOLID], axis=0)  # the test picture's own wall, without its shadows
    slope = np.linspace(-8, 8, width)[None, :, None]
    return Image.fromarray(np.clip(np.broadcast_to(wall + slope, image.shape), 0, 255).astype(np.uint8))


def _with_longer_arm(hand: NDArray[np.uint8]) -> tuple[Image.Image, int, int]:
    """Continue an arm straight on, two pictures far, beyond the edge where it leaves the picture (h, w, 4).

    Also returns how many rows and columns come before the picture.
    """
    height, width = hand.shape[:2]
    edges = {(2 * height, 0, 0, 0): hand[0], (0, 2 * height, 0, 0): hand[-1]}
    edges |= {(0, 0, 2 * width, 0): hand[:, 0], (0, 0, 0, 2 * width): hand[:, -1]}
    top, bottom, left, right = max(edges, key=lambda margins: int(edges[margins][:, 3].sum(dtype=np.int64)))
    longer = np.pad(hand, ((top, bottom), (left, right), (0, 0)), mode="edge")
    for beyond in (longer[:top], longer[top + height :], longer[:, :left], longer[:, left + width :]):
        beyond[:, :, 3] = np.where(beyond[:, :, 3] > _SOLID, 255, 0)
    return Image.fromarray(longer, "RGBA"), top, left


def _end_of_sleeve(mask: NDArray[np.uint8], end: float) -> float:
    """The row where a sleeve ends, `end` of the way from the hand's lowest row to its highest."""
    rows = np.flatnonzero((mask > mask.max() // 2).any(axis=1))
    return float(rows[-1] - end * (rows[-1] - rows[0]))


def _with_sleeve(hand: Image.Image, top: float, rng: np.random.Generator) -> Image.Image:
    """Lay cloth over the arm, from the row `top` down."""
    width, height = hand.size
    wider = np.asarray(hand.getchannel("A").filter(ImageFilter.MaxFilter(5)))
    tilt = rng.uniform(-_TILT, _TILT) * (np.arange(width) - width / 2)
    below = np.arange(height)[:, None] > top + tilt[None, :]
    cloth = _texture(rng).resize(hand.size)
    cloth.putalpha(Image.fromarray(np.where(below, wider, 0).astype(np.uint8)))
    return Image.alpha_composite(hand, cloth)


def _texture(rng: np.random.Generator) -> Image.Image:
    """A texture of a fixed size: the time to draw it grows with its area."""
    return Image.fromarray(draw_textures(1, size=_DRAWN, seed=int(rng.integers(2**31)))[0])


def draw_empty_room(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw a room in perspective, of size (width, height): walls, a floor of boards, a window, pictures, a table."""
    scale = 4
    width, height = size[0] * scale, size[1] * scale
    tones = rng.uniform(60, 235, (3, 1)) + rng.uniform(-35, 35, (3, 3))
    back, side, floor = (tuple(int(each) for each in np.clip(tone, 0, 255)) for tone in tones)
    room = Image.new("RGB", (width, height), back)
    draw = ImageDraw.Draw(room)
    left, horizon = rng.uniform(0.05, 0.5) * width, rng.uniform(0.5, 0.85) * height
    draw.polygon([(0, 0), (left, 0), (left, horizon), (0, height)], fill=side)
    draw.polygon([(left, horizon), (width, horizon), (width, height), (0, height)], fill=floor)
    dark = tuple(int(0.8 * each) for each in floor)
    for x in np.linspace(-width, 2 * width, 24).tolist():  # boards meet at a point behind the wall
        draw.line([(left + (x - left) * 0.3, horizon), (x, height)], fill=dark, width=2)
    for _ in range(int(rng.integers(1, 4))):  # pictures, shelves, cushions
        wide = int(rng.uniform(0.12, 0.45) * width)
        spot = (int(rng.uniform(0, width - wide)), int(rng.uniform(0, max(1.0, horizon - wide / 2))))
        room.paste(_texture(rng).resize((wide, int(wide * rng.uniform(0.5, 1.3)))), spot)
    if rng.random() < 0.5:
        x, y, own = rng.uniform(0, 0.7) * width, rng.uniform(0, 0.3) * height, rng.uniform(0.2, 0.5) * width
        draw.rectangle([x, y, x + own, y + own], fill=(235, 242, 250), outline=(250, 250, 250), width=scale * 2)
        draw.line([x + own / 2, y, x + own / 2, y + own], fill=(120, 110, 100), width=scale)
    if rng.random() < 0.6:
        y, dark_wood = rng.uniform(0.75, 0.95) * height, tuple(int(each) for each in rng.uniform(20, 170, 3))
        draw.polygon([(0, height), (0.1 * width, y), (0.95 * width, y), (width, height)], fill=dark_wood)
    pixels = np.asarray(room.resize(size, Image.Resampling.BOX), np.float32)
    noisy = pixels + rng.normal(0, 4, (*pixels.shape[:2], 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
