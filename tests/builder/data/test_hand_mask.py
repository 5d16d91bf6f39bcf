"""The hand is found by its colour, or not at all."""

import numpy as np
import pytest

from signs_builder.data.hand_mask import find_hand, middle_of


def test_the_hand_is_found_on_the_hand() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    image[20:50, 20:40] = (200, 140, 110)
    mask = find_hand(image)
    assert mask is not None
    assert (mask[25:45, 25:35] == 255).all()
    assert (mask[:15] == 0).all()


@pytest.mark.parametrize("colour", [(200, 200, 200), (200, 90, 60)])
def test_a_picture_without_a_hand_or_with_a_wall_of_colour_has_no_mask(colour: tuple[int, int, int]) -> None:
    assert find_hand(np.full((64, 64, 3), colour, np.uint8)) is None


def test_the_middle_of_a_faint_hand_is_known() -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[10:20, 30:40] = 40
    assert middle_of(mask) == pytest.approx((0.875, 0.75))
