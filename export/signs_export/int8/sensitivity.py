"""Measures what int8 costs in each layer: it alone is quantized, the others stay in float; answers are compared."""

import copy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_empty_tensor_value_info, make_graph, make_node, make_tensor_value_info
from onnx.numpy_helper import from_array

from signs_builder.progress import Progress, no_progress
from signs_export.int8.prepare import Prepared, Rounded
from signs_export.onnx_graph import start, weights_of
from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT

PICTURES = 12  # of the calibration; few suffice, because the distance of answers is smooth, unlike flips
_CHOICE = "quantized_layer"  # the input that chooses the quantized layer
_LEAST = 1e-6  # smaller probabilities count as this


def measure_noise(
    prepared: Prepared, quantized: onnx.ModelProto, images: NDArray[np.uint8], *, progress: Progress = no_progress
) -> dict[str, float]:
    """The noise power that each layer, alone in int8, adds to the answers, relative to the answers' power; 0 for none.

    Answers are compared as log probabilities. Ten times the logarithm of the inverse is the layer's SQNR in dB.
    `quantized` has the scales of the activations; `images` are uint8 (n, h, w, c).
    """
    model, layers = _with_switches(prepared, quantized)
    session = start(model, optimized=False)  # onnxruntime 1.31's optimizer aborts on these branches

    def answers(choice: int) -> NDArray[np.float64]:
        (probabilities,) = session.run([OUTPUT], {INPUT: images, _CHOICE: np.array([choice], np.int64)})
        logarithms = np.log(np.maximum(probabilities, _LEAST).astype(np.float64))
        centred: NDArray[np.float64] = logarithms - logarithms.mean(axis=1, keepdims=True)
        return centred

    expected = answers(-1)
    power = float(np.square(expected).sum()) or 1.0
    noise = {}
    with progress("Measuring layers", len(layers)) as on_done:
        for i, layer in enumerate(layers):
            noise[layer] = float(np.square(answers(i) - expected).sum()) / power
            on_done(1)
    return noise


def _with_switches(prepared: Prepared, quantized: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The float model with one more input, the number of the layer that computes in int8; and these layers."""
    model = copy.deepcopy(prepared.model)
    scales = weights_of(quantized)
    entries = {
        name: node for node in quantized.graph.node for name in node.output if node.op_type == "DequantizeLinear"
    }
    inputs = {node.name: entries.get(node.input[0]) for node in quantized.graph.node if node.name in prepared.rounded}
    model.graph.input.append(make_tensor_value_info(_CHOICE, onnx.TensorProto.INT64, [1]))
    layers: list[str] = []
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        entry = inputs.get(node.name)
        if entry is None:
            nodes.append(copy.deepcopy(node))
            continue
        rounded = prepared.rounded[node.name]
        model.graph.initializer.extend(_switch_values(node.name, len(layers), rounded, entry, scales))
        nodes += _switch(node, rounded)
        layers.append(node.name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model, layers


def _switch_values(
    name: str, number: int, rounded: Rounded, entry: onnx.NodeProto, scales: dict[str, onnx.TensorProto]
) -> list[onnx.TensorProto]:
    """The constants of `_switch`'s nodes. `entry` dequantizes the layer's input with two of `scales`."""
    added: dict[str, NDArray[Any]] = {  # Any: of two dtypes
        f"{name}_weights": rounded.weights,
        f"{name}_number": np.array([number], np.int64),
    }
    if rounded.bias is not None:
        added[f"{name}_bias"] = rounded.bias
    tensors = [from_array(values, key) for key, values in added.items()]
    for key, own in zip(_quantization(name), entry.input[1:], strict=True):
        tensors.append(copy.deepcopy(scales[own]))
        tensors[-1].name = key
    return tensors


def _switch(node: onnx.NodeProto, rounded: Rounded) -> list[onnx.NodeProto]:
    """The layer in float, or in int8 if its number is chosen."""
    name, quantization = node.name, _quantization(node.name)
    as_int8 = copy.deepcopy(node)
    as_int8.input[0], as_int8.input[1] = f"{name}_input", f"{name}_weights"
    if rounded.bias is not None:
        as_int8.input[2] = f"{name}_bias"
    before = [
        make_node("QuantizeLinear", [node.input[0], *quantization], [f"{name}_levels"]),
        make_node("DequantizeLinear", [f"{name}_levels", *quantization], [f"{name}_input"]),
    ]
    chosen = make_node("Equal", [_CHOICE, f"{name}_number"], [f"{name}_chosen"])
    branches = {"then_branch": _branch([*before, as_int8]), "else_branch": _branch([copy.deepcopy(node)])}
    return [chosen, make_node("If", [f"{name}_chosen"], list(node.output), name=name, **branches)]


def _quantization(name: str) -> list[str]:
    """The names of the scale and the zero point of a layer's input."""
    return [f"{name}_scale", f"{name}_zero_point"]


def _branch(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    """A branch of an If. Names inside must differ from those outside."""
    last = nodes[-1]
    last.output[0] = f"{last.output[0]}_{nodes[0].op_type}"
    return make_graph(nodes, last.name, [], [make_empty_tensor_value_info(last.output[0])])
