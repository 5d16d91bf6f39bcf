"""The windows of a convolution's input, one for each output, in the order in which onnxruntime multiplies."""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.onnx_graph import attribute


def windows(values: NDArray[Any], node: onnx.NodeProto) -> NDArray[Any]:  # Any: integers or floats
    """The windows of a Conv's input (n, c, *size), as a view: (n, c, *output size, *kernel). Pads count as 0."""
    spatial = values.ndim - 2
    kernel: list[int] = attribute(node, "kernel_shape", [1] * spatial)
    strides: list[int] = attribute(node, "strides", [1] * spatial)
    dilations: list[int] = attribute(node, "dilations", [1] * spatial)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(values.shape[2:], reach, strides, node)
    padded = np.pad(values, ((0, 0), (0, 0), *pads)) if np.any(pads) else values
    view: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, values.ndim)))
    for axis, step in enumerate((*strides, *dilations), start=2):
        view = view[(slice(None),) * axis + (slice(None, None, step),)]
    return view


def all_rows(values: NDArray[Any], node: onnx.NodeProto) -> NDArray[Any]:
    """Every window as a row: (n * output size, kernel * c), channels last."""
    view = windows(values, node)
    channels_last = np.moveaxis(view, 1, -1)
    return channels_last.reshape(-1, math.prod(channels_last.shape[1 + values.ndim - 2 :]))


def some_rows(values: NDArray[Any], node: onnx.NodeProto, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """At most `count` random windows, as rows for each group: (groups, rows, kernel * c / groups)."""
    view = np.moveaxis(windows(values, node), 1, values.ndim - 1)  # (n, *output size, c, *kernel)
    outputs, channels = view.shape[: values.ndim - 1], values.shape[1]
    places = rng.permutation(math.prod(outputs))[:count]
    groups: int = attribute(node, "group", 1)
    chosen = view[np.unravel_index(places, outputs)].reshape(len(places), groups, channels // groups, -1)
    return chosen.transpose(1, 0, 3, 2).reshape(groups, len(places), -1)


def _pads(size: tuple[int, ...], reach: list[int], strides: list[int], node: onnx.NodeProto) -> list[tuple[int, int]]:
    """The padding (before, after) of each dimension: https://onnx.ai/onnx/operators/onnx__Conv.html."""
    how = attribute(node, "auto_pad", b"NOTSET")
    if how == b"VALID":
        return [(0, 0)] * len(size)
    if how == b"NOTSET":
        pads: list[int] = attribute(node, "pads", [0] * (2 * len(size)))
        return list(zip(pads[: len(size)], pads[len(size) :], strict=True))
    totals = [max(0, (-(-n // s) - 1) * s + r - n) for n, r, s in zip(size, reach, strides, strict=True)]
    return [(t // 2, t - t // 2) if how == b"SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
