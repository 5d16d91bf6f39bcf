"""Resizes like TensorFlow and OpenCV, with their own arithmetic, so that a device needs neither of them.

Sources: TensorFlow's `image_resizer_state.h`, `resize_bilinear_op.cc` and Keras's `smart_resize`; OpenCV's
`modules/imgproc/src/resize.cpp`, on x86. The tests compare each filter with its original.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_runtime.pictures.input_spec import InputSpec, SampledFilter
from signs_runtime.pictures.orientation import is_sideways, mirrors, turned, turned_size

_AT_ONCE = 2**21  # pixels of a strip; from larger pictures than 8 times this, only the needed lines are copied
_EVERY = 4  # if fewer than one in so many lines of a picture are needed, only those are copied
_FIXED = 2048  # OpenCV's weights are integers that add up to this

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class _Span:
    """The part of one axis that is used: `length` pixels from `start` on, black beyond the picture's edges."""

    start: int
    length: int


def sample(image: Image.Image, spec: InputSpec, orientation: int) -> NDArray[np.uint8]:
    """Resize `image` to the model's size: uint8 (height, width) or (height, width, 3)."""
    across, down = _spans(turned_size(image, orientation), spec)
    if spec.resize == "cv2-area" and across.length >= spec.width and down.length >= spec.height:
        return _averaged(image, spec, orientation)
    steps = _STEPS[spec.resize]  # type: ignore[index]  # not one of Pillow's
    columns, rows = steps(across.length, spec.width), steps(down.length, spec.height)
    if rows.share is None or columns.share is None:
        return _pixels(image, orientation, rows.first + down.start, columns.first + across.start)
    lines = np.concatenate([rows.first, rows.second]) + down.start
    corners = _pixels(image, orientation, lines, np.concatenate([columns.first, columns.second]) + across.start)
    left, right = corners[:, : spec.width], corners[:, spec.width :]
    mixed = _mixed_in_float if spec.resize == "tf-bilinear" else _mixed_in_integers
    across_share = np.where(columns.first == columns.second, np.float32(0), columns.share)
    return mixed(left, right, _along(across_share, 1, left), _along(rows.share, 0, left))


def _spans(whole: tuple[int, int], spec: InputSpec) -> tuple[_Span, _Span]:
    """The parts that are used across and down, in whole pixels, as Keras crops and pads."""
    width, height = whole
    if spec.fit == "stretch":
        return _Span(0, width), _Span(0, height)
    # float32, as TensorFlow computes it for Keras.
    own_height = int(np.float32(width * spec.height) / np.float32(spec.width))
    own_width = int(np.float32(height * spec.width) / np.float32(spec.height))
    if spec.fit == "crop":
        taken = max(1, min(width, own_width)), max(1, min(height, own_height))
        return _Span((width - taken[0]) // 2, taken[0]), _Span((height - taken[1]) // 2, taken[1])
    border = (max(width, own_width) - width) // 2, (max(height, own_height) - height) // 2
    return _Span(-border[0], width + 2 * border[0]), _Span(-border[1], height + 2 * border[1])


@dataclass(frozen=True)
class _Steps:
    """For each new pixel along an axis: the two old pixels around it, and the share of the second."""

    first: Indices
    second: Indices
    share: NDArray[np.float32] | None  # None: only the first one counts


def _tf_nearest(old: int, new: int) -> _Steps:
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * (np.float32(old) / np.float32(new))
    nearest = np.minimum(np.floor(places).astype(np.int64), old - 1)
    return _Steps(nearest, nearest, None)


def _tf_bilinear(old: int, new: int) -> _Steps:
    scale, half = np.float32(old) / np.float32(new), np.float32(0.5)
    places = (np.arange(new, dtype=np.float32) + half) * scale - half
    below = np.floor(places)
    first = np.maximum(below.astype(np.int64), 0)
    return _Steps(first, np.minimum(np.ceil(places).astype(np.int64), old - 1), places - below)


def _cv2_nearest(old: int, new: int) -> _Steps:
    nearest = np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(np.int64), old - 1)
    return _Steps(nearest, nearest, None)


def _cv2_linear(old: int, new: int) -> _Steps:
    places = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
    below = np.floor(places)
    return _between(below.astype(np.int64), places - below, old)


