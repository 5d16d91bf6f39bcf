"""Changes training pictures at random, so that a model learns to ignore position, light, camera and wall."""

import math

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.hand_mask import draw_wall, find_hand
from signs_builder.data.image_changes import blur, compress, place, shine, to_uint8
from signs_builder.training.recipe import Augmentation

JPEG_QUALITIES = (20, 90)
DARKER = 3  # hands are darkened this many times further than lightened, since most training hands are light


def augment(image: NDArray[np.uint8], bounds: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change one picture, uint8 (h, w, 3) or (h, w, 1), at random within `bounds`; the shape stays the same."""
    in_colour = image.shape[2] == 3
    hand = find_hand(image) if in_colour and (bounds.wall or bounds.skin) else None
    planes = image if hand is None else np.concatenate([image, hand[:, :, None]], axis=2)
    across, down = rng.uniform(-bounds.shift, bounds.shift, 2)
    placed = place(
        planes,
        shift=(across, down),
        turn=rng.uniform(-bounds.turn, bounds.turn),
        scale=_factor(bounds.zoom, rng),
        mirror=rng.random() < bounds.mirror,
    )
    pixels = placed[:, :, : image.shape[2]].astype(np.float32)
    if hand is not None:
        pixels = _recolour(pixels, (placed[:, :, 3:] / 255).astype(np.float32), bounds, rng)
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


def _recolour(
    pixels: NDArray[np.float32], hand: NDArray[np.float32], bounds: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Change the hand's colour and, for a share of pictures, the wall; `hand` is its mask (h, w, 1), 0..1."""
    reach = math.log1p(bounds.skin)
    tone = math.exp(rng.uniform(-DARKER * reach, reach)) * _balance(bounds.skin / 3, rng)
    pixels = pixels * (1 + hand * (tone - 1))
    if rng.random() < bounds.wall:
        wall = draw_wall(pixels.shape[:2], rng)
        pixels = wall + hand * (pixels - wall)
    return pixels


def _factor(bound: float, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(-1, 1) * math.log1p(bound))


def _balance(bound: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return np.exp(rng.uniform(-1, 1, 3) * math.log1p(bound)).astype(np.float32)
