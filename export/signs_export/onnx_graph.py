"""Looks into an ONNX graph, and runs it with what it computes on the way as further outputs."""

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

BATCH = 20  # pictures at once: all that a network computes on the way is in memory


def weights_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The initializers by name; what is done to them is done to the model."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:  # Any: what ONNX attributes hold
    """The value of a node's attribute, or the default that the operator's definition gives it."""
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def precision_of(model: onnx.ModelProto) -> Precision:
    """What a model computes in, told by its graph."""
    if any(node.op_type in ("QuantizeLinear", "QLinearConv") for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "float16" if halves else "float32"


def check_runnable(content: bytes) -> None:
    """Refuse a model that the runtime would refuse, in words for the model's owner. Raises ExportError."""
    try:
        check_model(content)
    except ModelRefusedError as error:
        raise ExportError(
            f"The model became an ONNX graph that the runtime does not run: {error.args[0]}. A name such as block/Conv "
            "is that of a Keras layer and of an operator inside it. Replace that layer, or make it smaller; where it "
            "is one of Keras's own with usual sizes, report it as a bug."
        ) from error


def start(model: onnx.ModelProto, *, optimized: bool = True) -> Any:  # Any: onnxruntime.InferenceSession
    """A session on this machine's CPU; not `optimized`, it computes node by node as the graph says."""
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
    """What the graph, node by node, computes under these names for pixels uint8 (n, h, w, c), batch by batch."""
    if not names:
        return
    opened = copy.deepcopy(model)
    given = {value.name for value in opened.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    session = start(opened, optimized=False)
    for first in range(0, len(images), BATCH):
        values = session.run(list(names), {INPUT: images[first : first + BATCH]})
        yield dict(zip(names, values, strict=True))
