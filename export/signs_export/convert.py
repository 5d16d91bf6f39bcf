"""Keras to ONNX: one graph from uint8 pixels to probabilities, of standard operators only, that says what it is."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.model_file import weights_sha256
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.layers import layers_of
from signs_export.names import SCALED, marked, marked_layers, name_graph
from signs_export.reference import Reference
from signs_export.scaling import scale
from signs_runtime.classifier import INPUT, INPUT_KEY, LABELS_KEY, OUTPUT, WEIGHTS_KEY
from signs_runtime.session import import_onnxruntime


def convert(reference: Reference, labels: tuple[str, ...], config: ExportConfig) -> onnx.ModelProto:
    """Convert to float32 ONNX: `image` uint8 (batch, h, w, c) in, `probabilities` float32 (batch, labels) out.

    Scaling, and a softmax after logits, are in the graph; batch norms are folded into convolutions. Raises ExportError.
    """
    if len(labels) != reference.classes:
        raise ExportError(
            f"The model tells {reference.classes} classes apart and the data has {len(labels)} labels "
            f"({', '.join(labels[:10])}); give the data that the model was trained on."
        )
    model = _fold(_trace(reference, config))
    name_graph(model, [*(layer.name for layer in layers_of(reference.model)), SCALED])
    _describe(model, labels, reference)
    check(model)
    return model


def check(model: onnx.ModelProto) -> None:
    """Refuse a graph that is not complete, standard ONNX: tf2onnx only logs an operator that it cannot map.

    Raises ExportError.
    """
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign:
        raise ExportError(f"The graph uses operators outside the ONNX standard: {', '.join(foreign)}.")
    names = [each.name for each in model.graph.input], [each.name for each in model.graph.output]
    if names != ([INPUT], [OUTPUT]):
        raise ExportError(f"The graph takes {names[0]} and gives {names[1]}, not {INPUT} and {OUTPUT}.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The model cannot be expressed in ONNX: {error}") from error


def check_backend() -> None:
    """Raise ExportError unless Keras runs on TensorFlow, from whose graphs tf2onnx converts."""
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Export needs Keras's TensorFlow backend, and this is {keras.backend.backend()}. Train and save the model "
            "with signs train, and run signs export with KERAS_BACKEND=tensorflow."
        )


def _trace(reference: Reference, config: ExportConfig) -> onnx.ModelProto:
    check_backend()
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # check() raises what it would only have logged
    model, shape = reference.model, reference.input.shape

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator]
    def classify(image: Any) -> Any:  # Any: tensors
        pixels = tf.cast(image, tf.float32)
        with marked(len(layers_of(model))):
            scaled = scale(pixels, reference.scaling)
        given = model(scaled, training=False)
        outputs = tf.cast(keras.tree.flatten(given)[0], tf.float32)
        return tf.nn.softmax(outputs) if reference.gives_logits else outputs

    try:
        with _numpy_product(), _inlined_functions(), _constants_in_place(), marked_layers(model):
            captured = _captured_constants(classify.get_concrete_function().graph)
            # large_model keeps the weights out of the graph that 24 optimizer passes copy: a third of the time.
            converted, storage = tf2onnx.convert.from_function(
                classify,
                input_signature=classify.input_signature,
                opset=config.opset,
                custom_op_handlers={"Erfc": (_convert_erfc, [])},
                large_model=True,
            )
    except Exception as error:  # tf2onnx raises whatever its passes stumble over
        raise ExportError(f"tf2onnx cannot convert the model: {error}") from error
    _bring_weights_back(converted, storage.name_to_tensor_data)
    _bring_constants_in(converted, captured)
    return cast("onnx.ModelProto", converted)


def _convert_erfc(graph: Any, node: Any, name: str, _: Any) -> None:  # Any: tf2onnx's own
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
    """Trace functions inside functions in place: Keras compiles grouped convolutions apart, and tf2onnx stops there."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _captured_constants(graph: Any) -> dict[str, NDArray[np.generic]]:  # Any: tf.FuncGraph
    """Constants that the function closes over, such as a Normalization's mean; tf2onnx takes them for inputs."""
    return {inside.name: outside.numpy() for outside, inside in graph.captures if inside.dtype.name != "resource"}


def _bring_constants_in(model: onnx.ModelProto, constants: dict[str, NDArray[np.generic]]) -> None:
    for value in list(model.graph.input):
        if value.name in constants:
            model.graph.initializer.append(onnx.numpy_helper.from_array(constants[value.name], value.name))
            model.graph.input.remove(value)


def _bring_weights_back(model: onnx.ModelProto, weights: dict[str, bytes]) -> None:
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


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold batch norms and constants with onnxruntime's basic level, which keeps to standard operators.

    https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            raise ExportError(f"The model cannot be expressed in ONNX: {error}") from error
        folded = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in folded.graph.node}
    imports = [opset for opset in folded.opset_import if opset.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(imports)
    return folded


def _describe(model: onnx.ModelProto, labels: tuple[str, ...], reference: Reference) -> None:
    description = {
        LABELS_KEY: json.dumps(labels, ensure_ascii=False),
        INPUT_KEY: json.dumps(asdict(reference.input)),
        WEIGHTS_KEY: weights_sha256(reference.model),
    }
    model.graph.name = "classifier"
    model.producer_name = "signs-edge"
    model.doc_string = ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, description)
