"""Picks, from what Keras computes at a stage, the pixels that a graph computes; it may lack what nothing reads."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import NDArray


def pixels_made(
    expected: NDArray[Any], given: NDArray[Any], read: tuple[int, int]
) -> Callable[[Any], Any]:  # Any: an array, or None
    """A function that picks the pixels that a graph has of Keras's (n, height, width, channels).

    The graph's are (n, channels, h, w), or rows of channels (n * h * w, channels). It may lack pixels that nothing
    reads: only every read-th row and column is. If its size does not fit, all pixels are picked.
    """
    if expected.ndim != 4 or expected.size == given.size:
        return lambda values: values
    n, height, width, channels = expected.shape
    for down, across in itertools.product(_divisors(read[0]), _divisors(read[1])):
        sides = (-(-height // down), -(-width // across))
        if given.shape in ((n, channels, *sides), (n * math.prod(sides), channels)):
            return partial(_every, down, across)
    return lambda values: values


def _every(down: int, across: int, values: NDArray[Any] | None) -> NDArray[Any] | None:
    return values if values is None or values.ndim != 4 else values[:, ::down, ::across]


def _divisors(number: int) -> list[int]:
    """The largest first."""
    return [each for each in range(number, 0, -1) if number % each == 0]
