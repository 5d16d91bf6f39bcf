"""Changes of position, light and camera, each by a given amount, for training and for the shift suite."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

REFERENCE_SIDE = 64  # pixels: blurs are given for pictures of this side and scaled to others
SEEN = 0.3  # pixels: a smaller blur is not applied


def place(
    image: NDArray[np.uint8],
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    turn: float = 0.0,
    scale: float = 1.0,
    mirror: bool = False,
    edge: float = 0.5,
) -> NDArray[np.uint8]:
    """Shift (shares of width and height), rotate (degrees), scale and mirror a picture, uint8 (h, w, channels).

    Areas from outside the picture repeat its edge, up to `edge` sides away; beyond that they are black.
    """
    height, width = image.shape[:2]
    margin = int(max(height, width) * edge)
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    side = -1.0 if mirror else 1.0
    cos, sin = math.cos(math.radians(turn)) / scale, math.sin(math.radians(turn)) / scale
    # The point of the padded picture that moves to (u, v): x = a u + b v + c, y = d u + e v + f.
    a, b, d, e = side * cos, side * sin, -sin, cos
    u, v = width * (0.5 + shift[0]), height * (0.5 + shift[1])
    c, f = margin + width / 2 - a * u - b * v, margin + height / 2 - d * u - e * v
    planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(padded, 2, 0))
    placed = (
        plane.transform((width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
        for plane in planes
    )
    return np.stack([np.asarray(plane) for plane in placed], axis=2)


def shine(
    pixels: NDArray[np.float32],
    *,
    gain: float = 1.0,
    contrast: float = 1.0,
    lamp: float = 1.0,
    direction: float = 0.0,
    balance: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Change the light of a picture, float32 (h, w, channels), 0..255.

    `gain` is brightness. `lamp` is how many times brighter the edge in `direction` (degrees) is than the middle.
    `balance` (channels,) is the white balance.
    """
    height, width, channels = pixels.shape
    turned = math.radians(direction)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(math.cos(turned))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(math.sin(turned))
    light = (np.float32(gain) * np.float32(lamp) ** (across + down))[:, :, None]
    middle = pixels.mean()
    white = np.ones(channels, np.float32) if balance is None else balance.astype(np.float32)
    lit: NDArray[np.float32] = ((pixels - middle) * np.float32(contrast) + middle) * (light * white)
    return lit


def blur(pixels: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Gaussian blur, float32 (h, w, channels) in and out; `radius` in pixels for a picture of 64 x 64."""
    radius *= max(pixels.shape[:2]) / REFERENCE_SIDE
    if radius < SEEN:
        return pixels
    image = Image.fromarray(to_uint8(pixels).squeeze())
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32).reshape(pixels.shape)


def compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compress the picture as JPEG at `quality` (1..95) and decode it again."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


def to_uint8(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round and clip to 0..255."""
    rounded: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return rounded
