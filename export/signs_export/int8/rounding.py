"""Rounds weights to int8 so that a layer's outputs on calibration pictures change least.

It is the column-wise rounding of GPTQ (Frantar et al., 2022, https://arxiv.org/abs/2210.17323) in its form as Babai's
nearest plane, which needs one Cholesky factor and no inverse (Chen et al., 2025, https://arxiv.org/abs/2507.18553).
"""

import numpy as np
from numpy.typing import NDArray

from signs_export.int8.saturation import PAIR_LIMIT, pair_sums

FULL = 127  # the largest |weight| in int8; -128 would have no counterpart
_DAMPING = 0.01  # of the mean square input: how strongly each weight is kept near its value
_BLOCK = 128  # columns that are rounded between two products of matrices


def safe_scale(filters: NDArray[np.floating]) -> NDArray[np.floating]:
    """The smallest scale of each filter, rows (o, k), at which weights fit int8 and no pair can saturate."""
    both = pair_sums(filters).max(axis=1) / (PAIR_LIMIT - 1)  # each weight of a pair may be rounded up by 0.5
    scale: NDArray[np.floating] = np.maximum(full_scale(filters), both)
    return scale


def full_scale(filters: NDArray[np.floating]) -> NDArray[np.floating]:
    """The smallest scale of each filter, rows (o, k), at which weights fit int8."""
    largest: NDArray[np.floating] = np.abs(filters).max(axis=1) / FULL
    return largest


def round_nearest(
    filters: NDArray[np.floating], scale: NDArray[np.floating], inputs: NDArray[np.floating], *, paired: bool
) -> NDArray[np.floating]:
    """Round each weight on its own: filters (groups, o, k) and scale (groups, o) to levels -127..127."""
    return np.clip(np.round(filters / scale[:, :, None]), -FULL, FULL)


def round_learned(
    filters: NDArray[np.floating], scale: NDArray[np.floating], inputs: NDArray[np.floating], *, paired: bool
) -> NDArray[np.floating]:
    """Round one weight after another; each corrects the errors of those before on `inputs` (groups, rows, k).

    Filters (groups, o, k) and scale (groups, o) to levels -127..127; `paired` keeps neighbours within PAIR_LIMIT.
    """
    k = filters.shape[2]
    strength = np.einsum("grk,grk->k", inputs, inputs)
    order = np.argsort(strength, kind="stable")  # the strongest last: it is rounded first
    place = np.argsort(order)
    partner = place[np.minimum(order ^ 1, k - 1)]  # of each column, in the new order
    inputs = np.take(inputs, order, axis=2)  # ten times as fast as indexing
    moments = np.swapaxes(inputs, 1, 2) @ inputs  # (groups, k, k)
    damping = _DAMPING * np.einsum("gii->g", moments) / k
    moments[:, range(k), range(k)] += (damping + np.finfo(np.float32).tiny)[:, None]
    factor = _upper_factor(moments)
    factor /= np.einsum("gii->gi", factor)[:, :, None].copy()
    # Weights and errors are in levels, with shape (groups, k, o), so that each step works on whole rows.
    weights = np.ascontiguousarray(np.swapaxes(filters / scale[:, :, None], 1, 2)[:, order], inputs.dtype)
    levels, error = np.zeros_like(weights), np.zeros_like(weights)
    for end in range(k, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        wanted = weights[:, start:end] + factor[:, start:end, end:] @ error[:, end:]
        for j in range(end - 1, start - 1, -1):
            neighbour = levels[:, partner[j]] if paired and partner[j] > j else None
            levels[:, j] = _bounded(np.rint(wanted[:, j - start]), neighbour)
            error[:, j] = weights[:, j] - levels[:, j]
            wanted[:, : j - start] += factor[:, start:j, j, None] * error[:, j, None]
    return np.swapaxes(levels[:, place], 1, 2)


def _upper_factor(matrices: NDArray[np.floating]) -> NDArray[np.floating]:
    """Cholesky's U with UᵀU = matrices (groups, k, k), in place; the values below its diagonal blocks are undefined.

    It works in blocks, because products of matrices are ten times as fast as np.linalg.cholesky.
    """
    k = matrices.shape[1]
    for start in range(0, k, _BLOCK):
        end = min(start + _BLOCK, k)
        above = matrices[:, :start, start:]
        rest = matrices[:, start:end, start:] - np.swapaxes(above[:, :, : end - start], 1, 2) @ above
        corner = np.linalg.cholesky(rest[:, :, : end - start])
        matrices[:, start:end, start:] = np.linalg.inv(corner) @ rest
    return matrices


def _bounded(level: NDArray[np.floating], neighbour: NDArray[np.floating] | None) -> NDArray[np.floating]:
    """The nearest level that fits int8 and, if the neighbour is rounded already, the pair's limit."""
    low, high = -FULL, FULL
    if neighbour is not None:
        low = np.maximum(low, -PAIR_LIMIT - np.minimum(neighbour, 0))
        high = np.minimum(high, PAIR_LIMIT - np.maximum(neighbour, 0))
    bounded: NDArray[np.floating] = np.minimum(np.maximum(level, low), high)
    return bounded
