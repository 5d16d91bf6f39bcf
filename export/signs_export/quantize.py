"""float32 ONNX to int8: static QDQ by onnxruntime's tools, on a graph and with weights prepared so that it is exact.

Exact means: the same answers on every CPU, because no sum of two products leaves 16 bits (see saturation.py).
"""

import copy
import logging
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array, to_array

from signs_builder.progress import Progress, no_progress
from signs_export.calibration import Calibration
from signs_export.config import Int8Config
from signs_export.equalize import equalize, find_streams
from signs_export.graph import attribute, weights_of
from signs_export.observe import observe
from signs_export.rounding import full_scale, round_learned, round_nearest, safe_scale
from signs_export.saturation import is_depthwise
from signs_export.summed_ranges import choose_ranges, find_summands
from signs_runtime.classifier import INPUT

# What onnxruntime computes in int8 on CPUs, but for average pools and dense layers: behind the convolutions these cost
# no time, and an error tells most.
_OPERATORS = ["Conv", "Relu", "Clip", "Add", "MaxPool", "Transpose", "Concat"]
_SHAPING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")
OWN = "signs/"  # before names that are given here; no Keras layer's name has a slash
# Ranges of rectified sums are chosen on every so many-th calibration picture, none of them changed: with changed ones
# among them, answers on SIGNS move by 1.7e-4 instead of 1.2e-4.
_SUMMED = 8
_MOST_COLUMNS = 8192  # of a filter, whose rounding can be learned: it takes several matrices of columns x columns
_LARGEST_BIAS = 2**30  # steps: a bias is an int32


@dataclass(frozen=True)
class Rounded:
    """A convolution's weights (o, i, *kernel) as int8 holds them, the scale of each filter and the corrected bias."""

    weights: NDArray[np.float32]
    scale: NDArray[np.float32]  # (o,)
    bias: NDArray[np.float32] | None  # (o,)


