"""Changes training pictures at random, so that a model learns to ignore position, light, camera and wall."""

import math

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.hand_mask import draw_wall, find_hand, middle_of
from signs_builder.data.image_changes import blur, compress, place, shine, to_uint8
from signs_builder.data.rooms import draw_cloth, draw_room, draw_sleeve
from signs_builder.training.recipe import Augmentation

JPEG_QUALITIES = (20, 90)
FAR = (0.42, 0.85)  # sizes of a hand that is made small
MIDDLES = (0.22, 0.78)  # where its middle may be, in sides of the picture
FAR_EDGE = 2.0  # sides of the picture to which its edge, such as an arm, is continued around a small hand
DARKER = 3  # hands are darkened this many times further than lightened, since most training hands are light


def augment(image: NDArray[np.uint8], bounds: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change one picture, uint8 (h, w, 3) or (h, w, 1), at random within `bounds`; the shape stays the same."""
    in_colour = image.shape[2] == 3
    hand = find_hand(image) if in_colour and _changes_the_hand(bounds) else None
    planes = [image]
    if hand is not None:
        sleeve = draw_sleeve(hand, rng) if bounds.sleeve and rng.random() < bounds.sleeve else None
        planes += [hand[:, :, None]] if sleeve is None else [hand[:, :, None], sleeve[:, :, None]]
    placed = _placed(np.concatenate(planes, axis=2), hand, bounds, rng)
    pixels = placed[:, :, : image.shape[2]].astype(np.float32)
    if hand is not None:
        masks = (placed[:, :, 3:] / 255).astype(np.float32)
        pixels = _recolour(pixels, masks[:, :, :1], masks[:, :, 1:], bounds, rng)
    if bounds.light or bounds.tint:
        pixels = shine(
            pixels,
            gain=_factor(bounds.light, rng),
            contrast=_factor(bounds.light, rng),
            lamp=_factor(bounds.light, rng),
            direction=rng.uniform(0, 360),
            balance=_balance(bounds.tint, rng) if in_colour else None,
        )
    pixels = blur(pixels, rng.uniform(0, bounds.blur))
    if bounds.noise:
        pixels = pixels + np.float32(rng.uniform(0, bounds.noise)) * rng.standard_normal(pixels.shape, np.float32)
    changed = to_uint8(pixels)
    return compress(changed, int(rng.integers(*JPEG_QUALITIES))) if rng.random() < bounds.jpeg else changed


def _changes_the_hand(bounds: Augmentation) -> bool:
    return max(bounds.wall, bounds.skin, bounds.far, bounds.sleeve) > 0


def _placed(
    planes: NDArray[np.uint8], hand: NDArray[np.uint8] | None, bounds: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Shift, rotate, scale and mirror a picture and its masks (h, w, channels)."""
    across, down = rng.uniform(-bounds.shift, bounds.shift, 2)
    turn, scale = rng.uniform(-bounds.turn, bounds.turn), _factor(bounds.zoom, rng)
    mirror = bool(rng.random() < bounds.mirror)
    if hand is None or not bounds.far or rng.random() >= bounds.far:
        return place(planes, shift=(across, down), turn=turn, scale=scale, mirror=mirror)
    scale = math.exp(rng.uniform(*np.log(FAR)))
    height, width = hand.shape
    x, y = scale * (np.array(middle_of(hand)) - 0.5) * (width, height)
    x = -x if mirror else x
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    moved = np.array([cos * x - sin * y, sin * x + cos * y]) / (width, height)
    across, down = rng.uniform(*MIDDLES, 2) - 0.5 - moved
    return place(planes, shift=(across, down), turn=turn, scale=scale, mirror=mirror, edge=FAR_EDGE)


def _recolour(
    pixels: NDArray[np.float32],
    hand: NDArray[np.float32],
    sleeve: NDArray[np.float32],
    bounds: Augmentation,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Change the hand's colour and, for a share of pictures, the wall; the masks are (h, w, 1), 0..1.

    `sleeve` may have no channel.
    """
    reach = math.log1p(bounds.skin)
    tone = math.exp(rng.uniform(-DARKER * reach, reach)) * _balance(bounds.skin / 3, rng)
    pixels = pixels * (1 + hand * (tone - 1))
    if rng.random() < bounds.wall:
        is_room = bounds.room and rng.random() < bounds.room
        wall = (draw_room if is_room else draw_wall)(pixels.shape[:2], rng)
        pixels = wall + hand * (pixels - wall)
    if sleeve.shape[2]:
        pixels = pixels + sleeve * (draw_cloth(pixels, rng) - pixels)
    return pixels


def _factor(bound: float, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(-1, 1) * math.log1p(bound))


def _balance(bound: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return np.exp(rng.uniform(-1, 1, 3) * math.log1p(bound)).astype(np.float32)
