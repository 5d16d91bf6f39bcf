"""Chooses the layers that stay in float if int8 in all layers misses its budget: the noisiest, as few as possible."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.int8.prepare import Prepared
from signs_export.int8.quantize import quantize
from signs_export.onnx_graph import BATCH, start
from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT
from signs_runtime.decisions import margins
from signs_runtime.labels import Thresholds
from signs_runtime.proof.answers import Comparison

# The largest number of models that are tried. A count instead of a time limit, so that every machine exports the same
# model. A trial costs about as much as a proof at one batch size; one that misses ends early.
TRIALS = 8
_QUIETER = 4  # the next trial must have this many times less noise power while all trials miss


class Trial:
    """Checks whether a candidate is within its budget on these pictures, and stops early if it cannot be.

    `passes` judges the answers (n, labels) to `images`, uint8 (n, h, w, c). `expected` are Keras's answers; at most
    `flips` pictures may get another label. The pictures that Keras is least sure of come first.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        expected: NDArray[np.float32],
        passes: Callable[[NDArray[np.float32]], bool],
        flips: int,
        thresholds: Thresholds,
    ) -> None:
        self._order = np.argsort(margins(expected, thresholds), kind="stable")
        self._thresholds = thresholds
        self._images, self._expected, self._passes, self._flips = images, expected, passes, flips

    def __call__(self, candidate: onnx.ModelProto) -> bool:
        session = start(candidate)
        given = np.empty_like(self._expected)
        flips = 0
        for first in range(0, len(self._order), BATCH):
            chosen = self._order[first : first + BATCH]
            (given[chosen],) = session.run([OUTPUT], {INPUT: self._images[chosen]})
            flips += int(Comparison(self._expected[chosen], given[chosen], self._thresholds).flipped.sum())
            if flips > self._flips:
                return False
        return self._passes(given)


def leave_in_float(
    prepared: Prepared,
    noise: Mapping[str, float],
    is_good: Callable[[onnx.ModelProto], bool],
    *,
    progress: Progress = no_progress,
) -> onnx.ModelProto | None:
    """Find a model that is good with some layers in float; None if TRIALS trials find none.

    `noise` is what each layer alone adds to the answers. While trials miss, each next one leaves at least twice as many
    layers in float, and enough that a quarter of the noise is left. Then the number of layers is bisected, down to the
    last number that missed.
    """
    ranked = sorted(noise, key=lambda layer: -noise[layer])
    left = np.concatenate([[0.0], np.cumsum([noise[layer] for layer in reversed(ranked)])])[::-1]  # with the first k
    most = max(1, len(ranked) - 1)
    found: onnx.ModelProto | None = None
    too_few, count = 0, _fewest(left, left[0] / _QUIETER, 1, most)
    with progress("Leaving layers in float", TRIALS) as on_done:
        for _ in range(TRIALS):
            candidate = quantize(prepared, ranked[:count])
            good = is_good(candidate)
            on_done(1)
            if good:
                found, enough = candidate, count
            elif found is None and count == most:
                return None
            else:
                too_few = count
            if found is None:
                count = _fewest(left, left[count] / _QUIETER, 2 * count, most)
            elif enough - too_few > 1:
                count = (too_few + enough) // 2
            else:
                break
    return found


def _fewest(left: NDArray[np.float64], target: float, least: int, most: int) -> int:
    """The smallest number of layers, at least `least`, that leaves no more noise than `target`."""
    enough = np.flatnonzero(left <= target)
    return min(max(least, int(enough[0]) if len(enough) else most), most)
