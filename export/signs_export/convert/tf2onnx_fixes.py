"""Patches what tf2onnx gets wrong or does slowly. Each patch has its reason.

The patches use private parts of tf2onnx 1.17. Check each of them again for another version.
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
    """Compute erfc(x) as 1 - erf(x): TensorFlow's gelu needs erfc, and tf2onnx 1.17 does not map it."""
    node.type = "Erf"
    (output,) = node.output
    one = graph.make_const(f"{name}_one", np.array(1, np.float32)).output[0]
    difference = graph.make_node("Sub", [one, output], name=f"{name}_complement", shapes=[graph.get_shape(output)])
    graph.copy_dtype(output, difference.output[0])
    graph.replace_all_inputs(output, difference.output[0], ops=[op for op in graph.get_nodes() if op is not difference])


def convert_reverse(graph: Any, node: Any, name: str, _: Any) -> None:  # Any: tf2onnx's own
    """Reverse axes with a Slice: tf2onnx 1.17 makes a ReverseSequence, whose sizes are only known at run time."""
    values = node.input[0]
    places = np.asarray(node.inputs[1].get_tensor_value(as_list=False), np.int64).reshape(-1)
    shapes, types = node.output_shapes, node.output_dtypes
    (output,) = node.output
    graph.remove_node(node.name)
    ends = np.full(len(places), np.iinfo(np.int64).min + 1, np.int64)
    given = {"starts": np.full(len(places), -1, np.int64), "ends": ends, "axes": places, "steps": -np.ones_like(places)}
    inputs = [values, *(graph.make_const(f"{name}_{each}", value).output[0] for each, value in given.items())]
    graph.make_node("Slice", inputs, outputs=[output], name=name, shapes=shapes, dtypes=types)


def convert_nearest(graph: Any, node: Any, name: str, arguments: Any) -> None:  # Any: tf2onnx's own
    """Gather the nearest pixels by their indices if onnxruntime's Resize would round a tie differently.

    TensorFlow takes pixel floor((i + 0.5) * old / new): https://www.tensorflow.org/api_docs/python/tf/image/resize.
    """
    from tf2onnx.onnx_opset.nn import Resize

    shape = graph.get_shape(node.input[0])  # (n, h, w, c)
    sizes = node.inputs[1].get_tensor_value() if node.inputs[1].is_const() else None
    centred = "half_pixel_centers" in node.attr and node.attr["half_pixel_centers"].i
    if not centred or sizes is None or shape is None or min(shape[1:3]) < 1:
        Resize.version_11(graph, node)
        return
    places = [_nearest(old, new) for old, new in zip(shape[1:3], sizes, strict=True)]
    if all(np.array_equal(*each) for each in places):
        Resize.version_11(graph, node)
        return
    values, (output,), shapes, types = node.input[0], node.output, node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    rows, columns = (graph.make_const(f"{name}_{i}", own).output[0] for i, (own, _) in enumerate(places))
    tall = [shape[0], sizes[0], *shape[2:]]
    picked = graph.make_node("Gather", [values, rows], attr={"axis": 1}, shapes=[tall], dtypes=types)
    whole = [picked.output[0], columns]
    graph.make_node("Gather", whole, attr={"axis": 2}, outputs=[output], name=name, shapes=shapes, dtypes=types)


def _nearest(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the nearest pixels, by TensorFlow's float32 arithmetic and by onnxruntime's."""
    middles = np.arange(new, dtype=np.float32) + np.float32(0.5)
    by_tensorflow = np.minimum(np.floor(middles * (np.float32(old) / np.float32(new))), old - 1)
    by_onnxruntime = np.minimum(np.floor(middles / np.float32(new / old)), old - 1)
    return by_tensorflow.astype(np.int64), by_onnxruntime.astype(np.int64)


@contextmanager
def _numpy_product() -> Iterator[None]:
    """Provide np.product, which tf2onnx 1.17 calls for large models and numpy 2 has removed."""
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
    """Save two thirds of tf2onnx 1.17's time: it copies every constant after each of its optimizer's 38 passes.

    The copies are read only once, at the end, when tf2onnx decides where to store constants.
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
    """Trace nested functions inline: Keras compiles grouped convolutions separately, on which tf2onnx 1.17 fails."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def captured_constants(graph: Any) -> dict[str, NDArray[np.generic]]:  # Any: tf.FuncGraph
    """The constants that a function captures, such as a Normalization's mean; tf2onnx 1.17 turns them into inputs."""
    return {inside.name: outside.numpy() for outside, inside in graph.captures if inside.dtype.name != "resource"}


def bring_constants_in(model: onnx.ModelProto, constants: dict[str, NDArray[np.generic]]) -> None:
    """Turn the inputs that tf2onnx 1.17 made of `captured_constants` back into constants, in place."""
    for value in list(model.graph.input):
        if value.name in constants:
            model.graph.initializer.append(onnx.numpy_helper.from_array(constants[value.name], value.name))
            model.graph.input.remove(value)


def bring_weights_back(model: onnx.ModelProto, weights: dict[str, bytes]) -> None:
    """Put the weights that tf2onnx 1.17 stored outside the graph (`large_model`) back into it, in place."""
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
