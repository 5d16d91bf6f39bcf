"""The libraries that people read pictures with: what each makes of a file, for the runtime to be held to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageOps

from signs_runtime.pictures.input_spec import FITS, PILLOW_FILTERS, RESIZE_FILTERS, InputSpec

_OPENCV = {"cv2-nearest": cv2.INTER_NEAREST, "cv2-linear": cv2.INTER_LINEAR, "cv2-area": cv2.INTER_AREA}


def all_readings() -> Iterator[InputSpec]:
    """Every filter with every fit."""
    for resize in RESIZE_FILTERS:
        for fit in FITS:
            yield InputSpec(64, 64, resize=resize, fit=fit)


def original(path: Path, spec: InputSpec) -> NDArray[Any]:
    """The pixels of a file as the library that `spec.resize` is named for reads it, of `spec.shape`."""
    if spec.resize in PILLOW_FILTERS:
        return _by_pillow(path, spec)
    pixels = np.asarray(Image.open(path).convert(spec.mode)).reshape(*Image.open(path).size[::-1], -1)
    return _by_tensorflow(pixels, spec) if spec.resize.startswith("tf-") else _by_opencv(pixels, spec)


def _by_pillow(path: Path, spec: InputSpec) -> NDArray[Any]:
    size, method = (spec.width, spec.height), Image.Resampling[spec.resize.upper()]
    if spec.fit == "stretch":
        mode = "grayscale" if spec.mode == "L" else "rgb"
        return np.asarray(keras.utils.load_img(path, mode, size[::-1], spec.resize)).reshape(spec.shape)
    fitted: Callable[..., Image.Image] = ImageOps.fit if spec.fit == "crop" else ImageOps.pad
    return np.asarray(fitted(Image.open(path).convert(spec.mode), size, method)).reshape(spec.shape)


def _by_tensorflow(pixels: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    size, method = (spec.height, spec.width), spec.resize.removeprefix("tf-")
    values = tf.constant(pixels.astype(np.float32))
    if spec.fit == "stretch":
        return np.asarray(tf.image.resize(values, size, method))
    if spec.fit == "crop":
        return np.asarray(keras.preprocessing.image.smart_resize(values, size, method))
    return np.asarray(keras.ops.image.resize(values, size, method, pad_to_aspect_ratio=True))


def _by_opencv(pixels: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """OpenCV has no fits of its own: cropped and padded in whole pixels, as Keras does, then resized."""
    height, width = pixels.shape[:2]
    own_height, own_width = width * spec.height // spec.width, height * spec.width // spec.height
    if spec.fit == "crop":
        wide, high = max(1, min(width, own_width)), max(1, min(height, own_height))
        left, top = (width - wide) // 2, (height - high) // 2
        pixels = np.ascontiguousarray(pixels[top : top + high, left : left + wide])
    elif spec.fit == "pad":
        down, across = max(0, own_height - height) // 2, max(0, own_width - width) // 2
        pixels = cv2.copyMakeBorder(pixels, down, down, across, across, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    resized = cv2.resize(pixels, (spec.width, spec.height), interpolation=_OPENCV[spec.resize])
    return resized.reshape(spec.shape)


def write_pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Pictures of many sizes and proportions, from 1 to 600 pixels a side, of noise and of smooth colours."""
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        width, height = (int(side) for side in rng.integers(1, 600, 2))
        if i % 5 == 0:  # whole multiples, which OpenCV treats apart
            width, height = (64 * int(times) for times in rng.integers(1, 9, 2))
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        if i % 2:
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        paths.append(folder / f"{i:03}_{width}x{height}.png")
        Image.fromarray(pixels).save(paths[-1], compress_level=1)
    return paths
