"""Wraps a model so that it takes pictures and gives a probability for each label.

The wrapping consists of Keras layers, so it is exported, compared and proved with the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_export.config import Scaling
from signs_export.errors import ExportError
from signs_runtime.pictures.input_spec import MAX_SIDE, InputSpec, Reading

Values = NDArray[Any]  # of float32 or float64

_BOTH_LABELS = "signs_both_labels"
_OPAQUE: dict[Scaling, float] = {"none": 255.0, "unit": 1.0, "tf": 1.0}  # an alpha of 255 after scaling


def _as_it_is(values: Values) -> Values:
    return values


@dataclass(frozen=True)
class Fitted:
    """A model that takes images (n, h, w, c), and the same conversion of its input as a function, for Keras 2."""

    model: keras.Model
    before: Callable[[Values], Values] = _as_it_is


def input_of(model: keras.Model, image_size: tuple[int, int] | None, reading: Reading) -> InputSpec:
    """The pictures that a model's input can be made from. Raises ExportError if there are none."""
    if not model.built or not getattr(model, "inputs", None):
        raise ExportError("The model has no defined input. Build it with a keras.Input and save it again.")
    if len(model.inputs) != 1:
        names = ", ".join(each.name for each in model.inputs)
        raise ExportError(f"The model has {len(model.inputs)} inputs ({names}); an image classifier has one.")
    shape = tuple(model.inputs[0].shape)
    height, width, channels = _picture_of(shape, image_size)
    if height is None or width is None:
        raise ExportError(f"The model takes pictures of any size, {shape}. Pass the size: --image-size HEIGHTxWIDTH.")
    if max(height, width) > MAX_SIDE:
        raise ExportError(
            f"An input of {height}x{width} pixels is too large: a bundle allows at most {MAX_SIDE} a side."
        )
    if image_size not in (None, (height, width)):
        raise ExportError(f"The model takes {height}x{width} pixels; --image-size cannot change that. Leave it out.")
    if channels == 1 and reading.channels != "RGB":
        raise ExportError(
            f"--channels {reading.channels} is for three colours, but the model takes grey pictures. Leave it out."
        )
    return InputSpec.read_as(reading, height, width, "L" if channels == 1 else "RGB")


def _picture_of(
    shape: tuple[int | None, ...], image_size: tuple[int, int] | None
) -> tuple[int | None, int | None, int | None]:
    """The height, width and channels of the pictures in a model's input, (batch, ...)."""
    if len(shape) == 2 and shape[1] is not None:
        return _unflattened(shape[1], image_size)
    asked = image_size or (None, None)
    if len(shape) == 3:
        return shape[1] or asked[0], shape[2] or asked[1], 1
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        return shape[1] or asked[0], shape[2] or asked[1], shape[3]
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[2] or asked[0], shape[3] or asked[1], shape[1]
    raise ExportError(
        f"The model takes {shape}; an image classifier takes (batch, height, width, 1, 3 or 4), (batch, 1 or 3, "
        "height, width), (batch, height, width), or all pixels in a row."
    )


def _unflattened(count: int, image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    """The picture whose pixels a model takes in a row: grey or in colour, and square unless a size is given."""
    for channels in (1, 3):
        height, width = image_size or (isqrt(count // channels),) * 2
        if height * width * channels == count:
            return height, width, channels
    raise ExportError(
        f"The model takes {count} numbers in a row. Pass the size of its pictures, --image-size HEIGHTxWIDTH, so that "
        f"height x width, or three times that for colours, is {count}. (The default is a square.)"
    )


def fit_input(model: keras.Model, spec: InputSpec, scaling: Scaling) -> Fitted:
    """A model that takes scaled pictures of `spec`. Raises ExportError for an alpha channel with ImageNet's modes."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) == 4 and shape[3] in (1, 3):
        return Fitted(model)
    image = keras.Input(spec.shape, name="signs_pictures")
    if len(shape) == 4 and shape[3] == 4:
        if scaling not in _OPAQUE:
            raise ExportError(
                f"--scaling {scaling} is for three colours; this model takes an alpha channel as well. "
                "Pass another --scaling."
            )
        opaque, places = _OPAQUE[scaling], [(0, 0), (0, 0), (0, 0), (0, 1)]
        shaped = keras.ops.pad(image, places, constant_values=opaque)
        return Fitted(_joined(image, model, shaped), lambda pixels: np.pad(pixels, places, constant_values=opaque))
    if len(shape) == 4:
        shaped = keras.layers.Permute((3, 1, 2), name="signs_colours_first")(image)
        return Fitted(_joined(image, model, shaped), lambda pixels: np.moveaxis(pixels, -1, 1))
    inner = (spec.height, spec.width) if len(shape) == 3 else (int(np.prod(spec.shape)),)
    shaped = keras.layers.Reshape(inner, name="signs_shaped")(image)
    return Fitted(_joined(image, model, shaped), lambda pixels: pixels.reshape(len(pixels), *inner))


def _joined(image: keras.KerasTensor, model: keras.Model, shaped: keras.KerasTensor) -> keras.Model:
    return keras.Model(image, keras.tree.flatten(model(shaped))[0])


def with_both_labels(model: keras.Model) -> keras.Model:
    """Turn a model with one sigmoid, p, into one with two labels: 1 - p and p."""
    probability = model.outputs[0]
    other = keras.layers.Rescaling(-1.0, offset=1.0, name="signs_first_label")(probability)
    return keras.Model(model.inputs[0], keras.layers.Concatenate(name=_BOTH_LABELS)([other, probability]))


def probability_of(model: keras.Model) -> keras.KerasTensor:
    """A model's output; for a model from `with_both_labels`, its single sigmoid."""
    given = model.outputs[0]
    return given._keras_history.operation.input[1] if has_both_labels(model) else given


def has_both_labels(model: keras.Model) -> bool:
    """Whether the model comes from `with_both_labels`."""
    return bool(model.outputs[0]._keras_history.operation.name == _BOTH_LABELS)


def with_sigmoid(model: keras.Model) -> keras.Model:
    """Add the sigmoid to a model that gives its logit."""
    return keras.Model(model.inputs[0], keras.layers.Activation("sigmoid", name="signs_sigmoid")(model.outputs[0]))


def both_labels(probability: Values) -> Values:
    """The probabilities of both labels, (n, 2), from those of the second, (n, 1); see `with_both_labels`."""
    return np.concatenate([1 - probability, probability], axis=1)
