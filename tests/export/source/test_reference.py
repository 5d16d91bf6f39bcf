"""Any Keras image classifier is understood or refused; what it wants to see is never guessed."""

from typing import Any

import keras
import numpy as np
import pytest

from signs_export.errors import ExportError
from signs_export.source.reference import examine
from signs_runtime import InputSpec, SignsError

from ..networks import network

layers = keras.layers


def classifier(*between: keras.layers.Layer, shape: tuple[int | None, ...] = (16, 16, 3)) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape), *between, layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    )


def refused(words: str, model: keras.Model, **options: Any) -> None:  # Any: whatever `examine` takes
    with pytest.raises(ExportError, match=words) as caught:
        examine(model, **options)
    assert isinstance(caught.value, SignsError)


def test_logits_are_told_from_probabilities() -> None:
    assert examine(network(last=None), logits=True).gives_logits
    assert not examine(network(last="softmax")).gives_logits
    separate = keras.Sequential([network(last=None), layers.Softmax()])
    assert not examine(separate).gives_logits
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    for model in (network(last=None), separate):
        assert np.allclose(examine(model, logits=True).probabilities(images).sum(axis=1), 1, atol=1e-5)


def test_logits_are_seen_through_layers_that_only_pass_them_on() -> None:
    image = keras.Input((8, 8, 3))
    flat = layers.Rescaling(1 / 255)(layers.Flatten()(image))
    for end in (
        [layers.Dense(4), layers.Dropout(0.1), layers.Reshape((4,))],
        [layers.Dense(4), layers.Activation(None)],
    ):
        x = flat
        for layer in end:
            x = layer(x)
        assert examine(keras.Model(image, x), logits=True).gives_logits


@pytest.mark.parametrize(
    "end",
    [
        [layers.Dense(4), keras.ops.sigmoid],
        [layers.Dense(4, "sigmoid"), layers.Reshape((4,))],
        [layers.Dense(4, "sigmoid"), layers.Dropout(0.1)],
    ],
)
def test_a_sigmoid_behind_other_layers_is_no_logit(end: list[keras.layers.Layer]) -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(layers.Flatten()(image))
    for step in end:
        x = step(x)
    reference = examine(keras.Model(image, x), logits=True)
    assert (reference.has_sigmoids, reference.gives_logits) == (True, False)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_refused_with_a_way_out(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    refused("Build the model under the policy float32", model)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_outputs_that_are_neither_are_refused(activation: str) -> None:
    refused(f"activation {activation}", network(last=activation))


def test_two_inputs_are_refused_by_name() -> None:
    a, b = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    refused(r"2 inputs \(left, right\)", keras.Model([a, b], layers.Dense(3)(layers.Flatten()(layers.Add()([a, b])))))


def test_two_outputs_are_refused() -> None:
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(image)
    refused("2 outputs", keras.Model(image, [layers.Dense(3)(flat), layers.Dense(3)(flat)]))


def test_what_takes_no_pictures_is_refused() -> None:
    vector = keras.Input((8,))
    refused("8 numbers in a row", keras.Model(vector, layers.Dense(3)(vector)))
    image = keras.Input((8, 8, 8))
    refused("an image classifier takes", keras.Model(image, layers.Dense(3)(layers.Flatten()(image))))
    image = keras.Input((8, 8, 3))
    refused("The model's output is", keras.Model(image, layers.Conv2D(3, 1)(image)), scaling="unit")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    model = classifier(layers.Rescaling(1 / 255), layers.Conv2D(4, 3, name="sick"))
    kernel = model.get_layer("sick").kernel.numpy()
    kernel[0, 0, 0, 0] = value
    model.get_layer("sick").kernel.assign(kernel)
    refused("sick/kernel is not finite", model)


def test_a_model_of_any_size_needs_to_be_told_which() -> None:
    model = classifier(layers.Rescaling(1 / 255), shape=(None, None, 3))
    refused("--image-size", model)
    assert examine(model, image_size=(20, 30)).input == InputSpec(20, 30)
    refused("8192 a side", model, image_size=(9000, 20))
    tiny = classifier(layers.Rescaling(1 / 255), layers.Conv2D(4, 5), shape=(None, None, 3))
    refused("cannot take pictures of 2x2", tiny, image_size=(2, 2))
    refused("cannot change", classifier(layers.Rescaling(1 / 255)), image_size=(20, 30))


def test_one_colour_is_understood_and_imagenets_modes_refused_for_it() -> None:
    model = classifier(layers.Conv2D(4, 3), shape=(16, 16, 1))
    assert examine(model, scaling="unit").input == InputSpec(16, 16, "L")
    refused("three colours", model, scaling="caffe")
