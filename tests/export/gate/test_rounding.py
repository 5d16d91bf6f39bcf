"""A stage's limit follows from what rounding every layer does to it."""

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.gate.rounding import rounded
from signs_export.gate.trace import keras_stages
from signs_export.source.reference import Reference, examine
from signs_runtime.bundle.manifest import Precision

from ..networks import SIDE

layers = keras.layers


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_weights_and_layers_are_as_before_when_a_model_was_rounded(
    reference: Reference, dataset: Dataset, precision: Precision
) -> None:
    images = np.asarray(dataset.test.pictures)[:4]
    weights, before = reference.model.get_weights(), reference.uncompiled_probabilities(images)
    with rounded(reference.model, precision):
        within = reference.uncompiled_probabilities(images)
    again = reference.uncompiled_probabilities(images)
    assert all(np.array_equal(*pair) for pair in zip(weights, reference.model.get_weights(), strict=True))
    assert np.array_equal(before, again)
    assert 0 < np.abs(within - before).max() < {"float32": 1e-5, "float16": 1e-2, "int8": 0.3}[precision]


def test_what_enlarges_rounding_errors_has_wide_limits_and_what_follows_a_saturation_narrow_ones(
    dataset: Dataset,
) -> None:
    """A difference of large numbers loses digits; a tanh that is nearly 1 forgets that it did."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    far = layers.Rescaling(1.0, offset=4096.0, name="far")(x)
    small = layers.Rescaling(1.0, offset=-4096.0, name="small")(far)
    sure = layers.Activation("tanh", name="sure")(layers.Rescaling(1.0, offset=9.0, name="large")(small))
    model = keras.Model(image, layers.Dense(6, activation="softmax")(layers.Concatenate()([small, sure])))
    reference = examine(model)
    side = keras_stages(reference, reference.in_float64(), np.asarray(dataset.test.pictures)[:8])
    ordinary = side.limit("far", "float32")
    assert ordinary < 1e-4
    assert side.limit("small", "float32") > 100 * ordinary
    assert side.limit("sure", "float32") < 2 * ordinary


def test_int8_is_not_judged_by_what_a_rectifier_cuts_off(dataset: Dataset) -> None:
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, name="cut")(layers.Rescaling(1 / 255)(image))
    x = layers.ReLU(name="shortcut")(x)
    y = layers.ReLU()(layers.Add(name="sum")([layers.Conv2D(4, 3, padding="same", name="summand")(x), x]))
    y = layers.ReLU(6.0)(layers.Conv2D(4, 3, name="moved")(y) + 3.0)  # a hard sigmoid: what lies above -3 counts
    z = layers.GlobalAveragePooling2D()(layers.Activation("swish")(layers.Conv2D(4, 3, name="kept")(y)))
    reference = examine(keras.Model(image, layers.Dense(6, activation="softmax")(z)))
    side = keras_stages(reference, None, np.asarray(dataset.test.pictures)[:2])
    assert side.floors.keys() == {"cut", "summand", "sum"}
    assert side.floors["cut"] == side.floors["sum"] == 0
    # What a summand lacks below its floor, the sum lacks nowhere.
    summand, other = side.values["summand"], side.values["shortcut"]
    assert (summand < side.floors["summand"]).any()
    assert side.sums.keys() == {"summand"}
    assert np.array_equal(side.sums["summand"], np.maximum(side.values["sum"], 0))
    kept = np.maximum(summand, side.floors["summand"])
    np.testing.assert_allclose(np.maximum(kept + other, 0), np.maximum(summand + other, 0), atol=1e-6)


def test_int8s_levels_are_as_coarse_as_its_calibration_makes_them(dataset: Dataset) -> None:
    """A network that one picture excites: all others are seen in the few levels that this leaves them."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(8, activation="exponential", name="excited")(x)
    reference = examine(keras.Model(image, layers.Dense(6, activation="softmax")(x)))
    reference.model.get_layer("excited").set_weights([np.full((3, 8), 4.0), np.zeros(8)])
    dark = np.asarray(dataset.test.pictures)[:4] // 8
    bright = np.full((1, SIDE, SIDE, 3), 255, np.uint8)
    by_itself = keras_stages(reference, None, dark)
    alike = keras_stages(reference, None, dark, dark)
    beside = keras_stages(reference, None, dark, np.concatenate([dark, bright]))
    assert alike.noise == by_itself.noise
    assert beside.noise["int8"]["excited"] > 10 * by_itself.noise["int8"]["excited"]
    assert beside.noise["float32"] == by_itself.noise["float32"]
