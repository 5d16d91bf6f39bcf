"""The state of a training: its epochs, the best one, and how it ended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch. `number` counts from 1; losses and accuracies (0..1) are means over the epoch."""

    number: int
    loss: float
    accuracy: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Training:
    """A finished training: its epochs, and the epoch whose weights the model has now."""

    history: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool


@dataclass
class State:
    """The state of a training after an epoch: all that it needs to continue, except the model."""

    epochs: list[Epoch]
    best_epoch: int | None = None  # None: no epoch was validated
    best_weights: list[NDArray[Any]] | None = None  # Any: the weights' dtypes

    @property
    def last_is_best(self) -> bool:
        """Whether the last epoch was validated and is better than all before."""
        last = self.epochs[-1]
        return last.validation_loss is not None and last.number == _best(self.epochs)

    def is_out_of_patience(self, patience: int | None) -> bool:
        """Whether `patience` epochs have passed without improvement."""
        if patience is None or self.best_epoch is None:
            return False
        return len(self.epochs) - self.best_epoch >= patience


def _best(epochs: Sequence[Epoch]) -> int:
    """The number of the epoch with the best validation accuracy and, among equals, the smallest loss."""
    return max(epochs, key=lambda each: (each.validation_accuracy or 0.0, -_known(each.validation_loss))).number


def _known(loss: float | None) -> float:
    return math.inf if loss is None else loss