def _cv2_area(old: int, new: int) -> _Steps:
    """OpenCV's method for an axis that grows: each new pixel lies inside one old pixel or across the border of two."""
    below = np.floor(np.arange(new) * (1 / (new / old))).astype(np.int64)
    share = (np.arange(1, new + 1) - (below + 1) * (new / old)).astype(np.float32)
    return _between(below, np.where(share <= 0, np.float32(0), share - np.floor(share)), old)


def _between(below: Indices, share: NDArray[np.float32], old: int) -> _Steps:
    return _Steps(np.clip(below, 0, old - 1), np.clip(below + 1, 0, old - 1), share)


_STEPS: dict[SampledFilter, Callable[[int, int], _Steps]] = {
    "tf-nearest": _tf_nearest,
    "tf-bilinear": _tf_bilinear,
    "cv2-nearest": _cv2_nearest,
    "cv2-linear": _cv2_linear,
    "cv2-area": _cv2_area,
}


def _along(share: NDArray[np.float32], axis: int, like: NDArray[Any]) -> NDArray[np.float32]:
    """Reshape shares along one axis so that they can be multiplied with pixels."""
    return share.reshape([-1 if each == axis else 1 for each in range(like.ndim)])


def _mixed_in_float(
    left: NDArray[np.uint8], right: NDArray[np.uint8], across: NDArray[np.float32], down: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """TensorFlow's mean of four pixels; `left` and `right` each hold the upper lines, then the lower ones."""
    first = left.astype(np.float32)
    lines = first + (right.astype(np.float32) - first) * across
    upper, lower = np.split(lines, 2)
    mean: NDArray[np.uint8] = np.rint(upper + (lower - upper) * down).astype(np.uint8)
    return mean


def _mixed_in_integers(
    left: NDArray[np.uint8], right: NDArray[np.uint8], across: NDArray[np.float32], down: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """OpenCV's mean of four pixels, in its fixed-point arithmetic."""
    first, second = (np.rint(share * _FIXED).astype(np.int32) for share in (1 - across, across))
    lines = (left * first + right * second) >> 4
    upper, lower = np.split(lines, 2)
    first, second = (np.rint(share * _FIXED).astype(np.int32) for share in (1 - down, down))
    mean: NDArray[np.uint8] = ((((upper * first) >> 16) + ((lower * second) >> 16) + 2) >> 2).astype(np.uint8)
    return mean


def _pixels(image: Image.Image, orientation: int, rows: Indices, columns: Indices) -> NDArray[np.uint8]:
    """The pixels of the turned picture in these rows and columns; black beyond its edges."""
    width, height = turned_size(image, orientation)
    inside = np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    sideways = is_sideways(orientation)
    upside_down, right_to_left = mirrors(orientation)
    rows = height - 1 - rows if upside_down else rows
    columns = width - 1 - columns if right_to_left else columns
    pixels = _crossings(image, columns, rows).swapaxes(0, 1) if sideways else _crossings(image, rows, columns)
    if not inside.all():
        pixels[~inside] = 0
    return pixels


def _crossings(image: Image.Image, rows: Indices, columns: Indices) -> NDArray[np.uint8]:
    """The pixels in these rows and columns, (rows, columns) or (rows, columns, 3)."""
    kinds, where = np.unique(rows, return_inverse=True)
    if image.height <= _EVERY * len(kinds) and image.width * image.height <= 8 * _AT_ONCE:
        return np.asarray(image)[rows[:, None], columns]
    lines = [np.asarray(image.crop((0, row, image.width, row + 1)))[:, columns] for row in kinds.tolist()]
    return np.concatenate(lines)[where]


def _averaged(image: Image.Image, spec: InputSpec, orientation: int) -> NDArray[np.uint8]:
    """OpenCV's mean of all old pixels that a new pixel covers; neither axis grows."""
    sideways = is_sideways(orientation)
    size = (spec.height, spec.width) if sideways else (spec.width, spec.height)
    width, height = turned_size(image, orientation)
    across, down = _spans((width, height), spec)
    upside_down, right_to_left = mirrors(orientation)
    across = _Span(width - across.start - across.length, across.length) if right_to_left else across
    down = _Span(height - down.start - down.length, down.length) if upside_down else down
    if sideways:
        across, down = down, across
    wide, high = across.length / size[0], down.length / size[1]
    whole = wide == int(wide) and high == int(high)
    shares = _whole_shares if whole else _covered_shares
    columns = shares(across.length, size[0]).within(across.start, image.width)
    rows = shares(down.length, size[1]).within(down.start, image.height)
    total = _summed_both(image, rows, columns)
    if not whole:
        mean = np.rint(total)
    elif wide == high == 2:
        mean = (total + 2) >> 2
    else:
        mean = np.rint(total.astype(np.float32) * (np.float32(1) / np.float32(wide * high)))
    return np.asarray(turned(Image.fromarray(mean.astype(np.uint8)), orientation))


@dataclass(frozen=True)
class _Shares:
    """The old pixels that each new pixel along an axis covers, in their order, and the share of each."""

    places: Indices  # (steps, new)
    shares: NDArray[Any]  # (steps, new), of int64 or float32; 0 if a new pixel covers fewer

    def within(self, start: int, length: int) -> "_Shares":
        """The same places, moved by `start` in a picture of `length` pixels; outside of it, shares are 0."""
        places = self.places + start
        inside = (places >= 0) & (places < length)
        return _Shares(np.clip(places, 0, length - 1), np.where(inside, self.shares, self.shares.dtype.type(0)))

    def sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum `values` along its first axis into new pixels, in OpenCV's order."""
        total = np.zeros((self.places.shape[1], *values.shape[1:]), self.shares.dtype)
        covered = self.shares.any(axis=0)  # not entirely border
        summed = total[covered]
        for places, shares in zip(self.places[:, covered], self.shares[:, covered], strict=True):
            summed += values[places] * _along(shares, 0, values)
        total[covered] = summed
        return total


def _whole_shares(old: int, new: int) -> _Shares:
    times = old // new
    places = np.arange(old).reshape(new, times).T
    return _Shares(places, np.ones(places.shape, np.int64))


def _covered_shares(old: int, new: int) -> _Shares:
    """The old pixels that a new one covers, as OpenCV counts: part of the first, whole ones, part of the last."""
    scale = 1 / (new / old)
    begin, end = np.arange(new) * scale, (np.arange(new) + 1) * scale
    covered = np.minimum(scale, old - begin)
    first = np.ceil(begin).astype(np.int64)
    last = np.minimum(np.floor(end).astype(np.int64), old - 1)
    first = np.minimum(first, last)
    before, after = first - begin, end - last
    places, shares = [np.maximum(first - 1, 0)], [np.where(before > _SLIVER, before / covered, 0)]
    for step in range(int((last - first).max(initial=0))):
        places.append(np.minimum(first + step, old - 1))
        shares.append(np.where(first + step < last, 1 / covered, 0))
    places.append(last)
    shares.append(np.where(after > _SLIVER, np.minimum(np.minimum(after, 1), covered) / covered, 0))
    return _Shares(np.stack(places), np.stack(shares).astype(np.float32))


_SLIVER = 1e-3  # of a pixel; OpenCV ignores smaller parts


def _summed_both(image: Image.Image, rows: _Shares, columns: _Shares) -> NDArray[Any]:
    """Sum the pixels in `rows` and `columns` strip by strip: (new, new) or (new, new, 3)."""
    channels = () if image.mode == "L" else (3,)
    total = np.zeros((rows.places.shape[1], columns.places.shape[1], *channels), rows.shares.dtype)
    used = np.where(rows.shares != 0, rows.places, -1)
    tops, bottoms = np.where(used < 0, image.height, used).min(axis=0), used.max(axis=0) + 1
    start = 0
    while start < len(total):
        end = start + 1
        while end < len(total) and (bottoms[end] - tops[start : end + 1].min()) * image.width <= _AT_ONCE:
            end += 1
        top, bottom = int(tops[start:end].min()), int(bottoms[start:end].max())
        if top < bottom:
            strip = np.asarray(image.crop((0, top, image.width, bottom)))
            lines = columns.sum(strip.swapaxes(0, 1)).swapaxes(0, 1)
            places = np.clip(rows.places[:, start:end] - top, 0, len(lines) - 1)
            total[start:end] = _Shares(places, rows.shares[:, start:end]).sum(lines)
        start = end
    return total
