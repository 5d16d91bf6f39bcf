"""What place and light do to a picture, by stated amounts."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from signs_builder.data.image_changes import place


def marked() -> NDArray[np.uint8]:
    """A picture with one bright pixel block above and left of the middle."""
    image = np.full((32, 32, 3), 10, np.uint8)
    image[8:12, 6:10] = 200
    return image


def brightest(image: NDArray[np.uint8]) -> tuple[float, float]:
    """The middle of the bright block: down, across."""
    rows, columns = np.nonzero(image[:, :, 0] > 100)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize(
    ("how", "expected"),  # how: place's own arguments
    [
        ({}, (9.5, 7.5)),
        ({"mirror": True}, (9.5, 23.5)),
        ({"shift": (0.25, 0.125)}, (13.5, 15.5)),
        ({"turn": 90.0}, (7.5, 21.5)),
        ({"scale": 0.5}, (12.5, 11.5)),
        ({"scale": 1.5}, (6.5, 3.5)),
    ],
)
def test_place_moves_a_point_where_it_says(how: dict[str, Any], expected: tuple[float, float]) -> None:
    assert brightest(place(marked(), **how)) == pytest.approx(expected, abs=0.6)
