"""Outer fingers are folded away: what is left shows the fingers that remain, and the wall where the others were."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from signs_builder.data.fingers import find_fingers, fold
from signs_builder.data.hand_mask import find_hand
from signs_builder.data.sources import load_dataset
from signs_runtime.pictures.input_spec import InputSpec

WALL, SKIN = (205, 206, 208), (200, 140, 110)
TURNS = {2: (-15, 12), 3: (-70, -20, 8), 4: (-28, -9, 9, 28), 5: (-80, -34, -11, 11, 34)}  # degrees from straight up


def _hand(fingers: int, side: int = 64) -> NDArray[np.uint8]:
    image = Image.new("RGB", (side, side), WALL)
    draw = ImageDraw.Draw(image)
    unit = side / 64
    x, y = 32 * unit, 40 * unit
    draw.ellipse((x - 11 * unit, y - 11 * unit, x + 11 * unit, y + 11 * unit), fill=SKIN)
    draw.line((x, y, x, side), fill=SKIN, width=round(14 * unit))
    for turn in TURNS.get(fingers, ()):
        across, up = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        start, end = 10 * unit, 30 * unit
        line = (x + start * across, y - start * up, x + end * across, y - end * up)
        draw.line(line, fill=SKIN, width=round(5 * unit))
    return np.asarray(image)


def _raised(image: NDArray[np.uint8]) -> int:
    hand = find_hand(image)
    assert hand is not None
    found = find_fingers(image, hand)
    assert found is not None
    return len(found.raised)


@pytest.mark.parametrize("side", [64, 96, 224])
@pytest.mark.parametrize("fingers", [3, 4, 5])
def test_the_fingers_that_are_left_can_be_counted(fingers: int, side: int) -> None:
    image = _hand(fingers, side)
    before = image.copy()
    lefts = set()
    folded = [fold(image, fingers, np.random.default_rng(seed)) for seed in range(16)]
    done = [each for each in folded if each is not None]  # in the others, the stub would count as a finger
    assert len(done) >= 12
    for picture, left in done:
        lefts.add(left)
        assert _raised(picture) == left
        changed = (picture != image).any(axis=2)
        assert np.abs(picture[changed].astype(int) - WALL).mean() < 12  # the wall, not skin
    assert lefts == ({3, 4} if fingers == 5 else {fingers - 1})
    assert np.array_equal(image, before)


def test_of_five_fingers_the_outer_ones_go_and_the_middle_ones_stay() -> None:
    image = _hand(5)
    alone = {
        left: picture
        for picture, left in (fold(image, 5, np.random.default_rng(seed)) or (image, 5) for seed in range(12))
    }
    middle = (slice(10, 20), slice(28, 36))
    assert np.array_equal(alone[3][middle], image[middle])
    assert np.array_equal(alone[3][34:, 24:40], image[34:, 24:40])  # palm and arm


def test_of_a_folded_finger_a_stub_may_be_left() -> None:
    """A bent finger's knuckles stand out from a real hand; they do not count as a finger."""
    image = _hand(4)
    folded = [fold(image, 4, np.random.default_rng(seed)) for seed in range(40)]
    gone = [int((each[0] != image).any(axis=2).sum()) for each in folded if each is not None]
    assert len(gone) > 30
    assert 0.5 * max(gone) < min(gone) < 0.85 * max(gone)


def test_hands_whose_fingers_cannot_be_counted_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    assert fold(_hand(4), 5, rng) is None  # not the number that its label says
    assert fold(_hand(2), 2, rng) is None  # one finger is shown in SIGNS anyway
    assert fold(np.full((64, 64, 3), WALL, np.uint8), 4, rng) is None
    assert fold(_hand(4)[:, :, :1], 4, rng) is None  # without colour there is no mask
    assert find_fingers(_hand(4), np.zeros((64, 64), np.uint8)) is None
    everywhere = np.full((64, 64, 3), SKIN, np.uint8)
    everywhere[:9] = WALL  # the rest is skin: no wall to paint
    assert fold(everywhere, 3, rng) is None
    for size in ((1, 1), (1, 64), (64, 3)):
        assert fold(np.full((*size, 3), SKIN, np.uint8), 3, rng) is None


def test_a_fist_raises_no_finger() -> None:
    assert _raised(_hand(0)) == 0


def test_of_the_real_hands_of_signs_many_can_be_folded(signs_data: Path) -> None:
    """The others hold their fingers together, or are cut off."""
    train = load_dataset(signs_data).train
    images = train.images(InputSpec(64, 64))
    rng = np.random.default_rng(0)
    folded = [fold(images[i], int(train.labels[i]), rng) for i in np.flatnonzero(train.labels >= 3)]
    done = [each for each in folded if each is not None]
    assert len(done) > 0.3 * len(folded)
    assert all(_raised(picture) == left for picture, left in done)
