"""The scaling that a Keras model needs: given by the user or found in the model, never guessed."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.applications import imagenet_utils

from signs_export.config import SCALINGS, Scaling
from signs_export.errors import ExportError, ScalingNeededError

_SCALING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)
LARGEST_INPUT = 20.0  # a layer made for 0..255 scales it to less; at most 2.7 in Keras's own models


def choose_scaling(model: keras.Model, asked: Scaling | None, channels: int) -> Scaling:
    """The scaling that was asked for, or "none" for a model whose first layers scale 0..255.

    Raises ScalingNeededError if there is neither, and ExportError for ImageNet's modes without three colours.
    """
    if asked is not None:
        if asked in ("torch", "caffe") and channels != 3:
            raise ExportError(
                f"--scaling {asked} is for three colours; this model takes {channels}. Pass another --scaling."
            )
        return asked
    if scaling_layer(model) is not None:
        return "none"
    raise ScalingNeededError(
        "The model has no layer that scales pixels of 0 to 255. Pass the scaling that it was trained with: "
        f"--scaling {'|'.join(SCALINGS)}.\n"
        "  none: pixels 0..255    unit: x / 255    tf: x / 127.5 - 1\n"
        "  torch: x / 255, then ImageNet's mean and deviation    caffe: BGR minus ImageNet's mean"
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
    """Scale pixels (n, h, w, c) of 0..255; keras.applications has separate code for arrays and tensors."""
    if scaling == "none":
        return pixels
    if scaling == "unit":
        return pixels / 255.0
    return imagenet_utils.preprocess_input(pixels, data_format="channels_last", mode=scaling)


def _is_for_pixels(layer: keras.Layer, model: keras.Model) -> bool:
    """Whether a layer was made for pixels of 0..255, and not for pixels that are already scaled."""
    shape = tuple(model.inputs[0].shape[1:])
    shape = (1, 1, shape[-1]) if len(shape) == 3 else tuple(side or 1 for side in shape)
    black_and_white = np.stack([np.zeros(shape), np.full(shape, 255)]).astype(np.float32)
    return bool(np.abs(keras.ops.convert_to_numpy(layer(black_and_white))).max() <= LARGEST_INPUT)


def _in_order(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers from the input on; nested models are replaced by their layers."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _in_order(layer)
        else:
            yield layer
