"""Weights to int8: never a pair that could saturate, and outputs that stay closer than by rounding each for itself."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from signs_export.int8.rounding import full_scale, round_learned, round_nearest, safe_scale
from signs_export.int8.saturation import PAIR_LIMIT, pair_sums


def layer(groups: int = 1, filters: int = 12, k: int = 45) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Filters (groups, o, k) and inputs (groups, rows, k) whose columns go together, as channels of pictures do."""
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(groups, 400, k)) @ rng.normal(size=(groups, k, k)) / np.sqrt(k)
    return rng.normal(size=(groups, filters, k)), np.maximum(mixed, 0).astype(np.float32)


@pytest.mark.parametrize(("groups", "k"), [(1, 45), (1, 200), (4, 9), (3, 1)])
def test_learned_rounding_keeps_outputs_closer_than_rounding_to_the_nearest(groups: int, k: int) -> None:
    filters, inputs = layer(groups, k=k)
    scale = np.abs(filters).max(axis=2) / 20  # coarse, so that rounding tells

    def error(levels: NDArray[np.floating]) -> float:
        lost = (filters - levels * scale[:, :, None]) @ np.swapaxes(inputs, 1, 2)
        return float(np.square(lost).mean())

    learned = round_learned(filters, scale, inputs, paired=False)
    nearest = round_nearest(filters, scale, inputs, paired=False)
    assert np.array_equal(learned, np.round(learned))
    assert np.abs(learned).max() <= 127
    if k == 1:
        assert np.array_equal(learned, nearest)  # nothing to make good elsewhere
    else:
        assert error(learned) < 0.6 * error(nearest)


@pytest.mark.parametrize("rounding", [round_nearest, round_learned])
@pytest.mark.parametrize("k", [2, 45, 300])
def test_no_pair_of_weights_can_saturate_in_a_safe_scale(rounding: Callable[..., NDArray[np.float64]], k: int) -> None:
    filters, inputs = layer(k=k)
    filters[0, :, :2] = 5  # two large neighbours of one sign
    scale = safe_scale(filters[0])[None]
    levels = rounding(filters, scale, inputs, paired=True)
    assert pair_sums(levels[0]).max() <= PAIR_LIMIT
    unsafe = round_nearest(filters, full_scale(filters[0])[None], inputs, paired=True)
    assert pair_sums(unsafe[0]).max() > PAIR_LIMIT


def test_silent_inputs_and_empty_filters_are_borne() -> None:
    filters, inputs = layer()
    inputs[:, :, 5:] = 0
    filters[0, 3] = 0
    scale = np.maximum(safe_scale(filters[0]), 1e-9)[None]
    levels = round_learned(filters, scale, inputs, paired=True)
    assert np.isfinite(levels).all()
    assert not levels[0, 3].any()
    silent = round_learned(filters, scale, np.zeros_like(inputs), paired=True)
    assert np.array_equal(silent, round_nearest(filters, scale, inputs, paired=True))
