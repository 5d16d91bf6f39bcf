"""What a Keras model wants pixels to be scaled to: said by the user or by the model itself, never guessed."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.applications import imagenet_utils

from signs_export.config import SCALINGS, Scaling
from signs_export.errors import ExportError, ScalingNeededError

_SCALING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)
LARGEST_INPUT = 20.0  # what a layer that was made for 0..255 leaves of it: at most 2.7 in Keras's own models


def choose_scaling(model: keras.Model, asked: Scaling | None, channels: int) -> Scaling:
    """The scaling asked for, or "none" for a model that begins with a layer which scales 0..255 by itself.

    Raises ExportError where neither is given.
    """
    if asked is not None:
        if asked in ("torch", "caffe") and channels != 3:
            raise ExportError(f"--scaling {asked} is for three colours; this model takes {channels}.")
        return asked
    if scaling_layer(model) is not None:
        return "none"
    raise ScalingNeededError(
        "The model has no layer that scales pixels of 0 to 255, so it must be said what it was trained on: "
        f"--scaling {'|'.join(SCALINGS)}.\n"
        "  none: pixels 0..255    unit: x / 255    tf: x / 127.5 - 1\n"
        "  torch: x / 255, ImageNet's mean and deviation    caffe: BGR less ImageNet's mean"
    )


def scaling_layer(model: keras.Model) -> str | None:
    """The name of the Rescaling or Normalization layer that scales 0..255 before any other layer with weights."""
    for layer in _in_order(model):
        if isinstance(layer, _SCALING_LAYERS):
            return str(layer.name) if _is_for_pixels(layer, model) else None
        if layer.weights:
            return None
    return None


def scale(pixels: Any, scaling: Scaling) -> Any:  # Any: a float32 numpy array, or a tensor inside the graph
    """Scale pixels (n, h, w, c) of 0..255; keras.applications does arrays and tensors in code of their own."""
    if scaling == "none":
        return pixels
    if scaling == "unit":
        return pixels / 255.0
    return imagenet_utils.preprocess_input(pixels, data_format="channels_last", mode=scaling)


def _is_for_pixels(layer: keras.Layer, model: keras.Model) -> bool:
    """Tell a layer that was made for 0..255 from one for pixels that were scaled before."""
    shape = tuple(model.inputs[0].shape[1:])
    shape = (1, 1, shape[-1]) if len(shape) == 3 else tuple(side or 1 for side in shape)
    black_and_white = np.stack([np.zeros(shape), np.full(shape, 255)]).astype(np.float32)
    return bool(np.abs(keras.ops.convert_to_numpy(layer(black_and_white))).max() <= LARGEST_INPUT)


def _in_order(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers from the input on, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _in_order(layer)
        else:
            yield layer
