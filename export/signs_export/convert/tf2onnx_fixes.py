"""What tf2onnx gets wrong, or does slowly, put right from outside: each patch with its reason.

Written for tf2onnx 1.17, to which its private parts are bound; with another version look at each of them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


@contextmanager
def tf2onnx_patched() -> Iterator[None]:
    """Apply the patches below while a model is converted."""
    with _numpy_product(), _inlined_functions(), _constants_in_place():
        yield


def convert_erfc(graph: Any, node: Any, name: str, _: Any) -> None:  # Any: tf2onnx's own
    """erfc(x) = 1 - erf(x), which TensorFlow's gelu needs and tf2onnx 1.17 does not map."""
    node.type = "Erf"
    (output,) = node.output
    one = graph.make_const(f"{name}_one", np.array(1, np.float32)).output[0]
    difference = graph.make_node("Sub", [one, output], name=f"{name}_complement", shapes=[graph.get_shape(output)])
    graph.copy_dtype(output, difference.output[0])
    graph.replace_all_inputs(output, difference.output[0], ops=[op for op in graph.get_nodes() if op is not difference])


@contextmanager
def _numpy_product() -> Iterator[None]:
    """tf2onnx 1.17 calls np.product for large models, which numpy 2 has dropped: lend it np.prod."""
    if hasattr(np, "product"):
        yield
        return
    np.product = np.prod  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del np.product  # type: ignore[attr-defined]


@contextmanager
def _constants_in_place() -> Iterator[None]:
    """Spare tf2onnx 1.17 two thirds of its time: it copies every constant after each of its optimizer's 38 passes.

    What it copies is read once, at the end, when it says where constants are to be stored.
    """
    from tf2onnx.graph import Node

    update = Node.update_proto

    def update_others(self: Any, external_tensor_storage: Any = None) -> None:  # Any: tf2onnx's own
        if external_tensor_storage is not None or not self.is_const():
            update(self, external_tensor_storage)

    Node.update_proto = update_others
    try:
        yield
    finally:
        Node.update_proto = update


@contextmanager
def _inlined_functions() -> Iterator[None]:
    """Trace functions inside functions in place: Keras compiles grouped convolutions apart, and tf2onnx 1.17 stops."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def captured_constants(graph: Any) -> dict[str, NDArray[np.generic]]:  # Any: tf.FuncGraph
    """Constants that the function closes over, such as a Normalization's mean; tf2onnx 1.17 takes them for inputs."""
    return {inside.name: outside.numpy() for outside, inside in graph.captures if inside.dtype.name != "resource"}


def bring_constants_in(model: onnx.ModelProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Make constants of the inputs that tf2onnx 1.17 made of `captured_constants`, in place."""
    for value in list(model.graph.input):
        if value.name in constants:
            model.graph.initializer.append(onnx.numpy_helper.from_array(constants[value.name], value.name))
            model.graph.input.remove(value)


def bring_weights_back(model: onnx.ModelProto, weights: dict[str, bytes]) -> None:
    """Put back into the graph, in place, what tf2onnx 1.17 stored outside it for `large_model`."""
    constants = [
        node.attribute[0].t
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].HasField("t")
    ]
    for tensor in [*model.graph.initializer, *constants]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next(entry.value for entry in tensor.external_data if entry.key == "location")
            tensor.raw_data = weights[location]
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
