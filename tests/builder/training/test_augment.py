"""Random changes of training pictures."""

from dataclasses import replace

import numpy as np
import pytest

from signs_builder.data.hands import draw_hands
from signs_builder.data.image_changes import shine, to_uint8
from signs_builder.evaluation.shift_suite import SHIFTS, shifted
from signs_builder.training.augment import augment
from signs_builder.training.recipe import RECIPES, Augmentation

HANDS = draw_hands(12)[0]


STRONG = RECIPES["rooms"].augmentation
SHARES = ("mirror", "wall", "room", "far", "sleeve", "jpeg")


def test_nothing_asked_is_nothing_changed() -> None:
    assert np.array_equal(augment(HANDS[0], Augmentation(), np.random.default_rng(0)), HANDS[0])
    assert np.array_equal(to_uint8(shine(HANDS[0].astype(np.float32))), HANDS[0])


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 96, 3), (64, 64, 1)])
def test_pictures_of_any_shape_keep_it(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    changed = augment(image, STRONG, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (shape, np.dtype(np.uint8))
    for name in SHIFTS:
        assert shifted(image[None], name).shape == (1, *shape)


def test_one_generator_gives_one_picture_and_another_another() -> None:
    first, again = (augment(HANDS[0], STRONG, np.random.default_rng([1, 2, 3])) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, augment(HANDS[0], STRONG, np.random.default_rng([1, 2, 4])))


def test_each_kind_of_change_changes() -> None:
    for name in vars(STRONG):
        bounds = Augmentation(**{name: 1.0 if name in SHARES else getattr(STRONG, name)})
        bounds = replace(bounds, wall=1.0) if name == "room" else bounds
        changed = [augment(image, bounds, np.random.default_rng(i)) for i, image in enumerate(HANDS)]
        assert any(not np.array_equal(a, b) for a, b in zip(changed, HANDS, strict=True)), name


def test_strength_scales_all_but_the_mirror() -> None:
    half = STRONG.times(0.5)
    assert (half.turn, half.wall, half.mirror) == (STRONG.turn / 2, STRONG.wall / 2, STRONG.mirror)
