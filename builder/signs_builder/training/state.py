"""What a training has come to: its epochs, the best of them, and how it ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Epoch:
    """One line of a training: `number` counts from 1; losses and accuracies (0..1) are means over the epoch."""

    number: int
    loss: float
    accuracy: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Training:
    """How a training went: every epoch, and the one whose weights the model has now."""

    history: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool


@dataclass
class State:
    """Where a training stands after an epoch: all that it needs to go on, its model apart."""

    epochs: list[Epoch]
    best_epoch: int | None = None  # None: none was validated
    best_weights: list[NDArray[Any]] | None = None  # Any: whatever the weights' dtypes are

    @property
    def last_is_best(self) -> bool:
        """Whether the last epoch was validated, and did better than all before it."""
        last = self.epochs[-1]
        return last.validation_loss is not None and last.number == _best(self.epochs)

    def is_out_of_patience(self, patience: int | None) -> bool:
        """Whether as many epochs as `patience` went by without a better one."""
        if patience is None or self.best_epoch is None:
            return False
        return len(self.epochs) - self.best_epoch >= patience


def _best(epochs: Sequence[Epoch]) -> int:
    """The epoch with the most validation pictures right; of several, the one with the smallest loss."""
    return max(epochs, key=lambda each: (each.validation_accuracy or 0.0, -_known(each.validation_loss))).number


def _known(loss: float | None) -> float:
    return math.inf if loss is None else loss
