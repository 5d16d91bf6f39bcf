"""Quantizes float32 ONNX to int8: static QDQ by onnxruntime's tools, on a prepared graph and prepared weights.

The preparation makes it exact: every CPU gives the same answers, because no sum of two products leaves 16 bits (see
saturation.py).
"""

import copy
import logging
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array

from signs_export.int8.prepare import BETWEEN, OPERATORS, OWN, Prepared
from signs_export.onnx_graph import weights_of

_SHAPING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")


def quantize(prepared: Prepared, in_float: Collection[str] = ()) -> onnx.ModelProto:
    """Make an int8 model in which the layers `in_float`, keys of `prepared.rounded`, compute in float32.

    The layers that feed only these compute in float32 as well. Otherwise, their outputs would pass through int8.
    """
    model = copy.deepcopy(prepared.model)
    weights = weights_of(model)
    overrides: dict[str, list[dict[str, Any]]] = {}  # Any: what onnxruntime's tools take
    held_back = _with_feeders(model, in_float)
    in_float = held_back | _outside(model, held_back)
    for node in model.graph.node:
        if node.name in prepared.rounded and node.name not in held_back:
            rounded = prepared.rounded[node.name]
            weights[node.input[1]].CopyFrom(from_array(rounded.weights, node.input[1]))
            if rounded.bias is not None:
                weights[node.input[2]].CopyFrom(from_array(rounded.bias, node.input[2]))
            overrides[node.input[1]] = [
                {"axis": 0, "scale": scale, "zero_point": np.int8(0)} for scale in rounded.scale
            ]
    quantized = _quantize_static(model, prepared.ranges, overrides, sorted(in_float))
    _cut_hard_sigmoids(quantized)
    _hold_in_float(quantized)
    _shape_zero_points(quantized)
    return quantized


def _cut_hard_sigmoids(quantized: onnx.ModelProto) -> None:
    """Replace HardSigmoid, x / 6 + 1/2 clipped to 0..1, by a QuantizeLinear, which clips to 0..255.

    In 255 steps from -3 to 3 (the zero point is 127, half a step below the middle), the levels of x are the levels of
    the sigmoid in steps of 1 / 255.
    """
    graph = quantized.graph
    constants: dict[str, NDArray[Any]] = {  # Any: of two dtypes
        "cut_scale": np.array(6 / 255, np.float32),
        "cut_zero_point": np.array(127, np.uint8),
        "sigmoid_scale": np.array(1 / 255, np.float32),
        "sigmoid_zero_point": np.array(0, np.uint8),
    }
    levels = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    found = []
    for node in graph.node:
        readers = [other for other in graph.node if node.output[0] in other.input]
        goes_on = node.input[0] in levels and [other.op_type for other in readers] == ["QuantizeLinear"]
        if node.op_type == "HardSigmoid" and goes_on:
            (to_levels,) = readers
            to_levels.input[:] = [node.input[0], f"{OWN}cut_scale", f"{OWN}cut_zero_point"]
            for other in graph.node:
                if to_levels.output[0] in other.input:
                    other.input[1:] = [f"{OWN}sigmoid_scale", f"{OWN}sigmoid_zero_point"]
            found.append(node)
    for node in found:
        graph.node.remove(node)
    if found:
        graph.initializer.extend(from_array(values, f"{OWN}{name}") for name, values in constants.items())


def _shape_zero_points(quantized: onnx.ModelProto) -> None:
    """Give zero points the shape of their scales; onnxruntime 1.32 omits it for the bias of a single filter."""
    weights = weights_of(quantized)
    for node in quantized.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) > 2:
            scale, zero_point = weights[node.input[1]], weights[node.input[2]]
            if not zero_point.dims and list(scale.dims) == [1]:
                zero_point.dims.append(1)


