"""Finds the hand in a picture by its colour, and draws walls to put behind it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# Skin is more saturated than most walls. MARGIN: how much more saturated than the wall a pixel is at the hand's edge;
# FADE: over how much more the mask rises to 1. Chosen on the training pictures of SIGNS; a hand is found in 99.8%.
MARGIN, FADE = 0.08, 0.10
GREYEST_WALL = 0.2  # saturation; a wall with more colour cannot be told from skin
SMALLEST, LARGEST = 0.04, 0.6  # shares of the picture that a hand may cover


def find_hand(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Mask of the hand: uint8 (h, w), 255 on the hand, 0 on the wall; None if no plausible hand is found.

    Expects uint8 (h, w, 3) with a wall of little colour that fills the picture's upper edge.
    """
    saturation = saturation_of(image)
    wall = float(np.median(saturation[: max(1, len(image) // 8)]))
    mask = np.clip((saturation - (wall + MARGIN)) / FADE, 0, 1)
    if wall >= GREYEST_WALL or not SMALLEST < mask.mean() < LARGEST:
        return None
    smooth = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(3)))
    return smooth if smooth.any() else None


def saturation_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far from grey each pixel of an image (h, w, 3) is, 0..1: (h, w)."""
    brightest = image.max(axis=2).astype(np.float32)
    saturation: NDArray[np.float32] = (brightest - image.min(axis=2)) / np.maximum(brightest, 1)
    return saturation


def middle_of(hand: NDArray[np.uint8]) -> tuple[float, float]:
    """The middle of a hand's mask (h, w), which is not empty: (across, down), as shares of the picture."""
    height, width = hand.shape
    weights = hand.astype(np.float64) / hand.sum(dtype=np.int64)
    across = float(weights.sum(axis=0) @ ((np.arange(width) + 0.5) / width))
    down = float(weights.sum(axis=1) @ ((np.arange(height) + 0.5) / height))
    return across, down


def draw_wall(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a random wall of `size` (h, w): fields of any colour, soft or sharp; float32 (h, w, 3), 0..255."""
    height, width = size
    fields = rng.integers(1, 7, 2)
    spread = rng.uniform(0, 90)
    tones = rng.uniform(0, 255, 3) + rng.uniform(-spread, spread, (*fields, 3))
    coarse = Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8))
    filter_ = Image.Resampling.BICUBIC if rng.random() < 0.6 else Image.Resampling.NEAREST
    longest = max(height, width) * 3 // 2  # room to turn it
    wide = coarse.resize((longest, longest), filter_).rotate(rng.uniform(-45, 45), Image.Resampling.BILINEAR)
    left, top = (longest - width) // 2, (longest - height) // 2
    wall = np.asarray(wide.crop((left, top, left + width, top + height)), np.float32)
    return wall + rng.uniform(0, 12) * rng.standard_normal((height, width, 1), np.float32)
