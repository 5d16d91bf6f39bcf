"""The faster operators of a training give Keras's own results, and only while it trains."""

from collections import Counter
from contextlib import nullcontext, suppress
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.training.faster_layers import faster_layers
from signs_builder.training.recipe import TrainConfig
from signs_builder.training.train import Setup, train

from .small_network import SPEC, small_network

CONVOLUTIONS: dict[str, Any] = {  # Any: Keras's settings
    "1x1": {"kernel_size": 1},
    "1x1 with strides": {"kernel_size": 1, "strides": 2},
    "1x1, same": {"kernel_size": 1, "strides": 2, "padding": "same", "use_bias": False},
    "3x3 on few pixels": {"kernel_size": 3, "padding": "same"},
    "an even kernel on few pixels": {"kernel_size": (2, 4), "padding": "same", "activation": "relu"},
}
UNTOUCHED: dict[str, Any] = {  # with the side of the map
    "valid": ({"kernel_size": (1, 2)}, 2),
    "strides": ({"kernel_size": 2, "strides": 2, "padding": "same"}, 2),
    "dilated": ({"kernel_size": 2, "dilation_rate": 2, "padding": "same"}, 2),
    "groups": ({"kernel_size": 1, "groups": 2}, 2),
    "a larger map": ({"kernel_size": 3, "padding": "same"}, 3),
}


def _network(convolution: layers.Layer, side: int = 2, **batch_norm: Any) -> keras.Model:
    image = keras.Input((side, side, 4))
    x = convolution(image)
    x = layers.BatchNormalization(momentum=0.7, **batch_norm)(x)
    x = layers.Flatten()(layers.Activation("relu")(x))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    return model


def _equal_networks(convolution: Any, side: int = 2, **batch_norm: Any) -> tuple[keras.Model, keras.Model]:
    one, other = (_network(layers.Conv2D(6, **convolution), side, **batch_norm) for _ in range(2))
    other.set_weights(one.get_weights())
    return one, other


def _assert_they_learn_the_same(faster: keras.Model, plain: keras.Model) -> None:
    for now, then in zip(_trained(faster, faster=True), _trained(plain, faster=False), strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=1e-5)


def _trained(model: keras.Model, *, faster: bool) -> list[NDArray[np.float32]]:
    """The weights, moving averages too, after whole batches and one picture alone."""
    rng = np.random.default_rng(0)
    with faster_layers(model) if faster else nullcontext():
        for pictures in (6, 6, 1):
            batch = rng.normal(size=(pictures, *model.input.shape[1:])).astype(np.float32)
            model.train_on_batch(batch, np.eye(3, dtype=np.float32)[rng.integers(3, size=pictures)])
    weights: list[NDArray[np.float32]] = model.get_weights()
    return weights


def _operators(model: keras.Model) -> Counter[str]:
    example = tf.TensorSpec((None, *model.input.shape[1:]))
    with faster_layers(model):
        traced = tf.function(lambda x: model(x, training=True)).get_concrete_function(example)
    return Counter(operator.type for operator in traced.graph.get_operations())


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_training_learns_what_it_learns_in_kerass_own_way(name: str) -> None:
    faster, plain = _equal_networks(CONVOLUTIONS[name])
    operators = _operators(faster)
    assert operators["FusedBatchNormV3"] == 1
    assert not operators["Conv2D"]
    _assert_they_learn_the_same(faster, plain)


def test_strides_pick_the_same_pixels_on_a_larger_map() -> None:
    faster, plain = _equal_networks({"kernel_size": 1, "strides": (2, 3)}, side=7)
    _assert_they_learn_the_same(faster, plain)


@pytest.mark.parametrize("batch_norm", [{"scale": False}, {"center": False}, {"axis": 3}, {"trainable": False}])
def test_batch_norms_of_all_kinds_learn_the_same(batch_norm: Any) -> None:
    faster, plain = _equal_networks({"kernel_size": 1}, **batch_norm)
    assert bool(_operators(faster)["FusedBatchNormV3"]) == ("trainable" not in batch_norm)
    _assert_they_learn_the_same(faster, plain)


@pytest.mark.parametrize("name", UNTOUCHED)
def test_other_convolutions_stay_as_they_are(name: str) -> None:
    convolution, side = UNTOUCHED[name]
    assert _operators(_network(layers.Conv2D(6, **convolution), side))["MatMul"] == 1  # the dense layer


def test_other_batch_norms_and_subclasses_stay_as_they_are() -> None:
    class Convolution(layers.Conv2D):  # type: ignore[misc]
        pass

    for batch_norm in ({"axis": 1}, {"renorm": True}, {"synchronized": True}, {"dtype": "mixed_bfloat16"}):
        operators = _operators(_network(Convolution(6, 1), **batch_norm))
        assert not operators["FusedBatchNormV3"]
        assert operators["Conv2D"] == 1


def test_in_bfloat16_convolutions_learn_the_same_up_to_its_digits() -> None:
    faster, plain = _equal_networks({"kernel_size": 1, "dtype": "mixed_bfloat16"})
    assert not _operators(faster)["Conv2D"]
    for now, then in zip(_trained(faster, faster=True), _trained(plain, faster=False), strict=True):
        np.testing.assert_allclose(now, then, rtol=0.05, atol=0.05)


def test_pictures_of_integers_and_of_any_size_are_normed_and_convolved() -> None:
    image = keras.Input((None, None, 3), dtype="uint8")
    x = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    model.compile("sgd", "categorical_crossentropy")
    with faster_layers(model):
        pictures = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), np.uint8)
        assert np.isfinite(model.train_on_batch(pictures, np.eye(3)[[0, 1, 2, 0]]))


def test_with_a_gpu_and_after_a_training_the_layers_are_kerass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network(layers.Conv2D(6, 1))
    batch = np.random.default_rng(0).normal(size=(5, 2, 2, 4)).astype(np.float32)
    before = model.predict(batch, verbose=0)
    with suppress(KeyError), faster_layers(model):
        assert {"call", "convolution_op"} <= {name for layer in model.layers for name in vars(layer)}
        np.testing.assert_allclose(model.predict(batch, verbose=0), before, rtol=1e-5)
        raise KeyError
    assert not {"call", "convolution_op"} & {name for layer in model.layers for name in vars(layer)}
    assert model.predict_function is None
    assert np.array_equal(model.predict(batch, verbose=0), before)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"])
    assert _operators(model)["Conv2D"] == 1


def test_a_training_uses_them_while_it_fits(dataset: Dataset) -> None:
    replaced = []

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            replaced.append([type(layer) for layer in self.model.layers if "convolution_op" in vars(layer)])

    model = small_network()
    train(model, dataset, TrainConfig(epochs=1), SPEC, Setup(callbacks=[Watch()]))
    assert replaced == [[layers.Conv2D]]
    assert not any("convolution_op" in vars(layer) for layer in model.layers)
