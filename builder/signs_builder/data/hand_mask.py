"""Finds the hand in a picture by its colour, and draws walls to put it before."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# Skin has more colour than most walls: how much more saturated than the wall a pixel is where the hand begins, and over
# how much it fades in. Chosen by looking at the training pictures of SIGNS; a hand is found in 99.8% of them.
MARGIN, FADE = 0.08, 0.10
GREYEST_WALL = 0.2  # the wall's saturation; above it, the wall has too much colour to tell
SMALLEST, LARGEST = 0.04, 0.6  # shares of the picture that a hand may cover


def find_hand(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Where the hand is: uint8 (h, w), 255 on it, 0 on the wall; None where no plausible hand is found.

    Expects uint8 (h, w, 3) with a wall of little colour, which reaches the picture's upper edge.
    """
    brightest = image.max(axis=2).astype(np.float32)
    darkest = image.min(axis=2)
    saturation = (brightest - darkest) / np.maximum(brightest, 1)
    wall = float(np.median(saturation[: max(1, len(image) // 8)]))
    mask = np.clip((saturation - (wall + MARGIN)) / FADE, 0, 1)
    if wall >= GREYEST_WALL or not SMALLEST < mask.mean() < LARGEST:
        return None
    smooth = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(3))
    return np.asarray(smooth)


def draw_wall(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """A wall that nobody chose, for `size` (h, w): fields of any colour, soft or sharp; float32 (h, w, 3), 0..255."""
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
