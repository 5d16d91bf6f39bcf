"""Draws textures, natural and artificial: pictures that show none of a classifier's labels."""

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]  # (size, size), of any range


def draw_textures(count: int, *, size: int, seed: int, first: int = 0) -> NDArray[np.uint8]:
    """Draw `count` square textures, uint8 (count, size, size, 3), of all kinds in turn, each with its own seed."""
    return np.stack([_texture(np.random.default_rng((seed, first + i)), first + i, size) for i in range(count)])


def _texture(rng: np.random.Generator, number: int, size: int) -> NDArray[np.uint8]:
    """Mix two maps in three colours, under light that varies over the picture."""
    kinds = (_KINDS[number % len(_KINDS)], _KINDS[int(rng.integers(len(_KINDS)))])
    main, other = (_spread(kind(rng, size)) for kind in kinds)
    colours = rng.uniform(0, 255, (3, 3))
    share = rng.uniform(0, 0.5)
    picture = (1 - share) * _between(main, *colours[:2]) + share * _between(other, *colours[1:])
    light = 1 + rng.uniform(0, 0.4) * (_spread(_slope(rng, size)) - 0.5)
    noise = rng.normal(0, rng.uniform(0, 8), picture.shape)
    return np.clip(picture * light[..., None] + noise, 0, 255).round().astype(np.uint8)


def _between(values: Map, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + values[..., None] * (high - low)


def _spread(values: Map) -> Map:
    low, high = values.min(), values.max()
    spread: Map = (values - low) / max(high - low, 1e-9)
    return spread


def _places(size: int) -> tuple[Map, Map]:
    y, x = np.mgrid[:size, :size] / size
    return y, x


def _cloud(rng: np.random.Generator, size: int) -> Map:
    """Noise whose power falls with the square of the frequency, as in photographs of nature."""
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequencies[0, 0] = np.inf
    waves = np.fft.fft2(rng.normal(size=(size, size))) / frequencies ** rng.uniform(0.7, 1.6)
    cloud: Map = np.fft.ifft2(waves).real
    return cloud


def _grain(rng: np.random.Generator, size: int) -> Map:
    """A cloud stretched along one axis, like wood, cloth or water."""
    cloud = _cloud(rng, size)
    rows = np.linspace(0, size - 1, size // int(rng.integers(4, 9)) + 2).round().astype(int)
    stretched = np.stack([np.interp(np.arange(size), np.linspace(0, size - 1, len(rows)), row[rows]) for row in cloud])
    return stretched if rng.random() < 0.5 else stretched.T


def _slope(rng: np.random.Generator, size: int) -> Map:
    y, x = _places(size)
    angle = rng.uniform(0, 2 * np.pi)
    slope: Map = np.cos(angle) * x + np.sin(angle) * y
    return slope


def _stripes(rng: np.random.Generator, size: int) -> Map:
    waves = np.sin(2 * np.pi * rng.uniform(2, 14) * _slope(rng, size) + rng.uniform(0, 6))
    return waves if rng.random() < 0.5 else np.sign(waves)


def _squares(rng: np.random.Generator, size: int) -> Map:
    y, x = _places(size)
    count = rng.uniform(2, 10)
    squares: Map = ((x * count).astype(int) + (y * count * rng.uniform(0.5, 2)).astype(int)) % 2.0
    return squares


def _stones(rng: np.random.Generator, size: int) -> Map:
    """Cells around random points: each place shows the distance to the nearest point, or which point it is."""
    y, x = _places(size)
    points = rng.random((int(rng.integers(6, 40)), 2))
    distances = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1])
    stones: Map = distances.min(axis=-1) if rng.random() < 0.5 else rng.random(len(points))[distances.argmin(axis=-1)]
    return stones


_KINDS = (_cloud, _stripes, _stones, _grain, _slope, _squares)
