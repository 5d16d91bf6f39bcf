"""A classifier that anyone can follow, and pictures for it."""

import numpy as np
from numpy.typing import NDArray

from signs_runtime import InputSpec

SPEC = InputSpec(32, 32)


LABELS = ("dark", "middle", "bright")


def by_brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A classifier that anyone can follow: under 85 is dark, over 170 bright, and 0.8 sure."""
    said = np.digitize(images.mean(axis=(1, 2, 3)), [85, 170])
    probabilities: NDArray[np.float32] = (0.1 + 0.7 * np.eye(3)[said]).astype(np.float32)
    return probabilities
