"""Inputs of other shapes take pictures, and one sigmoid tells two labels, in Keras and in the export alike."""

from typing import Any

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Scaling
from signs_export.convert.convert import convert
from signs_export.errors import ExportError
from signs_export.onnx_graph import answers
from signs_export.source.fitting import fit_input
from signs_export.source.reference import examine
from signs_runtime import InputSpec

layers = keras.layers


def classifier(shape: tuple[int | None, ...], *, batch: int | None = None) -> keras.Model:
    image = keras.Input(shape, batch_size=batch)
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.Flatten()(image)))


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((784,), InputSpec(28, 28, "L")),
        ((3072,), InputSpec(32, 32, "RGB")),
        ((28, 30), InputSpec(28, 30, "L")),
        ((10, 12, 4), InputSpec(10, 12, "RGB")),
        ((3, 10, 12), InputSpec(10, 12, "RGB")),
        ((1, 10, 12), InputSpec(10, 12, "L")),
    ],
)
def test_a_model_of_another_input_takes_pictures_in_keras_and_in_the_graph(
    shape: tuple[int, ...], spec: InputSpec, dataset: Dataset
) -> None:
    model = classifier(shape)
    reference = examine(model, scaling="unit")
    assert reference.input == spec
    images = np.random.default_rng(0).integers(0, 256, (5, *spec.shape), np.uint8)
    pixels = images.astype(np.float32) / 255
    if shape[-1] == 4:
        pixels = np.concatenate([pixels, np.ones((*pixels.shape[:3], 1), np.float32)], axis=3)
    elif shape[0] in (1, 3):
        pixels = np.moveaxis(pixels, -1, 1)
    taken = pixels.reshape(5, *shape)
    expected = model.predict(taken, verbose=0)
    assert np.allclose(reference.probabilities(images), expected, atol=1e-6)
    assert np.array_equal(fit_input(model, spec, "unit").before(images.astype(np.float32) / 255), taken)
    exported = convert(reference, dataset.labels, ExportConfig())
    assert np.allclose(answers(exported, images), expected, atol=1e-6)


def test_rows_of_pixels_that_are_no_square_need_to_be_told_their_size() -> None:
    with pytest.raises(ExportError, match=r"600 numbers in a row.*--image-size"):
        examine(classifier((600,)), scaling="unit")
    assert examine(classifier((600,)), scaling="unit", image_size=(20, 10)).input == InputSpec(20, 10, "RGB")
    assert examine(classifier((600,)), scaling="unit", image_size=(20, 30)).input == InputSpec(20, 30, "L")


@pytest.mark.parametrize("scaling", ["torch", "caffe"])
def test_an_alpha_channel_has_no_part_in_imagenets_modes(scaling: Scaling) -> None:
    with pytest.raises(ExportError, match="takes an alpha channel"):
        examine(classifier((10, 12, 4)), scaling=scaling)


def one_sigmoid(*, logit: bool = False) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(1, activation=None if logit else "sigmoid")(x))


@pytest.mark.parametrize("logit", [False, True])
def test_one_sigmoid_gives_two_labels(logit: bool) -> None:
    model = one_sigmoid(logit=logit)
    reference = examine(model, logits=logit)
    assert reference.classes == 2
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    given = model.predict(images.astype(np.float32), verbose=0)
    second = 1 / (1 + np.exp(-given)) if logit else given
    expected = np.concatenate([1 - second, second], axis=1)
    assert np.allclose(reference.probabilities(images), expected, atol=1e-6)
    assert np.allclose(answers(convert(reference, ("no", "yes"), ExportConfig()), images), expected, atol=1e-6)


def with_loss(loss: Any) -> keras.Model:  # Any: what Keras compiles with
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.Rescaling(1 / 255)(image))))
    model.compile("sgd", loss)
    return model


def test_logits_are_what_the_model_was_compiled_for_or_what_the_user_says() -> None:
    assert examine(with_loss(keras.losses.SparseCategoricalCrossentropy(from_logits=True))).gives_logits
    assert examine(with_loss("mse"), logits=True).gives_logits
    for loss in ("mse", "categorical_crossentropy", keras.losses.CategoricalCrossentropy()):
        with pytest.raises(ExportError, match=r"was not compiled with a loss for logits.*--logits"):
            examine(with_loss(loss))


def test_several_sigmoids_are_told_from_one() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(4, "sigmoid")(layers.Flatten()(layers.Rescaling(1 / 255)(image))))
    reference = examine(model)
    assert (reference.has_sigmoids, reference.classes, reference.thresholds) == (True, 4, ())
