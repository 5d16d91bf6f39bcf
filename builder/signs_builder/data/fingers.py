"""Finds the raised fingers of a hand and takes outer ones away, as if folded: four fingers become three."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from signs_builder.data.hand_mask import find_hand, saturation_of

Mask = NDArray[np.bool_]

# Of the palm's radius: how thick a limb must be to count as palm or arm, and the area of the smallest finger. Chosen on
# SIGNS's training pictures of three to five fingers, of which the most are then found to show what their label says.
_THICK, _SMALLEST = 0.5, 0.25
_BETWEEN = 0.55  # from here on a pixel is skin, between the saturations of wall (0) and hand (1); gaps are below
_STUB = 0.35  # of a raised finger's length: the longest stub that stays, as of a bent finger; more often counts as one
_FAINT, _SOLID = 10, 128  # of a mask's 255
# Shares of the picture's side:
_MARGIN = 24 / 64  # how far its edge is continued, so that an arm does not end there
_EDGE = 3 / 64  # skin at a finger's edge that the mask does not count as hand
_SOFT = 0.5 / 64  # the blur of what is painted
_BLURRED = 4 / 64  # over how much a wall is averaged to continue it behind a finger
_LEAST_WALL = 0.01  # of the weights of that average: otherwise there is no wall near the finger
# Positions in the row of fingers. Two are left alone: SIGNS already shows one finger.
_FOLDED: dict[int, tuple[tuple[int, ...], ...]] = {3: ((0,), (-1,)), 4: ((0,), (-1,)), 5: ((0,), (-1,), (0, -1))}


@dataclass(frozen=True)
class Fingers:
    """A hand's raised fingers, in their order around the palm, and the rest of it: masks of the picture (h, w)."""

    raised: tuple[Mask, ...]
    rest: Mask


def fold(image: NDArray[np.uint8], fingers: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], int] | None:
    """Fold one or two outer fingers of a hand that raises `fingers`; returns the picture and how many are left.

    uint8 (h, w, 3) in and out. None if there are fewer than three fingers, if the fingers or the hand cannot be told
    from what is beside them, in grey pictures, and if the fingers that are left cannot be counted.
    """
    hand = find_hand(image) if fingers in _FOLDED and image.shape[2] == 3 else None
    found = None if hand is None else find_fingers(image, hand)
    if hand is None or found is None or len(found.raised) != fingers:
        return None
    gone = [position % fingers for position in _FOLDED[fingers][rng.integers(len(_FOLDED[fingers]))]]
    left, folded = fingers - len(gone), _without(image, hand, found, gone, rng)
    shown = None if folded is None else find_hand(folded)
    counted = None if folded is None or shown is None else find_fingers(folded, shown)
    return None if folded is None or counted is None or len(counted.raised) != left else (folded, left)


def find_fingers(image: NDArray[np.uint8], hand: NDArray[np.uint8]) -> Fingers | None:
    """The raised fingers in an image (h, w, 3): what is thinner than half the palm. None without any skin.

    `hand` is the hand's mask, uint8 (h, w), 0..255.
    """
    is_hand, saturation = hand > _SOLID, saturation_of(image)
    if not is_hand.any():
        return None
    skin, wall = np.median(saturation[is_hand]), np.median(saturation[hand < _FAINT]) if (hand < _FAINT).any() else 0.0
    parts, count = ndimage.label(is_hand & (saturation > wall + _BETWEEN * (skin - wall)))
    if not count:
        return None
    sizes = ndimage.sum_labels(parts > 0, parts, range(1, count + 1))
    whole = ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sizes)))
    margin = int(_MARGIN * max(hand.shape))
    inner = np.s_[margin : margin + hand.shape[0], margin : margin + hand.shape[1]]
    depth = ndimage.distance_transform_edt(np.pad(whole, margin, mode="edge"))
    radius = float(depth[inner].max())
    rest = (ndimage.distance_transform_edt(depth <= _THICK * radius) <= _THICK * radius + 1)[inner] & whole
    parts, count = ndimage.label(whole & ~rest)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    raised = [parts == i for i in range(1, count + 1) if areas[i] > _SMALLEST * radius**2]
    middle = np.unravel_index(int(depth[inner].argmax()), hand.shape)
    return Fingers(tuple(_in_a_row(raised, middle)), rest)


def _in_a_row(raised: list[Mask], middle: tuple[np.intp, ...]) -> list[Mask]:
    """In the order of their directions from the palm's middle; the row begins after the widest gap."""
    if len(raised) < 2:
        return raised
    directions = np.array([np.arctan2(*(np.argwhere(finger).mean(axis=0) - middle)) for finger in raised])
    order = np.argsort(directions)
    gaps = np.diff(directions[order], append=directions[order[0]] + 2 * np.pi)
    return [raised[i] for i in np.roll(order, -1 - int(np.argmax(gaps)))]


def _without(
    image: NDArray[np.uint8],
    hand: NDArray[np.uint8],
    fingers: Fingers,
    gone: list[int],
    rng: np.random.Generator,
) -> NDArray[np.uint8] | None:
    """Paint the wall around a hand over some of its fingers, but for stubs; None if no wall is near them."""
    side = max(hand.shape)
    from_rest = ndimage.distance_transform_edt(~fingers.rest)
    tips = [fingers.raised[i] & (from_rest > rng.uniform(0, _STUB) * from_rest[fingers.raised[i]].max()) for i in gone]
    folded = np.any(tips, axis=0)
    kept = np.any([fingers.rest, *fingers.raised], axis=0) & ~folded
    nearer = ndimage.distance_transform_edt(~folded) <= ndimage.distance_transform_edt(~kept)
    covered = ndimage.binary_dilation(folded, iterations=max(1, round(_EDGE * side))) & ~kept & nearer
    sigma = _BLURRED * side
    is_wall = (hand < _FAINT).astype(np.float32)
    seen = ndimage.gaussian_filter(is_wall, sigma)
    if not covered.any() or seen[covered].min() < _LEAST_WALL:
        return None
    wall = ndimage.gaussian_filter(image * is_wall[:, :, None], (sigma, sigma, 0)) / np.maximum(seen, 1e-6)[:, :, None]
    over = ndimage.gaussian_filter(covered.astype(np.float32), _SOFT * side)[:, :, None]
    painted: NDArray[np.uint8] = np.clip(np.rint(image + over * (wall - image)), 0, 255).astype(np.uint8)
    return painted
