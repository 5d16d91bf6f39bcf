"""Finds pictures that are nearly the same, such as the frames of a video, so that they count only once."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16  # pixels of the small copies that are compared
NEAR = 3.0  # mean difference in levels of 255: as between the frames of a steady camera


def distinct(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices of images (n, h, w, c) without near duplicates of the same label (n,); the first of each is kept."""
    small = np.stack([_small(image) for image in images])
    kept: list[int] = []
    for label in np.unique(labels):
        own: list[int] = []
        for i in np.flatnonzero(labels == label).tolist():
            if not own or np.abs(small[own] - small[i]).mean(axis=1).min() > NEAR:
                own.append(i)
        kept += own
    return np.sort(np.array(kept, np.int64))


def _small(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image).convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).reshape(-1)
