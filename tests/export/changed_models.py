"""Copies of converted models with something wrong."""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray


def with_last_layer(
    model: onnx.ModelProto, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> onnx.ModelProto:
    """A copy in which the last layer's weights (8, 6) are changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(each for each in copy.graph.initializer if list(each.dims) == [8, 6])
    values = change(onnx.numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return copy
