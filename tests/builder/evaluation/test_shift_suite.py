"""The shift suite shifts."""

import numpy as np

from signs_builder.data.hands import draw_hands
from signs_builder.evaluation.shift_suite import SHIFTS, shifted

HANDS = draw_hands(12)[0]


def test_the_shift_suite_shifts_and_is_the_same_every_time() -> None:
    for name in SHIFTS:
        changed = shifted(HANDS, name)
        assert np.array_equal(changed, shifted(HANDS, name))
        assert not np.array_equal(changed, HANDS), name
    assert np.array_equal(shifted(HANDS, "mirrored"), HANDS[:, :, ::-1])