class Quantizer:
    """A folded float32 model made ready for int8, once, from which int8 models are made.

    Activations become uint8 with one scale for a tensor, weights int8 with a scale for each filter.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        calibration: Calibration,
        config: Int8Config,
        *,
        progress: Progress = no_progress,
    ) -> None:
        self.model = copy.deepcopy(model)
        _own_weights(self.model)
        _let_pixels_in(self.model)
        streams = find_streams(self.model) if config.equalization else []
        in_streams = {name for stream in streams for name in stream.tensors}
        weights = weights_of(self.model)
        convolutions = [node for node in self.model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
        counted = _counted_ranges(self.model)
        self.rounded: dict[str, Rounded] = {}  # by layer
        with progress("Rounding weights", len(convolutions)) as on_done:
            seen = observe(self.model, convolutions, set(counted.values()), in_streams, calibration.images)
            seen.divide(convolutions, equalize(self.model, streams, seen.largest(), config.equalization))
            for node in convolutions:
                self.rounded[node.name] = _round(weights, node, seen.rows.pop(node.name), config)
                on_done(1)
        ranges = seen.ranges()
        if config.summed_ranges:
            summands = find_summands(self.model)
            ranges |= choose_ranges(self.model, summands, ranges, calibration.images[::_SUMMED])
        self._ranges = {name: ranges[other] for name, other in counted.items() if other in ranges}

    def quantize(self, in_float: Collection[str] = ()) -> onnx.ModelProto:
        """Make an int8 model in which the layers `in_float`, keys of `rounded`, compute in float32.

        So do the layers that feed them alone: what they say would else pass through int8 on its way.
        """
        model = copy.deepcopy(self.model)
        weights = weights_of(model)
        overrides: dict[str, list[dict[str, Any]]] = {}
        held_back = _with_feeders(model, in_float)
        in_float = held_back | _outside(model, held_back)
        for node in model.graph.node:
            if node.name in self.rounded and node.name not in held_back:
                rounded = self.rounded[node.name]
                weights[node.input[1]].CopyFrom(from_array(rounded.weights, node.input[1]))
                if rounded.bias is not None:
                    weights[node.input[2]].CopyFrom(from_array(rounded.bias, node.input[2]))
                overrides[node.input[1]] = [
                    {"axis": 0, "scale": scale, "zero_point": np.int8(0)} for scale in rounded.scale
                ]
        quantized = _quantize_static(model, self._ranges, overrides, sorted(in_float))
        _hold_in_float(quantized)
        return quantized


def layers_in_float(quantized: onnx.ModelProto) -> tuple[str, ...]:
    """The convolutions of a QDQ model that compute in float32."""
    weights = weights_of(quantized)
    return tuple(node.name for node in quantized.graph.node if node.op_type == "Conv" and node.input[1] in weights)


def _hold_in_float(quantized: onnx.ModelProto) -> None:
    """Have the layers in float take their numbers from uint8 by arithmetic instead of a DequantizeLinear.

    Behind that, onnxruntime's optimizer quantizes float weights by itself, for the whole tensor and in full range: see
    WeightBiasQuantization in its source.
    """
    weights = weights_of(quantized)
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in quantized.graph.node:
        way = [node]  # back to where integers end
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
    """The nodes besides convolutions that do not go on from int8 alone: between floats, integers only lose."""
    integers = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    outside = set()
    for node in model.graph.node:
        if node.op_type in _OPERATORS and node.name not in held_back:
            if node.op_type == "Conv" or integers.issuperset(node.input[:1] if node.op_type == "Clip" else node.input):
                integers.update(node.output)
            else:
                outside.add(node.name)
    return outside


def _counted_ranges(model: onnx.ModelProto) -> dict[str, str]:
    """The activations whose ranges onnxruntime may ask for, each with the one whose range counts for it.

    That is its own but where a rectifier alone reads it: what lies outside the rectifier's range is cut off.
    """
    weights = weights_of(model)
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    counted: dict[str, str] = {}
    for node in reversed(model.graph.node):
        if node.op_type in _OPERATORS:
            rectifies = node.op_type in ("Relu", "Clip")
            for name in (*node.output, *node.input[: 1 if rectifies else None]):
                counted.setdefault(name, name)
            if rectifies and uses[node.input[0]] == 1:
                counted[node.input[0]] = counted[node.output[0]]
    return {name: other for name, other in counted.items() if name and name != INPUT and name not in weights}


def _own_weights(model: onnx.ModelProto) -> None:
    """Give each convolution weights and a bias of its own, where layers share them."""
    used: set[str] = set()
    weights = weights_of(model)
    for node in model.graph.node:
        for i, name in enumerate(node.input if node.op_type == "Conv" else []):
            if name in weights and name in used:
                own = f"{OWN}{node.name}_{i}"
                model.graph.initializer.append(from_array(to_array(weights[name]), own))
                node.input[i] = own
            used.add(name)


def _with_feeders(model: onnx.ModelProto, layers: Collection[str]) -> set[str]:
    """These nodes, and the convolutions before them, with their rectifiers, that feed no others."""
    passing, feeders = set(layers), set()
    for node in reversed(model.graph.node):
        readers = [other.name for other in model.graph.node if node.output[0] in other.input]
        if readers and passing.issuperset(readers):
            if node.op_type in ("Relu", "Clip"):
                passing.add(node.name)
            elif node.op_type == "Conv":
                feeders.add(node.name)
    return passing | feeders


def _let_pixels_in(model: onnx.ModelProto) -> None:
    """Let uint8 pixels enter the integer graph as they are, where they are only multiplied with a number at first.

    A DequantizeLinear with that number as scale and zero point 0 is exact.
    """
    graph, weights = model.graph, weights_of(model)
    readers = [node for node in graph.node if INPUT in node.input]
    if len(readers) != 1 or readers[0].op_type != "Cast":
        return
    (cast,) = readers
    scaling = [node for node in graph.node if cast.output[0] in node.input]
    if len(scaling) != 1 or scaling[0].op_type not in ("Mul", "Div"):
        return
    (scaling_node,) = scaling
    factors = [to_array(weights[name]) for name in scaling_node.input if name in weights]
    if len(factors) != 1 or factors[0].size != 1 or scaling_node.input[0] != cast.output[0]:
        return
    factor = float(factors[0].reshape(()))
    scale = np.float32(factor if scaling_node.op_type == "Mul" else 1 / factor)
    if not scale > 0:
        return
    quantization: dict[str, NDArray[Any]] = {
        f"{OWN}{INPUT}_scale": np.array(scale),
        f"{OWN}{INPUT}_zero_point": np.array(0, np.uint8),
    }
    graph.initializer.extend(from_array(values, name) for name, values in quantization.items())
    entry = onnx.helper.make_node(
        "DequantizeLinear",
        [INPUT, *quantization],
        [scaling_node.output[0]],
        name=f"{OWN}{INPUT}_entry",
    )
    nodes = [entry if node is cast else node for node in graph.node if node is not scaling_node]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    nodes = [copy.deepcopy(node) for node in nodes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _round(
    weights: dict[str, onnx.TensorProto], node: onnx.NodeProto, inputs: NDArray[np.float32], config: Int8Config
) -> Rounded:
    values = to_array(weights[node.input[1]])  # (o, i, *kernel)
    channels_last = np.moveaxis(values, 1, -1)
    rows = channels_last.reshape(len(values), -1)
    bias = to_array(weights[node.input[2]]) if len(node.input) > 2 and node.input[2] in weights else None
    paired = config.exact_everywhere and not is_depthwise(node, rows)
    scale = safe_scale(rows) if paired else full_scale(rows)
    # A filter of zeros keeps its bias, which is counted in steps of its scale times the activations'.
    coarse = 0.0 if bias is None else np.abs(bias) * 255 / _LARGEST_BIAS / max(float(inputs.max()), 1e-6)
    scale = np.maximum(np.maximum(scale, coarse), np.finfo(np.float32).tiny).astype(np.float32)
    groups: int = attribute(node, "group", 1)
    filters, steps = rows.reshape(groups, -1, rows.shape[1]), scale.reshape(groups, -1)
    learned = config.learned_rounding and rows.shape[1] <= _MOST_COLUMNS
    rounding = round_learned if learned else round_nearest
    rounded = rounding(filters, steps, inputs, paired=paired) * steps[:, :, None]
    if bias is not None and config.bias_correction:
        # What rounding takes from the mean output: Banner et al., 2019, https://arxiv.org/abs/1810.05723.
        lost = (filters - rounded) @ inputs.mean(axis=1)[:, :, None]
        bias = (bias + lost.ravel()).astype(np.float32)
    shaped = np.moveaxis(rounded.reshape(channels_last.shape), -1, 1)
    return Rounded(np.ascontiguousarray(shaped), scale, bias)


def _quantize_static(
    model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], overrides: dict[str, Any], in_float: list[str]
) -> onnx.ModelProto:
    """`ranges` are the (lowest, highest) values of activations; onnxruntime takes them for an earlier calibration."""
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
            op_types_to_quantize=_OPERATORS,
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
    """onnxruntime's tools log advice that does not apply, on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
