"""Turns large dense layers into convolutions of one pixel, so that int8 treats them like other convolutions."""

import copy

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

from signs_export.onnx_graph import attribute, weights_of

# Share of the model's weights. Smaller dense layers stay in float: after the convolutions they cost no time and hardly
# any bytes, and errors in the last layer matter most.
LEAST_SHARE = 0.05
_AXES = "signs/pixel_axes"  # no Keras layer's name has a slash


def dense_as_convolutions(model: onnx.ModelProto) -> None:
    """Turn each dense layer that holds at least LEAST_SHARE of the weights into a convolution, in place."""
    weights = weights_of(model)
    total = sum(int(np.prod(tensor.dims)) for tensor in weights.values())
    uses = [name for node in model.graph.node for name in node.input]
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        share = int(np.prod(weights[node.input[1]].dims)) / total if _is_dense(node, weights) else 0.0
        if share < LEAST_SHARE or any(uses.count(name) > 1 for name in node.input[1:]):
            nodes.append(copy.deepcopy(node))
            continue
        kernel = to_array(weights[node.input[1]])
        filters = kernel if attribute(node, "transB", 0) else kernel.T  # (o, k)
        weights[node.input[1]].CopyFrom(from_array(np.ascontiguousarray(filters[:, :, None, None]), node.input[1]))
        pixel, result = f"signs/{node.name}_pixel", f"signs/{node.name}_result"
        convolution = make_node("Conv", [pixel, *node.input[1:]], [result], name=node.name, kernel_shape=[1, 1])
        nodes += [
            make_node("Unsqueeze", [node.input[0], _AXES], [pixel], name=pixel),
            convolution,
            make_node("Squeeze", [result, _AXES], list(node.output), name=result),
        ]
    if len(nodes) == len(model.graph.node):
        return
    model.graph.initializer.append(from_array(np.array([2, 3], np.int64), _AXES))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _columns(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> int:
    return int(weights[node.input[1]].dims[0 if attribute(node, "transB", 0) else 1])


def _is_dense(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node is a plain product with constant weights, with or without a bias of one number a column."""
    return (
        node.op_type == "Gemm"
        and all(name in weights for name in node.input[1:])
        and not attribute(node, "transA", 0)
        and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
        and (len(node.input) < 3 or list(weights[node.input[2]].dims) == [_columns(node, weights)])
    )
