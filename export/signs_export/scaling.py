"""What a Keras model wants pixels to be scaled to: said by the user or by the model itself, never guessed."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.applications import imagenet_utils
from numpy.typing import NDArray

from signs_export.config import SCALINGS, Scaling
from signs_export.errors import ExportError

# Layers before which nothing is learned, so that a scaling may still follow them.
_SCALING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)


def choose_scaling(model: keras.Model, asked: Scaling | None) -> Scaling:
    """The scaling asked for, or "none" for a model that begins with a scaling layer of its own.

    Raises ExportError where neither is given.
    """
    if asked is not None:
        if asked in ("torch", "caffe") and model.input_shape[-1] != 3:
            raise ExportError(f"--scaling {asked} is for three colours; this model takes {model.input_shape[-1]}.")
        return asked
    if scaling_layer(model) is not None:
        return "none"
    raise ExportError(
        "The model has no scaling layer, so it must be said what it was trained on: "
        f"--scaling {'|'.join(SCALINGS)}.\n"
        "  none: pixels 0..255    unit: x / 255    tf: x / 127.5 - 1\n"
        "  torch: x / 255, ImageNet's mean and deviation    caffe: BGR less ImageNet's mean"
    )


def scaling_layer(model: keras.Model) -> str | None:
    """The name of the Rescaling or Normalization layer that pixels meet before any other layer with weights."""
    for layer in _in_order(model):
        if isinstance(layer, _SCALING_LAYERS):
            return str(layer.name)
        if layer.weights:
            return None
    return None


def _in_order(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers from the input on, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _in_order(layer)
        else:
            yield layer


def scale_array(images: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    """Scale pixels (n, h, w, c) outside the graph, as Keras's own users do."""
    pixels = images.astype(np.float32)
    if scaling == "unit":
        return pixels / np.float32(255)
    if scaling == "none":
        return pixels
    scaled: NDArray[np.float32] = imagenet_utils.preprocess_input(pixels, data_format="channels_last", mode=scaling)
    return scaled


def scale_tensor(images: Any, scaling: Scaling) -> Any:  # Any: a float32 tensor of the back end
    """Scale pixels (n, h, w, c) inside the graph."""
    if scaling == "unit":
        return images / 255.0
    if scaling == "none":
        return images
    return imagenet_utils.preprocess_input(images, data_format="channels_last", mode=scaling)
