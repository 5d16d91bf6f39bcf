"""Fits a model to pictures and labels: what it takes is made of a picture, what it gives is a probability for a label.

What is put before and behind it are Keras layers, so that they are exported, compared and proved with the rest.
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
_OPAQUE: dict[Scaling, float] = {"none": 255.0, "unit": 1.0, "tf": 1.0}  # what an alpha channel of 255 is scaled to


def _as_it_is(values: Values) -> Values:
    return values


@dataclass(frozen=True)
class Fitted:
    """A model that takes pictures (n, h, w, c), and what was put before it, for its original in another Keras."""

    model: keras.Model
    before: Callable[[Values], Values] = _as_it_is


def input_of(model: keras.Model, image_size: tuple[int, int] | None, reading: Reading) -> InputSpec:
    """The pictures that can be made into what a model takes. Raises ExportError where there are none."""
    if not model.built or not getattr(model, "inputs", None):
        raise ExportError("The model does not say what it takes; build it with a keras.Input and save it again.")
    if len(model.inputs) != 1:
        names = ", ".join(each.name for each in model.inputs)
        raise ExportError(f"The model has {len(model.inputs)} inputs ({names}); an image classifier has one.")
    shape = tuple(model.inputs[0].shape)
    height, width, channels = _picture_of(shape, image_size)
    if height is None or width is None:
        raise ExportError(f"The model takes pictures of any size, {shape}; say which with --image-size HEIGHTxWIDTH.")
    if max(height, width) > MAX_SIDE:
        raise ExportError(f"An input of {height}x{width} pixels is more than the {MAX_SIDE} a side that bundles hold.")
    if image_size not in (None, (height, width)):
        raise ExportError(f"The model takes {height}x{width} pixels; --image-size cannot change that.")
    if channels == 1 and reading.channels != "RGB":
        raise ExportError(f"--channels {reading.channels} is for three colours, and the model takes grey pictures.")
    return InputSpec.read_as(reading, height, width, "L" if channels == 1 else "RGB")


def _picture_of(
    shape: tuple[int | None, ...], image_size: tuple[int, int] | None
) -> tuple[int | None, int | None, int | None]:
    """The height, width and channels of the pictures that a model's input, (batch, ...), holds."""
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
        f"The model takes {shape}; an image classifier takes (batch, height, width, 1, 3 or 4), colours first, without "
        "colours, or all pixels in a row."
    )


def _unflattened(count: int, image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    """The picture whose numbers, in a row, a model takes: grey or in colour, a square where no size is asked for."""
    for channels in (1, 3):
        height, width = image_size or (isqrt(count // channels),) * 2
        if height * width * channels == count:
            return height, width, channels
    raise ExportError(
        f"The model takes {count} numbers, which are no square picture, grey or in colour; say which with --image-size "
        "HEIGHTxWIDTH."
    )


def fit_input(model: keras.Model, spec: InputSpec, scaling: Scaling) -> Fitted:
    """A model that takes pictures of `spec`, scaled. Raises ExportError for an alpha channel under ImageNet's modes."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) == 4 and shape[3] in (1, 3):
        return Fitted(model)
    image = keras.Input(spec.shape, name="signs_pictures")
    if len(shape) == 4 and shape[3] == 4:
        if scaling not in _OPAQUE:
            raise ExportError(f"--scaling {scaling} is for three colours; this model takes an alpha channel, too.")
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
    """A model of one sigmoid, p, as one of two labels: 1 - p and p."""
    probability = model.outputs[0]
    other = keras.layers.Rescaling(-1.0, offset=1.0, name="signs_first_label")(probability)
    return keras.Model(model.inputs[0], keras.layers.Concatenate(name=_BOTH_LABELS)([other, probability]))


def probability_of(model: keras.Model) -> keras.KerasTensor:
    """What a model gives; of one sigmoid that `with_both_labels` made two of, that."""
    given = model.outputs[0]
    return given._keras_history.operation.input[1] if has_both_labels(model) else given


def has_both_labels(model: keras.Model) -> bool:
    """Whether `with_both_labels` made it."""
    return bool(model.outputs[0]._keras_history.operation.name == _BOTH_LABELS)


def with_sigmoid(model: keras.Model) -> keras.Model:
    """A model that gives the logit of one sigmoid, with it."""
    return keras.Model(model.inputs[0], keras.layers.Activation("sigmoid", name="signs_sigmoid")(model.outputs[0]))


def both_labels(probability: Values) -> Values:
    """What `with_both_labels` gives, (n, 2), of what the model gives, (n, 1)."""
    return np.concatenate([1 - probability, probability], axis=1)
