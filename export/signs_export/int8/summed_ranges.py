"""Chooses ranges for tensors that are added before a rectifier: it cuts off low values, which then need no levels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.onnx_graph import inner_values

LEVELS = 255
_SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the lowest value: where the range may begin


@dataclass(frozen=True)
class Summand:
    """A convolution's output that only a rectified sum reads, and the sum's other summand."""

    tensor: str
    other: str


def find_summands(model: onnx.ModelProto) -> list[Summand]:
    """Find the convolutions' outputs that are added to one other tensor before a Relu."""
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
    model: onnx.ModelProto,
    summands: list[Summand],
    extremes: Mapping[str, tuple[float, float]],
    images: NDArray[np.uint8],
) -> dict[str, tuple[float, float]]:
    """For each summand, the range (lowest, highest) with which uint8 changes the rectified sum least on `images`.

    `extremes` has the measured ranges: the highest value stays, and only the lowest is raised.
    """
    errors = {each.tensor: np.zeros(len(_SHARES)) for each in summands}
    names = sorted({name for each in summands for name in (each.tensor, each.other)})
    for batch in inner_values(model, names, images):
        for each in summands:
            values, other = batch[each.tensor], batch[each.other]
            exact = np.maximum(values + other, 0)
            for i, share in enumerate(_SHARES):
                kept = _through_uint8(values, share * extremes[each.tensor][0], extremes[each.tensor][1])
                errors[each.tensor][i] += float(np.square(np.maximum(kept + other, 0) - exact).sum())
    return {
        tensor: (_SHARES[int(found.argmin())] * extremes[tensor][0], extremes[tensor][1])
        for tensor, found in errors.items()
    }


def _through_uint8(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Float values after a round trip through uint8 with this range."""
    scale = np.float32(max(high - low, 1e-12) / LEVELS)
    zero_point = np.rint(-low / scale)
    kept: NDArray[np.float32] = (np.clip(np.rint(values / scale) + zero_point, 0, LEVELS) - zero_point) * scale
    return kept
