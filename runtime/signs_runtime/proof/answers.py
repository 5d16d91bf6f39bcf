"""Compares two sets of answers to the same pictures: what differs, by how much, and where most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from signs_runtime.decisions import decide
from signs_runtime.labels import Thresholds


@dataclass(frozen=True)
class Comparison:
    """Expected and given probabilities, each (n, labels); nan if there is no answer."""

    expected: NDArray[np.float32]
    given: NDArray[np.float32]
    thresholds: Thresholds

    @property
    def pictures(self) -> int:
        return len(self.expected)

    @property
    def differences(self) -> NDArray[np.float32]:
        """The largest |probability difference| of each picture (n,); infinite if an answer is not a number."""
        differences: NDArray[np.float32] = np.abs(self.given - self.expected).max(axis=1)
        return np.nan_to_num(differences, nan=np.inf)

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """(n,): whether a picture has another label than expected, or no answer."""
        flipped: NDArray[np.bool_] = self.other_decisions.any(axis=1) | ~np.isfinite(self.differences)
        return flipped

    @property
    def other_decisions(self) -> NDArray[np.bool_]:
        """(n, labels): whether the decision on a label differs from the expected one."""
        other: NDArray[np.bool_] = decide(self.given, self.thresholds) != decide(self.expected, self.thresholds)
        return other

    @property
    def same_label(self) -> int:
        return self.pictures - int(self.flipped.sum())

    @property
    def max_difference(self) -> float:
        return float(self.differences.max())

    def worst(self, count: int) -> list[int]:
        """The indices of the pictures that differ most, flipped ones first."""
        order: list[int] = np.lexsort((-self.differences, ~self.flipped))[:count].tolist()
        return order
