"""The pictures that an int8 variant is calibrated on: chosen, checked, and altered as by other cameras."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.training.augment import augment
from signs_builder.training.recipe import Augmentation
from signs_export.errors import CalibrationError
from signs_runtime.pictures.input_spec import InputSpec

FEW = 100  # pictures: fewer do not show the ranges of activations
_OTHER_CAMERAS = Augmentation(shift=0.12, turn=24, zoom=0.4, mirror=0.5, light=0.4, tint=0.2, blur=0.8, noise=7)


@dataclass(frozen=True)
class Calibration:
    """Pictures, each followed by a copy as under other light or another camera, and warnings about them."""

    images: NDArray[np.uint8]  # (2n, h, w, c)
    warnings: tuple[str, ...]


def choose_calibration(dataset: Dataset, spec: InputSpec, count: int) -> Calibration:
    """Choose `count` training pictures in proportion to the classes, always the same, read as the runtime reads them.

    Pictures that also occur in the test split are skipped. Raises CalibrationError if none is left, and ImageError for
    a picture that cannot be read.
    """
    pictures = dataset.all_but_test
    tested = {_digest(dataset.test.image(i, spec)) for i in range(len(dataset.test))}
    chosen: list[int] = []
    images: list[NDArray[np.uint8]] = []
    both = 0
    for i in pictures.mixed().tolist():
        if len(chosen) == count:
            break
        image = pictures.image(i, spec)
        if _digest(image) in tested:
            both += 1
        else:
            chosen.append(i)
            images.append(image)
    if not chosen:
        why = "all of its training pictures are test pictures" if both else "it has no training pictures"
        raise CalibrationError(
            f"int8 cannot be calibrated on {dataset.name}: {why}. Add training pictures that are not test pictures, "
            "or leave int8 out."
        )
    doubts = _doubts(dataset, pictures.part(np.array(chosen)).shown(len(dataset.labels)))
    if both:
        doubts.append(f"int8's calibration skipped {both} training pictures that also occur in the test split.")
    rng = np.random.default_rng(0)
    shifted = np.stack([augment(image, _OTHER_CAMERAS, rng) for image in images])
    return Calibration(np.stack([images, shifted], axis=1).reshape(-1, *spec.shape), tuple(doubts))


def _doubts(dataset: Dataset, shown: NDArray[np.bool_]) -> list[str]:
    doubts = []
    if len(shown) < FEW:
        doubts.append(f"int8 is calibrated on {len(shown)} pictures; give {FEW} or more.")
    missing = [dataset.labels[i] for i in np.flatnonzero(~shown.any(axis=0))]
    if len(missing) == len(dataset.labels) - 1:
        doubts.append("int8 is calibrated on pictures of one class only; add training pictures of every class.")
    elif missing:
        doubts.append(
            f"int8 is calibrated without a picture of {', '.join(missing[:6])}; add training pictures of these labels."
        )
    return doubts


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()
