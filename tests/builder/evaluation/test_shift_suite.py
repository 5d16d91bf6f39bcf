"""The shift suite shifts."""

import numpy as np
import pytest
from PIL import Image

from signs_builder.data.hands import draw_hands
from signs_builder.evaluation.shift_suite import SCENES, SHIFTS, shifted, shifts_of

HANDS = draw_hands(12)[0]


def test_the_shift_suite_shifts_and_is_the_same_every_time() -> None:
    for name in SHIFTS:
        changed = shifted(HANDS, name)
        assert np.array_equal(changed, shifted(HANDS, name))
        assert not np.array_equal(changed, HANDS), name
    assert np.array_equal(shifted(HANDS, "mirrored"), HANDS[:, :, ::-1])


@pytest.mark.parametrize("name", SCENES)
def test_scenes_take_any_picture(name: str) -> None:
    faint, confetti = np.full((2, 64, 64, 3), 128, np.uint8)
    faint[30:, 20:40, 2] = 112  # hardly more colour than the wall
    confetti[20::4, ::4] = (255, 0, 0)
    hands = draw_hands(60, seed=4)[0]
    assert shifted(np.stack([faint, confetti, *hands]), name).shape == (62, 64, 64, 3)
    for size in ((32, 144), (144, 32)):
        stretched = np.stack([np.asarray(Image.fromarray(hand).resize(size)) for hand in hands[:12]])
        changed = shifted(stretched, name)
        assert changed.shape == stretched.shape
        assert not np.array_equal(changed, stretched)


def test_scenes_are_for_hands() -> None:
    assert shifts_of("012345") == tuple(SHIFTS)
    assert set(SHIFTS) - set(shifts_of(("apple", "pear"))) == set(SCENES)
