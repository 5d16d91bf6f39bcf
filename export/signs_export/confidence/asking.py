"""Runs Keras on the pictures of a split, a few at a time, so that they are never all in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_export.source.reference import BATCH, Reference


def ask(reference: Reference, split: Split, on_done: Callable[[int], None]) -> NDArray[Any]:
    """The model's probabilities for the pictures, (n, classes). Raises ImageError for one that cannot be read."""
    parts = [split.part(np.arange(first, min(first + BATCH, len(split)))) for first in range(0, len(split), BATCH)]
    return np.concatenate([reference.probabilities(part.images(reference.input), on_done) for part in parts])
