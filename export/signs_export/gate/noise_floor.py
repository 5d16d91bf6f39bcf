"""Measures what float32 itself loses in Keras on the pictures of a proof; float32's tolerance is based on it."""

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

# An export that loses as much as Keras may be twice the floor away; other batch sizes round differently again.
MULTIPLE = 4
LEAST = 2.0**-23  # of a probability: float32's spacing at 1
LARGEST = 1e-3  # with a larger tolerance, bad exports would pass
UNKNOWN = 1e-5  # the tolerance if float64 cannot be computed; measured on SIGNS: at most 3e-6 from Keras
# Multiplications by a weight, over all pictures, that may be computed in float64: about 150 pictures for ResNet-50 at
# 64x64. A count rather than a time, so that the tolerance is the same on every machine.
WORK = 5e10
_FEWEST = 32
_UNSURE = 3 / 4  # of the pictures, if not all are computed, are those that Keras is least sure of
_ALONE = 12  # pictures, those on which float32 loses most, are also computed one by one


@dataclass(frozen=True)
class NoiseFloor:
    """The largest |probability difference| between Keras in float32 and in float64, on `pictures` of `among`.

    The pictures are those that Keras is least sure of, and others, evenly chosen. Keras sums in several orders. None:
    float64 cannot be computed.
    """

    pictures: int
    max_difference: float | None
    among: int = 0
    rebuilt: float | None = None  # how far a model that Keras 2 saved is off in Keras 3, on all pictures
    has_temperature: bool = False  # which only the model in Keras 3 has

    @property
    def tolerance(self) -> float:
        """The largest |probability difference| to Keras that a float32 export may have."""
        if self.max_difference is None:
            return UNKNOWN
        return min(MULTIPLE * max(self.max_difference, LEAST), LARGEST)

    @property
    def says(self) -> str:
        """The measurement as sentences, for the report."""
        return self._says + self._says_of_rebuilding

    @property
    def _says_of_rebuilding(self) -> str:
        if self.rebuilt is None:
            return ""
        if self.has_temperature:
            return (
                " Keras 2 saved this model. Rebuilt in Keras 3, and without its temperature, its probabilities differ "
                f"by at most {self.rebuilt:.1e} from those of tf_keras, the successor of Keras 2."
            )
        return (
            " Keras 2 saved this model. The reference is tf_keras, the successor of Keras 2. Rebuilt in Keras 3, the "
            f"model's probabilities differ by at most {self.rebuilt:.1e} from it."
        )

    @property
    def _says(self) -> str:
        if self.max_difference is None:
            return f"Keras cannot compute this model in float64, so float32's tolerance is a fixed {UNKNOWN:.1e}."
        reason = f"{MULTIPLE} times that loss"
        if self.max_difference < LEAST:
            reason = f"{MULTIPLE} times float32's spacing at 1, which is larger than the loss"
        elif self.tolerance == LARGEST:
            reason = "the largest allowed"
        which = f"all {self.pictures:,} pictures"
        if self.pictures < self.among:
            which = f"{self.pictures:,} of {self.among:,} pictures (the least certain, and others, evenly chosen)"
        return (
            f"In Keras, float32 itself loses up to {self.max_difference:.1e} of a probability compared with float64, "
            f"on {which}, with several orders of summation and other rounding errors in each layer. "
            f"float32's tolerance is {reason}: {self.tolerance:.1e}."
        )


def float64_of(reference: Reference) -> Reference | None:
    """The same classifier in float64; None if it cannot be computed."""
    try:
        return reference.in_float64()
    except ExportError:
        return None


def work_of(reference: Reference, values: Mapping[str, NDArray[np.generic]]) -> int:
    """Multiplications for one picture, roughly: each layer's weights times its output positions.

    `values` holds each layer's outputs (k, ...).
    """
    products = sum(
        prod(values[layer.name].shape[1:-1]) * int(layer.count_params())
        for layer in layers_of(reference.model)
        if layer.name in values
    )
    return max(products, prod(reference.input.shape))


def choose_pictures(expected: NDArray[np.float32], work: int, thresholds: Thresholds = ()) -> NDArray[np.int64]:
    """The indices of the pictures to compute in float64, each of which costs `work`: all of them, if few enough.

    Float32 loses most on pictures with unsure probabilities or large logits, so both kinds are chosen.
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
    """Compare Keras in float64, on some of the pictures (n, h, w, c), with float32 in several orders of summation.

    `expected` (n, labels) holds Keras's compiled answers; `work` is `work_of` the reference.
    """
    if double is None:
        return NoiseFloor(0, None)
    chosen = choose_pictures(expected, work, reference.thresholds)
    with progress("Asking Keras in float64", len(chosen)) as on_done:
        exact = double.probabilities(images[chosen], on_done)
    lost = np.abs(expected[chosen] - exact).max(axis=1)
    if reference.model.inputs[0].shape[0] is None:  # a model with a fixed batch size takes no other
        with progress("Asking Keras with other orders of sums", 0):
            layerwise = reference.uncompiled_probabilities(images[chosen])
            lost = np.maximum(lost, np.abs(layerwise - exact).max(axis=1))
            with rounded(reference.model, "float32"):
                moved = reference.uncompiled_probabilities(images[chosen])
            lost = np.maximum(lost, np.abs(moved - exact).max(axis=1))
            worst = np.argsort(-lost, kind="stable")[:_ALONE]
            alone = reference.uncompiled_probabilities(images[chosen[worst]], batch_size=1)
            lost[worst] = np.maximum(lost[worst], np.abs(alone - exact[worst]).max(axis=1))
    return NoiseFloor(len(chosen), float(lost.max()), len(images))
