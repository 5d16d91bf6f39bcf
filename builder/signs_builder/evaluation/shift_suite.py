"""The shift suite: test pictures changed as in real use, to measure how well a classifier copes with it."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.embedded import HANDS
from signs_builder.data.hand_mask import draw_wall, find_hand
from signs_builder.data.image_changes import blur, compress, place, shine, to_uint8
from signs_builder.evaluation.scenes import Scene, show

SMALL, ACROSS, DOWN = (0.45, 0.7), (0.25, 0.75), (0.35, 0.65)
SLEEVE = (0.1, 0.4)

Shift = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]  # (h, w, 3) -> (h, w, 3)


def _lit(
    image: NDArray[np.uint8], *, gain: float = 1.0, contrast: float = 1.0, lamp: float = 1.0, direction: float = 0.0
) -> NDArray[np.uint8]:
    lit = shine(image.astype(np.float32), gain=gain, contrast=contrast, lamp=lamp, direction=direction)
    return to_uint8(lit)


def _cast(image: NDArray[np.uint8], red: float, green: float, blue: float) -> NDArray[np.uint8]:
    balance = np.array([red, green, blue], np.float32)
    return to_uint8(shine(image.astype(np.float32), balance=balance if image.shape[2] == 3 else None))


def _zoomed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    scale = rng.uniform(0.6, 1.4)
    room = 0.18 if scale < 1 else 0.08  # keeps a large hand inside the picture
    across, down = rng.uniform(-room, room, 2)
    return place(image, scale=scale, shift=(across, down))


def _other_wall(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    found = find_hand(image) if image.shape[2] == 3 else None
    if found is None:
        return image
    hand = (found / 255).astype(np.float32)[:, :, None]
    wall = draw_wall(image.shape[:2], rng)
    return to_uint8(wall + hand * (image - wall))


def _scene(image: NDArray[np.uint8], rng: np.random.Generator, scene: Scene) -> NDArray[np.uint8]:
    shown = show(image, scene, rng) if image.shape[2] == 3 else None
    return image if shown is None else shown


def _noisy(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return to_uint8(image + np.float32(15) * rng.standard_normal(image.shape, np.float32))


SHIFTS: dict[str, Shift] = {
    "mirrored": lambda image, rng: place(image, mirror=True),
    "turned up to 30 degrees": lambda image, rng: place(image, turn=rng.uniform(-30, 30)),
    "0.6 to 1.4 times the size, off-centre": _zoomed,
    "dim light": lambda image, rng: _lit(image, gain=0.5),
    "bright light": lambda image, rng: _lit(image, gain=1.5),
    "a lamp from the side": lambda image, rng: _lit(image, lamp=1.6, direction=rng.uniform(0, 360)),
    "warm cast": lambda image, rng: _cast(image, 1.2, 1.0, 0.75),
    "cold cast": lambda image, rng: _cast(image, 0.8, 1.0, 1.2),
    "low contrast": lambda image, rng: _lit(image, contrast=0.5),
    "high contrast": lambda image, rng: _lit(image, contrast=1.5),
    "another wall": _other_wall,
    "blur": lambda image, rng: to_uint8(blur(image.astype(np.float32), 1.2)),
    "noise": _noisy,
    "JPEG 30": lambda image, rng: compress(image, 30),
}
SCENES = {
    "a small hand, anywhere": Scene(SMALL, ACROSS, DOWN),
    "a sleeve": Scene(sleeve=SLEEVE),
    "a room": Scene(room=True),
    "a small hand in a sleeve in a room": Scene(SMALL, ACROSS, DOWN, sleeve=SLEEVE, room=True),
}
SHIFTS |= {name: partial(_scene, scene=scene) for name, scene in SCENES.items()}


def shifts_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The names of the shifts for pictures with these labels; scenes are for hands."""
    return tuple(name for name in SHIFTS if name not in SCENES or tuple(labels) == HANDS)


def shifted(images: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Apply the shift `name` of SHIFTS to all pictures, uint8 (n, h, w, channels); always with the same result.

    "another wall" and SCENES change only pictures in which `find_hand` finds a hand.
    """
    number = list(SHIFTS).index(name)
    changed = (SHIFTS[name](image, np.random.default_rng([number, i])) for i, image in enumerate(images))
    return np.stack(list(changed))
