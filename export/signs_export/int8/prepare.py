"""Prepares a float32 model for int8, once: its graph, its weights on int8's levels, its activations' ranges."""

import copy
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import from_array, to_array

from signs_builder.progress import Progress, no_progress
from signs_export.config import Int8Config
from signs_export.int8.activations import Observations, observe
from signs_export.int8.blas import one_blas_thread
from signs_export.int8.calibration import Calibration
from signs_export.int8.dense import dense_as_convolutions
from signs_export.int8.equalize import equalize, find_streams
from signs_export.int8.rounding import full_scale, round_learned, round_nearest, safe_scale
from signs_export.int8.same_rounding import round_the_same
from signs_export.int8.saturation import is_depthwise
from signs_export.int8.summed_ranges import choose_ranges, find_summands
from signs_export.onnx_graph import attribute, weights_of
from signs_runtime.bundle.onnx_metadata import INPUT
from signs_runtime.placement.limits import find_limits

# What onnxruntime computes in int8 on CPUs, without global pools and dense layers: those cost no time, and errors
# matter most there. For the same reason, the operators in BETWEEN are in int8 only if a convolution follows.
OPERATORS = ["Conv", "Relu", "Clip", "Add", "MaxPool", "Transpose", "Concat"]
BETWEEN = ("Mul", "Sigmoid", "HardSigmoid", "AveragePool")
OPERATORS += BETWEEN
OWN = "signs/"  # prefix of the names made here; no Keras layer's name has a slash
# Ranges of rectified sums are chosen on every _SUMMED-th calibration picture, all unaltered. With altered ones,
# answers on SIGNS change by 1.7e-4 instead of 1.2e-4.
_SUMMED = 8
_MOST_COLUMNS = 8192  # of a filter whose rounding is learned: this needs several matrices of columns x columns
_MOST_WORK = 2e10  # filters x columns x columns: about a minute on one core
_LARGEST_BIAS = 2**30  # steps: a bias is an int32


@dataclass(frozen=True)
class Rounded:
    """A convolution's weights (o, i, *kernel), rounded to int8's levels, each filter's scale and the corrected bias."""

    weights: NDArray[np.float32]
    scale: NDArray[np.float32]  # (o,)
    bias: NDArray[np.float32] | None  # (o,)


@dataclass(frozen=True)
class Prepared:
    """The base of int8 models. Activations become uint8 with one scale for each tensor."""

    model: onnx.ModelProto  # float32, equalized
    rounded: dict[str, Rounded]  # by layer: int8 with a scale for each filter
    ranges: dict[str, tuple[float, float]]  # (lowest, highest) by activation


def prepare(
    model: onnx.ModelProto, calibration: Calibration, config: Int8Config, *, progress: Progress = no_progress
) -> Prepared:
    """Prepare a copy of a folded float32 model, using its activations on the calibration pictures."""
    model = copy.deepcopy(model)
    dense_as_convolutions(model)
    _own_weights(model)
    _let_pixels_in(model)
    streams = find_streams(model) if config.equalization else []
    in_streams = {name for stream in streams for name in stream.tensors}
    weights = weights_of(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in weights]
    counted = _counted_ranges(model)
    with progress("Measuring activations", 0):
        seen = observe(model, convolutions, set(counted.values()), in_streams, calibration.images)
    with progress("Rounding weights", len(convolutions)) as on_done:
        seen.divide(convolutions, equalize(model, streams, seen.largest(), config.equalization))
        rounded = _round_all(weights, convolutions, seen, config, on_done)
    ranges = seen.ranges()
    if config.summed_ranges:
        summands = find_summands(model)
        with progress("Choosing ranges of sums", 0):
            ranges |= choose_ranges(model, summands, ranges, calibration.images[::_SUMMED])
    if config.exact_everywhere:
        ranges = round_the_same(model, ranges, counted)
    return Prepared(model, rounded, {name: ranges[other] for name, other in counted.items() if other in ranges})


def _own_weights(model: onnx.ModelProto) -> None:
    """Give each convolution its own weights and bias if layers share them."""
    used: set[str] = set()
    weights = weights_of(model)
    for node in model.graph.node:
        for i, name in enumerate(node.input if node.op_type == "Conv" else []):
            if name in weights and name in used:
                own = f"{OWN}{node.name}_{i}"
                model.graph.initializer.append(from_array(to_array(weights[name]), own))
                node.input[i] = own
            used.add(name)


