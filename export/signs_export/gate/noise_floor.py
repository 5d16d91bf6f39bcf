"""What float32 itself loses, in Keras, on the pictures of a proof: the floor that float32's tolerance stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.errors import ExportError
from signs_export.gate.rounding import rounded
from signs_export.source.layers import layers_of
from signs_export.source.reference import Reference
from signs_runtime.decisions import margins
from signs_runtime.labels import Thresholds

# An export that loses as much as Keras may be twice the floor from it; another batch size rounds otherwise again.
MULTIPLE = 4
LEAST = 2.0**-23  # of a probability: float32's own step at 1
LARGEST = 1e-3  # a tolerance above it would tell no good export from a bad one
UNKNOWN = 1e-5  # the tolerance where float64 cannot be computed; measured on SIGNS: at most 3e-6 to Keras
# Products of a number and a weight, over all pictures, that may be computed in float64: some 150 pictures of ResNet-50
# at 64x64. A count and no clock, so that the tolerance is the same wherever a model is exported.
WORK = 5e10
_FEWEST = 32
_UNSURE = 3 / 4  # of the pictures, where not all are asked about: those that Keras is least sure of
_ALONE = 12  # pictures that are asked about one by one, too: those on which float32 loses most


@dataclass(frozen=True)
class NoiseFloor:
    """The largest |probability difference| between Keras in float32 and in float64, on `pictures` of `among`.

    They are those that Keras is least sure of and others, evenly chosen; Keras sums in several orders. None: float64
    cannot be computed.
    """

    pictures: int
    max_difference: float | None
    among: int = 0
    rebuilt: float | None = None  # how far a model that Keras 2 saved is off in Keras 3, on all pictures
    has_temperature: bool = False  # which only Keras 3's has

    @property
    def tolerance(self) -> float:
        """The largest |probability difference| to Keras that a float32 export may have."""
        if self.max_difference is None:
            return UNKNOWN
        return min(MULTIPLE * max(self.max_difference, LEAST), LARGEST)

    @property
    def says(self) -> str:
        """In words, for the report."""
        return self._says + self._says_of_rebuilding

    @property
    def _says_of_rebuilding(self) -> str:
        if self.rebuilt is None:
            return ""
        if self.has_temperature:
            return (
                " Keras 2 saved this model. Rebuilt in Keras 3, and before its temperature, it differs from what "
                f"tf_keras, which continues Keras 2, answers by at most {self.rebuilt:.1e}."
            )
        return (
            " Keras 2 saved this model. What tf_keras, which continues Keras 2, answers is the reference; rebuilt in "
            f"Keras 3, the model differs from it by at most {self.rebuilt:.1e}."
        )

    @property
    def _says(self) -> str:
        if self.max_difference is None:
            return f"Keras cannot compute this model in float64; float32's tolerance is a fixed {UNKNOWN:.1e}."
        reason = f"{MULTIPLE} times that"
        if self.max_difference < LEAST:
            reason = f"{MULTIPLE} times its last digit at 1, which is more"
        elif self.tolerance == LARGEST:
            reason = "as much as may be allowed"
        which = f"all {self.pictures:,} pictures"
        if self.pictures < self.among:
            which = f"{self.pictures:,} of {self.among:,} pictures, the least sure ones and others, evenly chosen"
        return (
            f"float32 itself loses up to {self.max_difference:.1e} of a probability in Keras, compared with float64, "
            f"on {which}, compiled and layer by layer, in batches and alone, and with other rounding "
            f"errors in each layer; float32's tolerance is {reason}: {self.tolerance:.1e}."
        )


def float64_of(reference: Reference) -> Reference | None:
    """The same classifier in float64; None where it cannot be computed."""
    try:
        return reference.in_float64()
    except ExportError:
        return None


def work_of(reference: Reference, values: Mapping[str, NDArray[np.generic]]) -> int:
    """Products for one picture, roughly: each layer's weights times the places it gives; `values` (k, ...) by layer."""
    products = sum(
        prod(values[layer.name].shape[1:-1]) * int(layer.count_params())
        for layer in layers_of(reference.model)
        if layer.name in values
    )
    return max(products, prod(reference.input.shape))


def choose_pictures(expected: NDArray[np.float32], work: int, thresholds: Thresholds = ()) -> NDArray[np.int64]:
    """The places of the pictures to ask about in float64, of which each costs `work`: all, where they are few enough.

    A picture loses most where its probabilities are unsure or its logits large, so both kinds are among them.
    """
    count = max(_FEWEST, int(WORK // work))
    if count >= len(expected):
        return np.arange(len(expected))
    by_margin = np.argsort(margins(expected, thresholds), kind="stable")
    unsure = by_margin[: round(_UNSURE * count)]
    others = np.setdiff1d(np.arange(len(expected)), unsure)
    even = others[np.linspace(0, len(others) - 1, count - len(unsure)).round().astype(int)]
    return np.concatenate([unsure, even])


def measure_floor(
    reference: Reference,
    double: Reference | None,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    work: int,
    *,
    progress: Progress = no_progress,
) -> NoiseFloor:
    """Ask Keras in float64 about some of the pictures (n, h, w, c), and in float32 in other orders than `expected`.

    `expected` (n, labels) are its compiled answers, `work` is `work_of` the reference.
    """
    if double is None:
        return NoiseFloor(0, None)
    chosen = choose_pictures(expected, work, reference.thresholds)
    with progress("Asking Keras in float64", len(chosen)) as on_done:
        exact = double.probabilities(images[chosen], on_done)
    lost = np.abs(expected[chosen] - exact).max(axis=1)
    if reference.model.inputs[0].shape[0] is None:  # a model of a fixed batch takes no other
        layerwise = reference.uncompiled_probabilities(images[chosen])
        lost = np.maximum(lost, np.abs(layerwise - exact).max(axis=1))
        with rounded(reference.model, "float32"):
            moved = reference.uncompiled_probabilities(images[chosen])
        lost = np.maximum(lost, np.abs(moved - exact).max(axis=1))
        worst = np.argsort(-lost, kind="stable")[:_ALONE]
        alone = reference.uncompiled_probabilities(images[chosen[worst]], batch_size=1)
        lost[worst] = np.maximum(lost[worst], np.abs(alone - exact[worst]).max(axis=1))
    return NoiseFloor(len(chosen), float(lost.max()), len(images))
