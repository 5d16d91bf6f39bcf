"""Ranges for what is added before a rectifier: what lies far below zero is cut off behind it, so it needs no levels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

LEVELS = 255
_SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the lowest value, that the range may reach down to


@dataclass(frozen=True)
class Summand:
    """A convolution's output that goes into a rectified sum and nowhere else, and the sum's other summand."""

    tensor: str
    other: str


def find_summands(model: onnx.ModelProto) -> list[Summand]:
    """The convolutions' outputs that are added to one other tensor before a Relu."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type != "Add" or [reader.op_type for reader in readers.get(node.output[0], [])] != ["Relu"]:
            continue
        if all(name in made_by for name in node.input):
            for tensor, other in (node.input, reversed(node.input)):
                if made_by[tensor].op_type == "Conv" and len(readers[tensor]) == 1:
                    found.append(Summand(tensor, other))
    return found


def choose_ranges(
    summands: list[Summand],
    extremes: Mapping[str, tuple[float, float]],
    values: Mapping[str, NDArray[np.float32]],
) -> dict[str, tuple[float, float]]:
    """For each summand the (lowest, highest) value with which uint8 changes the rectified sum of `values` least.

    The highest value, and how low the range may reach, are in `extremes`.
    """
    chosen = {}
    for each in summands:
        lowest, highest = extremes[each.tensor]
        own, other = values[each.tensor], values[each.other]
        exact = np.maximum(own + other, 0)
        errors = [
            np.square(np.maximum(_through_uint8(own, share * lowest, highest) + other, 0) - exact).sum()
            for share in _SHARES
        ]
        chosen[each.tensor] = (_SHARES[int(np.argmin(errors))] * lowest, highest)
    return chosen


def _through_uint8(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """What is left of float values in uint8 with this range."""
    scale = np.float32(max(high - low, 1e-12) / LEVELS)
    zero_point = np.rint(-low / scale)
    kept: NDArray[np.float32] = (np.clip(np.rint(values / scale) + zero_point, 0, LEVELS) - zero_point) * scale
    return kept
