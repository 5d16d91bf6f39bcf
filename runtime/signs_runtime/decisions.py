"""What probabilities decide: the label of the largest or, of a multi-label classifier, each that is large enough."""

import numpy as np
from numpy.typing import NDArray

from signs_runtime.labels import Thresholds


def decide(probabilities: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.bool_]:
    """Which labels (n, labels) the probabilities (n, labels) give to each picture."""
    if thresholds:
        decided: NDArray[np.bool_] = probabilities >= np.asarray(thresholds, probabilities.dtype)
        return decided
    chosen = np.zeros(probabilities.shape, np.bool_)
    chosen[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return chosen


def margins(probabilities: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.floating]:
    """How far each picture's probabilities (n, labels) are from another decision, (n,), 0..1."""
    if thresholds:
        nearest: NDArray[np.floating] = np.abs(probabilities - np.asarray(thresholds, probabilities.dtype)).min(axis=1)
        return nearest
    top = np.sort(probabilities, axis=1)
    between: NDArray[np.floating] = top[:, -1] - top[:, -2]
    return between


def name_decision(labels: tuple[str, ...], probabilities: NDArray[np.floating], thresholds: Thresholds) -> str:
    """What these probabilities (labels,) decide, with them: such as "cat (0.9731)" or "cat (0.9731), dog (0.8012)"."""
    chosen = np.flatnonzero(decide(probabilities[None], thresholds)[0])
    named = [f"{labels[i]} ({probabilities[i]:.4f})" for i in chosen]
    largest = int(probabilities.argmax())
    return ", ".join(named) or f"no label (the largest: {labels[largest]}, {probabilities[largest]:.4f})"
