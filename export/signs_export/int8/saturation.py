"""Predicts where int8 answers differently on x86 without VNNI: sums of two products that do not fit into 16 bits.

Without VNNI, VPMADDUBSW multiplies uint8 activations with int8 weights and adds neighbours in 16 bits, with saturation
(https://www.felixcloutier.com/x86/vpmaddubsw). A CPU with VNNI adds in 32 bits. onnxruntime orders a convolution's
products by row, column and channel, and pairs those at even places with their successors. Its kernel for depthwise
convolutions adds in 32 bits. `benchmarks/export/int8_without_vnni.py` checks all of this on an emulated CPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import to_array

from signs_builder.progress import ignore_progress
from signs_export.int8.convolution_windows import all_rows
from signs_export.onnx_graph import attribute, inner_values, weights_of

LARGEST = 2**15 - 1  # that 16 bits hold
PAIR_LIMIT = LARGEST // 255  # largest sum of two neighbouring weights of one sign, safe for all activations
_CHUNK = 2**22  # pair sums that are computed at once


@dataclass(frozen=True)
class Saturation:
    """The largest |sum of two products| of a layer: what its weights allow, and what calibration pictures reach."""

    layer: str
    bound: int
    measured: int  # 0 if the bound already excludes saturation

    @property
    def at_risk(self) -> bool:
        """Whether some picture could saturate it; `bound` holds for every picture."""
        return self.bound > LARGEST

    @property
    def saturates(self) -> bool:
        """Whether a calibration picture saturates it."""
        return self.measured > LARGEST


def predict_saturation(
    model: onnx.ModelProto, images: NDArray[np.uint8], on_done: Callable[[int], None] = ignore_progress
) -> list[Saturation]:
    """Bound the pair sums of each quantized Conv and Gemm of a QDQ model, and measure the layers at risk.

    `images` are uint8 (n, h, w, c); `on_done` counts them.
    """
    weights = weights_of(model)
    made_by = {name: node for node in model.graph.node for name in node.output}
    layers = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or node.input[0] not in made_by or node.input[1] not in made_by:
            continue
        activation, weight = made_by[node.input[0]], made_by[node.input[1]]
        if activation.op_type == weight.op_type == "DequantizeLinear" and weight.input[0] in weights:
            layers.append((node, activation.input[0], _rows(to_array(weights[weight.input[0]]), node)))
    bounds = {node.name: 255 * int(pair_sums(rows).max()) for node, _, rows in layers if not is_depthwise(node, rows)}
    risky = [(node, source, rows) for node, source, rows in layers if bounds.get(node.name, 0) > LARGEST]
    measured = dict.fromkeys(bounds, 0)
    if risky:
        for batch in inner_values(model, sorted({source for _, source, _ in risky}), images):
            for node, source, rows in risky:
                measured[node.name] = max(measured[node.name], _largest_sum(batch[source], rows, node))
            on_done(len(next(iter(batch.values()))))
    return [Saturation(name, bound, measured[name]) for name, bound in bounds.items()]


def pair_sums(rows: NDArray[Any]) -> NDArray[Any]:  # Any: integers stay integers
    """For each pair, the larger sum of its positive or of its negative |weights|: (o, k) in, (o, pairs) out."""
    first, second = np.moveaxis(_pairs(rows), -1, 0)
    positive, negative = (np.maximum(sign * first, 0) + np.maximum(sign * second, 0) for sign in (1, -1))
    sums: NDArray[Any] = np.maximum(positive, negative)
    return sums


def is_depthwise(node: onnx.NodeProto, rows: NDArray[np.generic]) -> bool:
    """Whether a convolution has one filter, of rows (o, k), for each channel; onnxruntime has its own kernel for it."""
    groups = attribute(node, "group", 1)
    kernel = int(np.prod(attribute(node, "kernel_shape", [1])))
    return bool(node.op_type == "Conv" and groups > 1 and rows.shape == (groups, kernel))


def _rows(weights: NDArray[np.int8], node: onnx.NodeProto) -> NDArray[np.int32]:
    """The filters (o, k), in the order of the products; a Gemm's filters are its columns."""
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        weights = weights.T
    return np.moveaxis(weights, 1, -1).reshape(len(weights), -1).astype(np.int32)


def _pairs(rows: NDArray[Any]) -> NDArray[Any]:
    """(o, k) to (o, pairs, 2); an odd last one is paired with 0."""
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    return rows.reshape(len(rows), -1, 2)


def _largest_sum(activations: NDArray[np.uint8], filters: NDArray[np.int32], node: onnx.NodeProto) -> int:
    """The largest |pair sum| of activations, uint8 (n, c, *size) or rows (n, k), over the pairs that can saturate.

    Pads count as 0, which is also the zero point of activations after a rectifier.
    """
    pairs = _pairs(filters)
    risky = np.argwhere(255 * pair_sums(filters) > LARGEST)  # (r, 2): filter and pair
    groups = attribute(node, "group", 1) if node.op_type == "Conv" else 1
    members = len(pairs) // groups
    largest = 0
    for group, inputs in enumerate(np.split(activations, groups, axis=1)):
        own = risky[risky[:, 0] // members == group]
        if not len(own):
            continue
        rows = _pairs(all_rows(inputs, node) if node.op_type == "Conv" else inputs).astype(np.int32)
        step = max(1, _CHUNK // len(rows))
        for start in range(0, len(own), step):
            filters_, places = own[start : start + step].T
            both = pairs[filters_, places]  # (r, 2)
            total = rows[:, places, 0] * both[:, 0] + rows[:, places, 1] * both[:, 1]
            largest = max(largest, int(np.abs(total).max()))
    return largest
