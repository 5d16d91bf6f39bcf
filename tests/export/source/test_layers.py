"""Layers are followed while a model computes, and grouped convolutions compute group by group then."""

from typing import Any

import keras
import numpy as np
import pytest

from signs_export.source.layers import convolving_by_group

layers = keras.layers


@pytest.mark.parametrize(
    "options",
    [
        {"filters": 8, "groups": 8, "padding": "same"},
        {"filters": 16, "groups": 8, "strides": 2, "padding": "same"},
        {"filters": 12, "groups": 4},
        {"filters": 8, "groups": 8, "strides": (1, 2)},
        {"filters": 8, "groups": 8, "dilation_rate": 2, "padding": "same"},
    ],
)
def test_grouped_convolutions_give_the_same_group_by_group_and_compile_nothing(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncompiled, each call of each was compiled anew: an export of ConvNeXtTiny took ten minutes instead of two."""
    import tensorflow as tf

    image = keras.Input((9, 9, 8))
    model = keras.Model(image, layers.Conv2D(kernel_size=3, **options)(image))
    pixels = np.random.default_rng(0).normal(size=(3, 9, 9, 8)).astype(np.float32)
    expected = model.predict(pixels, verbose=0)
    monkeypatch.setattr(tf, "function", lambda **options: lambda function: None)  # what compiles
    with convolving_by_group():
        given = keras.ops.convert_to_numpy(model(pixels, training=False))
    assert np.allclose(given, expected, atol=1e-6)
