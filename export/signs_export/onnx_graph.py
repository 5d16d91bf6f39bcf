"""Inspects an ONNX graph, and runs it with intermediate values as additional outputs."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.errors import ExportError
from signs_runtime.bundle.manifest import Precision
from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT
from signs_runtime.engine.session import import_onnxruntime
from signs_runtime.model_check import ModelRefusedError, check_model

BATCH = 20  # pictures at once: all intermediate values are in memory


def weights_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The initializers by name, not copied: changes to them change the model."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:  # Any: what ONNX attributes hold
    """The value of a node's attribute, or `default`, the one in the operator's definition."""
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def precision_of(model: onnx.ModelProto) -> Precision:
    """The precision that a model computes in, read from its graph."""
    if any(node.op_type in ("QuantizeLinear", "QLinearConv") for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "float16" if halves else "float32"


def check_runnable(content: bytes) -> None:
    """Raise ExportError, with advice for the model's owner, if the runtime would refuse the model."""
    try:
        check_model(content)
    except ModelRefusedError as error:
        raise ExportError(
            f"The model's ONNX graph is one that the runtime does not run: {error.args[0]}. (block/Conv means: layer "
            "block, its operator Conv.) Replace that layer or make it smaller. If it is a usual Keras layer, report "
            "this as a bug."
        ) from error


def start(model: onnx.ModelProto, *, optimized: bool = True) -> Any:  # Any: onnxruntime.InferenceSession
    """A session on this machine's CPU; without `optimized`, it computes the graph node by node."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answers(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (n, labels) for pixels uint8 (n, h, w, c)."""
    session = start(model)
    batches = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    return np.concatenate([session.run([OUTPUT], {INPUT: batch})[0] for batch in batches])


def inner_values(
    model: onnx.ModelProto, names: Sequence[str], images: NDArray[np.uint8]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield what the unoptimized graph computes under these names for pixels uint8 (n, h, w, c), batch by batch."""
    if not names:
        return
    opened = copy.deepcopy(model)
    given = {value.name for value in opened.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    session = start(opened, optimized=False)
    for first in range(0, len(images), BATCH):
        values = session.run(list(names), {INPUT: images[first : first + BATCH]})
        yield dict(zip(names, values, strict=True))
