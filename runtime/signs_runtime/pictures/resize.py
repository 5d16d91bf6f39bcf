"""Resizes a picture to the model's size: which part of it is used, where it is placed, and with which filter."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_runtime.pictures.input_spec import PILLOW_FILTERS, InputSpec
from signs_runtime.pictures.orientation import UPRIGHT, is_sideways, turned, turned_size

Box = tuple[float, float, float, float]  # left, top, right, bottom


def resize(image: Image.Image, spec: InputSpec, orientation: int = UPRIGHT) -> NDArray[np.uint8]:
    """Resize a picture to the model's size: uint8 of `spec.shape`, red first. `image` is RGB or L, as `spec.mode` is.

    `orientation` is the EXIF orientation of a picture that is too large to be turned first. It is shrunk and then
    turned, which gives the same pixels up to rounding.
    """
    if orientation == UPRIGHT and image.size == (spec.width, spec.height):
        pixels = np.asarray(image, dtype=np.uint8)
    elif spec.resize in PILLOW_FILTERS:
        pixels = np.asarray(_by_pillow(image, spec, orientation), dtype=np.uint8)
    else:
        from signs_runtime.pictures.sampled_filters import sample  # most bundles do not need it

        pixels = sample(image, spec, orientation)
    return pixels.reshape(spec.shape)


def _by_pillow(image: Image.Image, spec: InputSpec, orientation: int) -> Image.Image:
    """Resize as Pillow's own `resize`, `ImageOps.fit` and `ImageOps.pad` do."""
    whole = turned_size(image, orientation)
    target = (spec.width, spec.height)
    box = _centre(whole, target) if spec.fit == "crop" else (0, 0, *whole)
    size = _contained(whole, target) if spec.fit == "pad" else target
    if min(size) == 0:  # too thin: as in Pillow, nothing remains of it
        return Image.new(image.mode, target)
    if is_sideways(orientation):  # in the order of the turned picture: first across, then down
        left, top, right, bottom = box
        image = _stretch(image, (image.width, size[0]), (0, left, image.width, right), spec)
        image = _stretch(image, (size[1], size[0]), (top, 0, bottom, size[0]), spec)
    else:
        image = _stretch(image, size, box, spec)
    image = turned(image, orientation)
    if size == target:
        return image
    padded = Image.new(image.mode, target)
    padded.paste(image, (round((target[0] - size[0]) * 0.5), round((target[1] - size[1]) * 0.5)))
    return padded


def _stretch(image: Image.Image, size: tuple[int, int], box: Box, spec: InputSpec) -> Image.Image:
    return image.resize(size, Image.Resampling[spec.resize.upper()], box)


def _centre(whole: tuple[int, int], target: tuple[int, int]) -> Box:
    """The largest part of a picture (width, height) with the target's proportions, around its centre."""
    width, height = whole
    ratio, wanted = width / height, target[0] / target[1]
    if ratio == wanted:
        taken: tuple[float, float] = whole
    elif ratio >= wanted:
        taken = (wanted * height, height)
    else:
        taken = (width, width / wanted)
    left, top = (width - taken[0]) * 0.5, (height - taken[1]) * 0.5
    return left, top, left + taken[0], top + taken[1]


def _contained(whole: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The largest size with a picture's proportions that fits into the target; a side may round to 0."""
    ratio, wanted = whole[0] / whole[1], target[0] / target[1]
    if ratio > wanted:
        return target[0], round(whole[1] / whole[0] * target[0])
    if ratio < wanted:
        return round(whole[0] / whole[1] * target[1]), target[1]
    return target
