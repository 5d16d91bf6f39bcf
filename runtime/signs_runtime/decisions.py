"""Turns probabilities into labels: the most probable one or, for a multi-label classifier, all above a threshold."""

import numpy as np
from numpy.typing import NDArray

from signs_runtime.labels import Thresholds


def decide(probabilities: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.bool_]:
    """Decide which labels each picture has: bool (n, labels), from probabilities (n, labels)."""
    if thresholds:
        decided: NDArray[np.bool_] = probabilities >= np.asarray(thresholds, probabilities.dtype)
        return decided
    chosen = np.zeros(probabilities.shape, np.bool_)
    chosen[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
    return chosen


def margins(probabilities: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.floating]:
    """How far the probabilities (n, labels) of each picture are from another decision: (n,), in 0..1."""
    if thresholds:
        nearest: NDArray[np.floating] = np.abs(probabilities - np.asarray(thresholds, probabilities.dtype)).min(axis=1)
        return nearest
    top = np.sort(probabilities, axis=1)
    between: NDArray[np.floating] = top[:, -1] - top[:, -2]
    return between


def name_decision(labels: tuple[str, ...], probabilities: NDArray[np.floating], thresholds: Thresholds) -> str:
    """The decided labels with their probabilities, such as "cat (0.9731)" or "cat (0.9731), dog (0.8012)"."""
    chosen = np.flatnonzero(decide(probabilities[None], thresholds)[0])
    named = [f"{labels[i]} ({probabilities[i]:.4f})" for i in chosen]
    largest = int(probabilities.argmax())
    return ", ".join(named) or f"no label (the largest: {labels[largest]}, {probabilities[largest]:.4f})"
