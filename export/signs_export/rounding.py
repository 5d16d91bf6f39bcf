"""Rounds weights to int8 so that a layer's outputs on calibration pictures stay, not each weight for itself.

The column-wise rounding of GPTQ (Frantar et al., 2022, https://arxiv.org/abs/2210.17323) in its form as Babai's nearest
plane, which needs one Cholesky factor and no inverse (Chen et al., 2025, https://arxiv.org/abs/2507.18553).
"""

import numpy as np
from numpy.typing import NDArray

from signs_export.saturation import PAIR_LIMIT, pair_sums

FULL = 127  # the largest |weight| in int8; -128 would have no counterpart
_DAMPING = 0.01  # of the mean square input: what is left of the wish to keep each weight near itself
_BLOCK = 128  # columns between two products of matrices


def safe_scale(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """The smallest scale of each filter, rows (o, k), with which weights fit int8 and no pair can saturate."""
    both = pair_sums(filters).max(axis=1) / (PAIR_LIMIT - 1)  # each of a pair may be rounded up by a half
    scale: NDArray[np.float64] = np.maximum(full_scale(filters), both)
    return scale


def full_scale(filters: NDArray[np.floating]) -> NDArray[np.float64]:
    """The smallest scale of each filter, rows (o, k), with which weights fit int8."""
    largest: NDArray[np.float64] = np.abs(filters).max(axis=1) / FULL
    return largest


def round_nearest(
    filters: NDArray[np.float64], scale: NDArray[np.float64], inputs: NDArray[np.floating], *, paired: bool
) -> NDArray[np.float64]:
    """Round each weight for itself: filters (groups, o, k) and scale (groups, o) to levels -127..127."""
    return np.clip(np.round(filters / scale[:, :, None]), -FULL, FULL)


def round_learned(
    filters: NDArray[np.float64], scale: NDArray[np.float64], inputs: NDArray[np.floating], *, paired: bool
) -> NDArray[np.float64]:
    """Round weight after weight, each making good what the ones before have changed on `inputs` (groups, rows, k).

    Filters (groups, o, k) and scale (groups, o) to levels -127..127; `paired` keeps neighbours within PAIR_LIMIT.
    """
    k = filters.shape[2]
    moments = (np.swapaxes(inputs, 1, 2) @ inputs).astype(np.float64) / inputs.shape[1]  # (groups, k, k)
    order = np.argsort(np.einsum("gii->i", moments))  # the strongest input last: it is rounded first
    moments, weights = moments[:, order[:, None], order], filters[:, :, order]
    damping = _DAMPING * np.einsum("gii->g", moments) / k
    moments[:, range(k), range(k)] += (damping + np.finfo(np.float32).tiny)[:, None]
    factor = np.linalg.cholesky(moments)
    place = np.argsort(order)
    partner = place[np.minimum(order ^ 1, k - 1)]  # of each column, in the new order
    levels, error = np.zeros_like(weights), np.zeros_like(weights)
    for end in range(k, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        owed = error[:, :, end:] @ factor[:, end:, start:end]
        for j in range(end - 1, start - 1, -1):
            late = (error[:, :, j + 1 : end] @ factor[:, j + 1 : end, j, None])[:, :, 0]
            wanted = weights[:, :, j] + (owed[:, :, j - start] + late) / factor[:, j, j, None]
            low, high = _bounds(levels[:, :, partner[j]], paired=paired and partner[j] != j)
            levels[:, :, j] = np.clip(np.round(wanted / scale), low, high)
            error[:, :, j] = weights[:, :, j] - levels[:, :, j] * scale
    return levels[:, :, place]


def _bounds(neighbours: NDArray[np.float64], *, paired: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest level beside these neighbours; one that is not rounded yet is 0."""
    if not paired:
        neighbours = np.zeros_like(neighbours)
    return (
        -np.minimum(FULL, PAIR_LIMIT - np.maximum(-neighbours, 0)),
        np.minimum(FULL, PAIR_LIMIT - np.maximum(neighbours, 0)),
    )
