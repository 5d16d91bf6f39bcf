"""Turns late convolutions of an int8 graph into products of matrices, which compute the same integers.

onnxruntime splits a convolution among threads along its pixels, and runs it once for each picture. Late maps have few
pixels and large weights: threads idle, and the weights are read again for each picture of a batch. A product (QGemm)
is also split along its filters, and reads its weights once for a batch. Which is faster depends on the CPU.
"""

import copy
import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

from signs_export.int8.convolution_windows import windows
from signs_export.int8.prepare import OWN
from signs_export.onnx_graph import attribute, weights_of

# benchmarks/export/graph_changes.py on ResNet-50: on one CPU, maps of up to 16 pixels gain at one and two threads, and
# 64 lose; on another (an AMD EPYC with VNNI), all lose at batch 1, a fifth at one thread and a tenth at two. So both
# layouts are sealed, and `signs tune` chooses.
MOST_PIXELS = 16
LEAST_WEIGHTS = 2**18  # of a layer: reading fewer is no slower than the nodes around a product

Shape = tuple[int, ...]


def as_products(quantized: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with products instead of convolutions on few pixels, and sums of rows behind them; None without any.

    Rows are (n * pixels, channels), channels last. Nothing is reordered between two products. For other readers, a
    result gets its former shape back. The names of layers and of their outputs stay.
    """
    model = copy.deepcopy(quantized)
    return model if _Rewriting(model).run() else None


class _Rewriting:
    """The state of one rewriting of a QDQ graph."""

    def __init__(self, quantized: onnx.ModelProto) -> None:
        self._graph = quantized.graph
        self._weights = weights_of(quantized)
        self._shapes = _shapes(quantized)
        self._made_by = {name: node for node in self._graph.node for name in node.output}
        self._rows: dict[str, str] = {}  # by tensor of levels, the same levels as rows
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> bool:
        """Rewrite the graph in one pass, in its order; return whether anything changed."""
        changed = False
        for node in list(self._graph.node):
            if self._is_late(node):
                self._multiply(node)
            elif self._is_sum_of_rows(node):
                self._add(node)
            else:
                self._nodes.append(node)
                continue
            changed = True
        if changed:
            self._keep_what_is_read()
        return changed

    def _is_late(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Conv" or attribute(node, "group", 1) != 1 or not self._is_quantized(node):
            return False
        _, _, *spatial = self._shapes[node.output[0]]
        kernel = self._weights[self._made_by[node.input[1]].input[0]]
        return math.prod(spatial) <= MOST_PIXELS and math.prod(kernel.dims) >= LEAST_WEIGHTS

    def _is_sum_of_rows(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Add" or not self._is_quantized(node):
            return False
        levels = [self._made_by[name].input[0] for name in node.input]
        shapes = {self._shapes[name] for name in (*node.input, *node.output)}
        return len(shapes) == 1 and any(name in self._rows for name in levels)

    def _is_quantized(self, node: onnx.NodeProto) -> bool:
        """Whether a node's inputs are dequantized levels of known shapes, and its result is only quantized again."""
        readers = [other.op_type for other in self._graph.node if node.output[0] in other.input]
        entries = [self._made_by.get(name) for name in node.input]
        return (
            all(entry is not None and entry.op_type == "DequantizeLinear" for entry in entries)
            and readers == ["QuantizeLinear"]
            and all(name in self._shapes for name in (node.input[0], node.output[0]))
        )

    def _multiply(self, node: onnx.NodeProto) -> None:
        entry, kernel = (self._made_by[name] for name in node.input[:2])
        levels, name = entry.input[0], f"{OWN}{node.name}"
        shape = self._shapes[node.input[0]]
        rows = self._as_rows(levels, shape)
        seen, pads = _seen(shape[1:], node)
        if seen.tolist() != [[i] for i in range(math.prod(shape[2:]))]:
            rows = self._unfold(rows, entry.input[2], shape, seen, pads, name)
        weights = to_array(self._weights[kernel.input[0]])  # (o, c, *kernel)
        columns = np.moveaxis(weights, (0, 1), (-1, -2)).reshape(-1, len(weights))  # (kernel * c, o)
        self._constant(f"{name}/columns", np.ascontiguousarray(columns))
        self._node("DequantizeLinear", [f"{name}/columns", *kernel.input[1:]], f"{name}/kernel", axis=1)
        self._node("DequantizeLinear", [rows, *entry.input[1:]], f"{name}/input")
        self._compute("Gemm", [f"{name}/input", f"{name}/kernel", *node.input[2:]], node)

    def _add(self, node: onnx.NodeProto) -> None:
        summands = []
        for i, name in enumerate(node.input):
            entry = self._made_by[name]
            rows = self._as_rows(entry.input[0], self._shapes[name])
            summands.append(f"{OWN}{node.name}/{i}")
            self._node("DequantizeLinear", [rows, *entry.input[1:]], summands[-1])
        self._compute("Add", summands, node)

    def _compute(self, operator: str, inputs: list[str], node: onnx.NodeProto) -> None:
        """Compute the result of `node` on rows, and its levels in their former shape for other readers."""
        (result,) = node.output
        (quantizing,) = (other for other in self._graph.node if result in other.input)
        (levels,) = quantizing.output
        channels, *spatial = self._shapes[result][1:]
        self._nodes.append(make_node(operator, inputs, [result], name=node.name))
        self._rows[levels] = f"{OWN}{levels}/rows"
        self._node("QuantizeLinear", [result, *quantizing.input[1:]], self._rows[levels])
        self._reshape(self._rows[levels], [-1, *spatial, channels], f"{OWN}{levels}/pixels")
        rank = len(spatial) + 2
        self._node("Transpose", [f"{OWN}{levels}/pixels"], levels, perm=[0, rank - 1, *range(1, rank - 1)])
        quantizing.output[0] = f"{OWN}{levels}/unread"  # the graph names each tensor once

    def _as_rows(self, levels: str, shape: Shape) -> str:
        if levels not in self._rows:
            rank = len(shape)
            self._node("Transpose", [levels], f"{OWN}{levels}/last", perm=[0, *range(2, rank), 1])
            self._reshape(f"{OWN}{levels}/last", [-1, shape[1]], f"{OWN}{levels}/rows")
            self._rows[levels] = f"{OWN}{levels}/rows"
        return self._rows[levels]

    def _unfold(
        self, rows: str, zero_point: str, shape: Shape, seen: NDArray[np.int64], has_pads: bool, name: str
    ) -> str:
        """Rows of all pixels that each output sees. `seen` (outputs, kernel) has their places."""
        channels, pixels = shape[1], math.prod(shape[2:])
        self._reshape(rows, [-1, pixels, channels], f"{name}/pixels")
        source = f"{name}/pixels"
        if has_pads:
            self._constant(f"{OWN}one_more", np.array([0, 0, 0, 0, 1, 0], np.int64))
            self._node("Pad", [source, f"{OWN}one_more", zero_point], f"{name}/padded")
            source = f"{name}/padded"
        places = self._constant(f"{OWN}{'_'.join(map(str, seen.flatten()))}", seen.flatten())
        self._node("Gather", [source, places], f"{name}/seen", axis=1)
        self._reshape(f"{name}/seen", [-1, seen.shape[1] * channels], f"{name}/unfolded")
        return f"{name}/unfolded"

    def _reshape(self, tensor: str, shape: list[int], result: str) -> None:
        name = self._constant(f"{OWN}shape_{'_'.join(map(str, shape))}", np.array(shape, np.int64))
        self._node("Reshape", [tensor, name], result)

    def _node(self, operator: str, inputs: list[str], result: str, **attributes: Any) -> None:  # Any: ONNX's
        self._nodes.append(make_node(operator, inputs, [result], name=result, **attributes))

    def _constant(self, name: str, values: NDArray[Any]) -> str:  # Any: of several dtypes
        if name not in self._weights:
            self._graph.initializer.append(from_array(values, name))
            self._weights[name] = self._graph.initializer[-1]
        return name

    def _keep_what_is_read(self) -> None:
        """Remove what nothing reads any more; onnxruntime would still compute it."""
        read = {value.name for value in self._graph.output}
        nodes, weights = [], []
        for node in reversed(self._nodes):
            if read.intersection(node.output):
                read.update(node.input)
                nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        for tensor in self._graph.initializer:
            if tensor.name in read:
                weights.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]  # the last: former shapes
        self._graph.node.extend(reversed(nodes))
        self._graph.initializer.extend(weights)


def _seen(shape: Shape, node: onnx.NodeProto) -> tuple[NDArray[np.int64], bool]:
    """The pixels of (c, *size) that each output of a convolution sees, (outputs, kernel), and whether there are pads.

    A pad is stored as the place after the last pixel.
    """
    pixels = math.prod(shape[1:])
    numbered = np.arange(1, pixels + 1).reshape(1, 1, *shape[1:])  # pads count as 0
    view = windows(numbered, node)
    outputs = math.prod(view.shape[2 : view.ndim - len(shape[1:])])
    seen = view.reshape(outputs, -1) - 1
    return np.where(seen < 0, pixels, seen), bool((seen < 0).any())


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shapes of tensors whose axes are all known, apart from the first (the batch), which counts as 0."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        axes = value.type.tensor_type.shape.dim
        if axes and all(axis.HasField("dim_value") for axis in axes[1:]):
            shapes[value.name] = (0, *(axis.dim_value for axis in axes[1:]))
    return shapes
