"""What float32 itself loses, in Keras, on the pictures of a proof: the floor that float32's tolerance stands on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.errors import ExportError
from signs_export.source.reference import Reference

# An export that loses as much as Keras may be twice the floor from it; another batch size rounds otherwise again.
MULTIPLE = 4
LEAST = 2.0**-23  # of a probability: float32's own step at 1
LARGEST = 1e-3  # a tolerance above it would tell no good export from a bad one
UNKNOWN = 1e-5  # the tolerance where float64 cannot be computed; measured on SIGNS: at most 3e-6 to Keras
_PICTURES = 100  # of 64x64, fewer of larger ones
_FEWEST = 24


@dataclass(frozen=True)
class NoiseFloor:
    """The largest |probability difference| between Keras in float32 and in float64, on so many pictures.

    They are those that Keras is least sure of, where the largest difference is. None: float64 cannot be computed.
    """

    pictures: int
    max_difference: float | None

    @property
    def tolerance(self) -> float:
        """The largest |probability difference| to Keras that a float32 export may have."""
        if self.max_difference is None:
            return UNKNOWN
        return min(MULTIPLE * max(self.max_difference, LEAST), LARGEST)

    @property
    def says(self) -> str:
        if self.max_difference is None:
            return f"Keras cannot compute this model in float64; float32's tolerance is a fixed {UNKNOWN:.1e}."
        reason = f"{MULTIPLE} times that"
        if self.max_difference < LEAST:
            reason = f"{MULTIPLE} times its last digit at 1, which is more"
        elif self.tolerance == LARGEST:
            reason = "as much as may be allowed"
        return (
            f"float32 itself loses up to {self.max_difference:.1e} of a probability in Keras, beside float64, on the "
            f"{self.pictures:,} pictures that it is least sure of; float32's tolerance is {reason}: "
            f"{self.tolerance:.1e}."
        )


def float64_of(reference: Reference) -> Reference | None:
    """The same classifier in float64; None where it cannot be computed."""
    try:
        return reference.in_float64()
    except ExportError:
        return None


def measure_floor(
    double: Reference | None,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    *,
    progress: Progress = no_progress,
) -> NoiseFloor:
    """Ask Keras in float64 about the pictures (n, h, w, c) of which `expected` (n, labels) is least sure."""
    if double is None:
        return NoiseFloor(0, None)
    count = int(np.clip(_PICTURES * 64**2 / (images.shape[1] * images.shape[2]), _FEWEST, _PICTURES))
    top = np.sort(expected, axis=1)
    unsure = np.argsort(top[:, -1] - top[:, -2], kind="stable")[:count]
    with progress("Asking Keras in float64", len(unsure)) as on_done:
        exact = double.probabilities(images[unsure], on_done)
    return NoiseFloor(len(unsure), float(np.abs(exact - expected[unsure]).max()))
