"""Converts Keras to ONNX: one graph from uint8 pixels to probabilities, of standard operators, with metadata."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any, cast

import keras
import onnx

from signs_export.config import ExportConfig
from signs_export.convert.graph_names import Marks, marked_layers, name_graph
from signs_export.convert.tf2onnx_fixes import (
    bring_constants_in,
    bring_weights_back,
    captured_constants,
    convert_erfc,
    convert_nearest,
    convert_reverse,
    tf2onnx_patched,
)
from signs_export.convert.tidy import tidy
from signs_export.convert.unread_pixels import leave_out_unread_pixels
from signs_export.errors import ExportError
from signs_export.onnx_graph import check_runnable
from signs_export.source.reference import Reference
from signs_export.source.scaling import scale
from signs_runtime.bundle.onnx_metadata import (
    INPUT,
    INPUT_KEY,
    LABELS_KEY,
    OUTPUT,
    TEMPERATURE_KEY,
    THRESHOLDS_KEY,
    UNSURE_KEY,
    WEIGHTS_KEY,
)
from signs_runtime.bundle.strict_json import as_json
from signs_runtime.engine.session import import_onnxruntime


def convert(reference: Reference, labels: tuple[str, ...], config: ExportConfig) -> onnx.ModelProto:
    """Convert to float32 ONNX: `image` uint8 (batch, h, w, c) in, `probabilities` float32 (batch, labels) out.

    The graph includes the scaling, and a softmax after logits; batch norms are folded into convolutions. Raises
    ExportError.
    """
    check_labels(reference, labels)
    traced, marks = _trace(reference, config)
    model = _fold(traced, reference)
    tidy(model)
    name_graph(model, marks)
    leave_out_unread_pixels(model)
    _describe(model, labels, reference)
    try:
        check(model)
    except ExportError as error:
        raise ExportError(f"{error}{_advice(reference)}") from error
    check_runnable(model.SerializeToString(deterministic=True))
    return model


def check_labels(reference: Reference, labels: tuple[str, ...]) -> None:
    """Check that there are as many labels as the model has classes. Raises ExportError."""
    if len(labels) != reference.classes:
        raise ExportError(
            f"The model has {reference.classes} classes, but the data has {len(labels)} labels "
            f"({', '.join(labels[:10])}). Use the data that the model was trained on."
        )


def check(model: onnx.ModelProto) -> None:
    """Check that a graph is complete, standard ONNX: tf2onnx only logs operators that it cannot map.

    Raises ExportError.
    """
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign:
        raise ExportError(f"The graph has operators outside the ONNX standard: {', '.join(foreign)}.")
    names = [each.name for each in model.graph.input], [each.name for each in model.graph.output]
    if names != ([INPUT], [OUTPUT]):
        raise ExportError(f"The graph's inputs are {names[0]} and its outputs {names[1]}, not {INPUT} and {OUTPUT}.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The model cannot be expressed in ONNX: {error}") from error


def check_backend() -> None:
    """Raise ExportError unless Keras runs on TensorFlow, whose graphs tf2onnx converts."""
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"The export needs Keras's TensorFlow backend, but Keras runs on {keras.backend.backend()} here. Save the "
            "trained model (signs train does), then run signs export with KERAS_BACKEND=tensorflow."
        )


def _trace(reference: Reference, config: ExportConfig) -> tuple[onnx.ModelProto, Marks]:
    check_backend()
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # check() raises errors that tf2onnx would only log
    model, shape = reference.model, reference.input.shape

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8, name=INPUT)])  # type: ignore[untyped-decorator]
    def classify(image: Any) -> Any:  # Any: tensors
        pixels = tf.cast(image, tf.float32)
        scaled = marks.call(len(marks.layers) - 1, lambda: scale(pixels, reference.scaling))
        given = model(scaled, training=False)
        outputs = tf.cast(keras.tree.flatten(given)[0], tf.float32)
        return tf.nn.softmax(outputs) if reference.gives_logits else outputs

    try:
        with tf2onnx_patched(), marked_layers(model) as marks:
            captured = captured_constants(classify.get_concrete_function().graph)
            # large_model keeps the weights out of the graph, which 24 optimizer passes copy: a third of the time.
            converted, storage = tf2onnx.convert.from_function(
                classify,
                input_signature=classify.input_signature,
                opset=config.opset,
                custom_op_handlers={
                    "Erfc": (convert_erfc, []),
                    "ResizeNearestNeighbor": (convert_nearest, []),
                    "ReverseV2": (convert_reverse, []),
                },
                large_model=True,
            )
    except Exception as error:  # tf2onnx passes on any exception
        raise ExportError(f"tf2onnx cannot convert the model: {error}{_advice(reference)}") from error
    bring_weights_back(converted, storage.name_to_tensor_data)
    bring_constants_in(converted, captured)
    return cast("onnx.ModelProto", converted), marks


def _fold(model: onnx.ModelProto, reference: Reference) -> onnx.ModelProto:
    """Fold batch norms and constants with onnxruntime's basic level, which only uses standard operators.

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
        except Exception as error:  # onnxruntime's exceptions share no other base class
            raise ExportError(f"The model cannot be expressed in ONNX: {error}{_advice(reference)}") from error
        folded = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in folded.graph.node}
    imports = [opset for opset in folded.opset_import if opset.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(imports)
    return folded


def _advice(reference: Reference) -> str:
    """Advice on recurrent layers, whose loops tf2onnx cannot always map; "" if there are none."""
    loops = [layer.name for layer in reference.model._flatten_layers() if getattr(layer, "unroll", None) is False]
    if not loops:
        return ""
    return (
        f" The model has layers that loop: {', '.join(loops)}. Rebuild the model with unroll=True in these layers, or "
        "with LSTM layers. Copy the weights with set_weights, save the new model and export that."
    )


def _describe(model: onnx.ModelProto, labels: tuple[str, ...], reference: Reference) -> None:
    description = {
        LABELS_KEY: json.dumps(labels, ensure_ascii=False),
        INPUT_KEY: json.dumps(as_json(reference.input)),
        WEIGHTS_KEY: reference.weights_sha256,
    }
    if reference.thresholds:
        description[THRESHOLDS_KEY] = json.dumps(reference.thresholds)
    if reference.temperature != 1:
        description[TEMPERATURE_KEY] = json.dumps(reference.temperature)
    if reference.unsure_below:
        description[UNSURE_KEY] = json.dumps(reference.unsure_below)
    model.graph.name = "classifier"
    model.producer_name = "signs-edge"
    model.doc_string = ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, description)
