"""Random changes of training pictures, the hand's mask, and the shift suite."""

import numpy as np
import pytest
from numpy.typing import NDArray

from signs_builder.augment import augment
from signs_builder.changes import place, shine, to_uint8
from signs_builder.hand_mask import find_hand
from signs_builder.hands import draw_hands
from signs_builder.recipe import RECIPES, Augmentation
from signs_builder.shift_suite import SHIFTS, shifted

HANDS = draw_hands(12)[0]
STRONG = RECIPES["hands"].augmentation


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
    ("how", "expected"),
    [
        ({}, (9.5, 7.5)),
        ({"mirror": True}, (9.5, 23.5)),
        ({"shift": (0.25, 0.125)}, (13.5, 15.5)),
        ({"turn": 90.0}, (7.5, 21.5)),
        ({"scale": 0.5}, (12.5, 11.5)),
        ({"scale": 1.5}, (6.5, 3.5)),
    ],
)
def test_place_moves_a_point_where_it_says(how: dict[str, float], expected: tuple[float, float]) -> None:
    assert brightest(place(marked(), **how)) == pytest.approx(expected, abs=0.6)


def test_nothing_asked_is_nothing_changed() -> None:
    assert np.array_equal(augment(HANDS[0], Augmentation(), np.random.default_rng(0)), HANDS[0])
    assert np.array_equal(to_uint8(shine(HANDS[0].astype(np.float32))), HANDS[0])


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 96, 3), (64, 64, 1)])
def test_pictures_of_any_shape_keep_it(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    changed = augment(image, STRONG, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (shape, np.uint8)
    for name in SHIFTS:
        assert shifted(image[None], name).shape == (1, *shape)


def test_one_generator_gives_one_picture_and_another_another() -> None:
    first, again = (augment(HANDS[0], STRONG, np.random.default_rng([1, 2, 3])) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, augment(HANDS[0], STRONG, np.random.default_rng([1, 2, 4])))


def test_each_kind_of_change_changes() -> None:
    for name in vars(STRONG):
        bounds = Augmentation(**{name: 1.0 if name in ("mirror", "wall", "jpeg") else getattr(STRONG, name)})
        changed = [augment(image, bounds, np.random.default_rng(i)) for i, image in enumerate(HANDS)]
        assert any(not np.array_equal(a, b) for a, b in zip(changed, HANDS, strict=True)), name


def test_strength_scales_all_but_the_mirror() -> None:
    half = STRONG.times(0.5)
    assert (half.turn, half.wall, half.mirror) == (STRONG.turn / 2, STRONG.wall / 2, STRONG.mirror)


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


def test_the_shift_suite_shifts_and_is_the_same_every_time() -> None:
    for name in SHIFTS:
        changed = shifted(HANDS, name)
        assert np.array_equal(changed, shifted(HANDS, name))
        assert not np.array_equal(changed, HANDS), name
    assert np.array_equal(shifted(HANDS, "mirrored"), HANDS[:, :, ::-1])