def layers_in_float(quantized: onnx.ModelProto) -> tuple[str, ...]:
    """The convolutions of a QDQ model that compute in float32."""
    weights = weights_of(quantized)
    return tuple(node.name for node in quantized.graph.node if node.op_type == "Conv" and node.input[1] in weights)


def _hold_in_float(quantized: onnx.ModelProto) -> None:
    """Convert the inputs of layers in float from uint8 by arithmetic instead of a DequantizeLinear.

    After a DequantizeLinear, onnxruntime's optimizer would quantize the float weights, with one scale for the whole
    tensor and in full range: see WeightBiasQuantization in its source.
    """
    weights = weights_of(quantized)
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in quantized.graph.node:
        way = [node]  # back to the node where the integers end
        while (before := made_by.get(way[-1].input[0])) is not None and before.op_type in _SHAPING:
            way.append(before)
        if node.op_type == "Conv" and node.input[1] in weights and before and before.op_type == "DequantizeLinear":
            name = f"{OWN}{node.name}_entry"
            levels, scale, zero_point = before.input
            nodes += [
                onnx.helper.make_node("Cast", [levels], [f"{name}_levels"], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Cast", [zero_point], [f"{name}_zero"], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Sub", [f"{name}_levels", f"{name}_zero"], [f"{name}_steps"]),
                onnx.helper.make_node("Mul", [f"{name}_steps", scale], [name]),
            ]
            for i, shaping in enumerate(reversed(way[1:])):
                nodes.append(copy.deepcopy(shaping))
                nodes[-1].name, nodes[-1].input[0], nodes[-1].output[0] = f"{name}_{i}", name, f"{name}_{i}"
                name = f"{name}_{i}"
            node.input[0] = name
        nodes.append(node)
    read = {value.name for value in quantized.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if read.intersection(node.output):
            read.update(node.input)
            kept.append(copy.deepcopy(node))
    del quantized.graph.node[:]
    quantized.graph.node.extend(reversed(kept))


def _outside(model: onnx.ModelProto, held_back: Collection[str]) -> set[str]:
    """The nodes, other than convolutions, with an input that is not in int8: between floats, int8 only loses."""
    integers = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    convolved = _convolved(model)
    outside = set()
    for node in model.graph.node:
        if node.op_type in OPERATORS and node.name not in held_back:
            goes_on = integers.issuperset(node.input[:1] if node.op_type == "Clip" else node.input)
            if node.op_type in BETWEEN:
                goes_on = goes_on and node.output[0] in convolved
            if node.op_type == "Conv" or goes_on:
                integers.update(node.output)
            else:
                outside.add(node.name)
    return outside


def _convolved(model: onnx.ModelProto) -> set[str]:
    """The tensors that are on a path to a convolution."""
    reaching: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" or reaching.intersection(node.output):
            reaching.update(node.input)
    return reaching


def _with_feeders(model: onnx.ModelProto, layers: Collection[str]) -> set[str]:
    """These nodes, and the convolutions and rectifiers before them that feed only these nodes."""
    passing, feeders = set(layers), set()
    for node in reversed(model.graph.node):
        readers = [other.name for other in model.graph.node if node.output[0] in other.input]
        if readers and passing.issuperset(readers):
            if node.op_type in ("Relu", "Clip"):
                passing.add(node.name)
            elif node.op_type == "Conv":
                feeders.add(node.name)
    return passing | feeders


def _quantize_static(
    model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], overrides: dict[str, Any], in_float: list[str]
) -> onnx.ModelProto:
    """Quantize with onnxruntime's tools, which read `ranges`, (lowest, highest) by activation, as calibration data."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    found = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        file, cache = Path(folder, "int8.onnx"), Path(folder, "ranges.json")
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, found), cache)
        quantize_static(
            model,
            file,
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=in_float,
            calibration_cache_path=str(cache),
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantized = onnx.load(file)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.producer_name = model.producer_name
    return quantized


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress advice that onnxruntime's tools log on the root logger and that does not apply."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
