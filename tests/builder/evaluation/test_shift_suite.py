"""The shift suite shifts."""

import numpy as np
import pytest

from signs_builder.data.hands import draw_hands
from signs_builder.evaluation.shift_suite import SHIFTS, shifted

HANDS = draw_hands(12)[0]


def test_the_shift_suite_shifts_and_is_the_same_every_time() -> None:
    for name in SHIFTS:
        changed = shifted(HANDS, name)
        assert np.array_equal(changed, shifted(HANDS, name))
        assert not np.array_equal(changed, HANDS), name
    assert np.array_equal(shifted(HANDS, "mirrored"), HANDS[:, :, ::-1])


@pytest.mark.parametrize("name", [name for name in SHIFTS if name.startswith(("a small hand", "a sleeve", "a room"))])
def test_scenes_take_any_picture(name: str) -> None:
    faint = np.full((64, 64, 3), 128, np.uint8)
    faint[30:, 20:40, 2] = 112  # hardly more colour than the wall
    assert shifted(np.stack([faint, *draw_hands(60, seed=4)[0]]), name).shape == (61, 64, 64, 3)
