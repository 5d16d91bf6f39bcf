"""Layers that converters and runtimes round, pad or turn in ways of their own."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.onnx_graph import answers, check_runnable
from signs_export.source.reference import examine, noise

LAYERS = keras.layers
LABELS = ("a", "b", "c")


def resized(old: int, new: int, interpolation: str = "bilinear") -> tuple[int, list[keras.Layer]]:
    return old, [LAYERS.Resizing(new, new, interpolation=interpolation)]


def rows(*layers: keras.Layer) -> tuple[int, list[keras.Layer]]:
    return 12, [LAYERS.Reshape((12, 36)), *layers]


MADE: dict[str, Callable[[], tuple[int, list[keras.Layer]]]] = {
    "resized 100 to 64": lambda: resized(100, 64),
    "resized 160 to 224": lambda: resized(160, 224),
    "resized 48 to 224": lambda: resized(48, 224),
    "resized 37 to 23": lambda: resized(37, 23),
    "nearest, with a tie": lambda: resized(24, 37, "nearest"),
    "nearest, without": lambda: resized(24, 36, "nearest"),
    "padded by the window": lambda: (16, [LAYERS.ZeroPadding2D(3), LAYERS.Conv2D(4, 3)]),
    "padded by more": lambda: (16, [LAYERS.ZeroPadding2D(1), LAYERS.Conv2D(4, 1)]),
    "padded twice": lambda: (16, [LAYERS.Conv2D(4, 3), LAYERS.ZeroPadding2D(2), LAYERS.Conv2D(4, 3, padding="same")]),
    "padded depthwise": lambda: (16, [LAYERS.ZeroPadding2D(4), LAYERS.DepthwiseConv2D(3, strides=2)]),
    "backwards": lambda: rows(LAYERS.LSTM(8, go_backwards=True)),
    "both ways": lambda: rows(LAYERS.Bidirectional(LAYERS.LSTM(8, return_sequences=True, unroll=True))),
}


@pytest.mark.parametrize("made", MADE)
def test_the_graph_runs_and_answers_as_keras(made: str) -> None:
    keras.utils.set_random_seed(0)
    side, between = MADE[made]()
    ends = [LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax")]
    first = [keras.Input((side, side, 3)), LAYERS.Rescaling(1 / 255)]
    reference = examine(keras.Sequential([*first, *between, *ends]))
    model = convert(reference, LABELS, ExportConfig())
    check_runnable(model.SerializeToString())
    images = noise(reference.input)
    assert np.allclose(answers(model, images), reference.probabilities(images), atol=1e-5, rtol=0)