def _let_pixels_in(model: onnx.ModelProto) -> None:
    """Feed uint8 pixels directly into the integer graph if the model first only multiplies them by a number.

    A DequantizeLinear with this number as scale and zero point 0 is exact.
    """
    graph = model.graph
    found = _scaled_at_once(model)
    if found is None:
        return
    cast, scaling, scale = found
    quantization: dict[str, NDArray[Any]] = {  # Any: of two dtypes
        f"{OWN}{INPUT}_scale": np.array(scale),
        f"{OWN}{INPUT}_zero_point": np.array(0, np.uint8),
    }
    graph.initializer.extend(from_array(values, name) for name, values in quantization.items())
    entry = onnx.helper.make_node(
        "DequantizeLinear",
        [INPUT, *quantization],
        [scaling.output[0]],
        name=f"{OWN}{INPUT}_entry",
    )
    nodes = [entry if node is cast else node for node in graph.node if node is not scaling]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    nodes = [copy.deepcopy(node) for node in nodes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _scaled_at_once(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.NodeProto, np.float32] | None:
    """The Cast that is the pixels' only reader, the Mul or Div by a positive number that follows, and the factor."""
    graph, weights = model.graph, weights_of(model)
    readers = [node for node in graph.node if INPUT in node.input]
    if len(readers) != 1 or readers[0].op_type != "Cast":
        return None
    (cast,) = readers
    scaling = [node for node in graph.node if cast.output[0] in node.input]
    if len(scaling) != 1 or scaling[0].op_type not in ("Mul", "Div"):
        return None
    (scaling_node,) = scaling
    factors = [to_array(weights[name]) for name in scaling_node.input if name in weights]
    if len(factors) != 1 or factors[0].size != 1 or scaling_node.input[0] != cast.output[0]:
        return None
    factor = float(factors[0].reshape(()))
    scale = np.float32(factor if scaling_node.op_type == "Mul" else 1 / factor)
    return (cast, scaling_node, scale) if scale > 0 else None


def _counted_ranges(model: onnx.ModelProto) -> dict[str, str]:
    """The activations whose ranges onnxruntime may need, each with the activation whose range it uses.

    It uses its own, except if a rectifier is its only reader: the rectifier cuts off everything outside its range.
    """
    weights = weights_of(model)
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    counted: dict[str, str] = {}
    for node in reversed(model.graph.node):
        if node.op_type in OPERATORS:
            rectifies = node.op_type in ("Relu", "Clip")
            for name in (*node.output, *node.input[: 1 if rectifies else None]):
                counted.setdefault(name, name)
            if rectifies and uses[node.input[0]] == 1:
                counted[node.input[0]] = counted[node.output[0]]
    return {name: other for name, other in counted.items() if name and name != INPUT and name not in weights}


def _round_all(
    weights: dict[str, onnx.TensorProto],
    convolutions: list[onnx.NodeProto],
    seen: Observations,
    config: Int8Config,
    on_done: Callable[[int], None],
) -> dict[str, Rounded]:
    """Round the layers' weights in parallel, each layer on one thread, so that sums do not depend on the CPUs."""

    def rounded_alone(node: onnx.NodeProto) -> Rounded:
        return _round(weights, node, seen.rows.pop(node.name), config)

    rounded: dict[str, Rounded] = {}
    with one_blas_thread(), ThreadPoolExecutor(find_limits().threads) as pool:
        try:
            for node, each in zip(convolutions, pool.map(rounded_alone, convolutions), strict=True):
                rounded[node.name] = each
                on_done(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rounded


def _round(
    weights: dict[str, onnx.TensorProto], node: onnx.NodeProto, inputs: NDArray[np.float32], config: Int8Config
) -> Rounded:
    values = to_array(weights[node.input[1]])  # (o, i, *kernel)
    channels_last = np.moveaxis(values, 1, -1)
    rows = channels_last.reshape(len(values), -1)
    bias = to_array(weights[node.input[2]]) if len(node.input) > 2 and node.input[2] in weights else None
    paired = config.exact_everywhere and not is_depthwise(node, rows)
    scale = safe_scale(rows) if paired else full_scale(rows)
    # Keeps the bias of a filter of zeros: it is stored in steps of the filter's scale times the activations' scale.
    coarse = 0.0 if bias is None else np.abs(bias) * 255 / _LARGEST_BIAS / max(float(inputs.max()), 1e-6)
    scale = np.maximum(np.maximum(scale, coarse), np.finfo(np.float32).tiny).astype(np.float32)
    groups: int = attribute(node, "group", 1)
    filters, steps = rows.reshape(groups, -1, rows.shape[1]), scale.reshape(groups, -1)
    learned = config.learned_rounding and rows.shape[1] <= _MOST_COLUMNS and rows.size * rows.shape[1] <= _MOST_WORK
    rounding = round_learned if learned else round_nearest
    rounded = rounding(filters, steps, inputs, paired=paired) * steps[:, :, None]
    if bias is not None and config.bias_correction:
        # How much rounding changes the mean output: Banner et al., 2019, https://arxiv.org/abs/1810.05723.
        lost = (filters - rounded) @ inputs.mean(axis=1)[:, :, None]
        bias = (bias + lost.ravel()).astype(np.float32)
    shaped = np.moveaxis(rounded.reshape(channels_last.shape), -1, 1)
    return Rounded(np.ascontiguousarray(shaped), scale, bias)
