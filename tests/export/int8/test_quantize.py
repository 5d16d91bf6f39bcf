"""int8 is exact where it is int8, and float where a layer is left in float."""

from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.gate.checks import check_ranges
from signs_export.gate.evidence import collected
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.int8.saturation import predict_saturation
from signs_export.job import Job
from signs_export.onnx_graph import answers
from signs_export.source.reference import Reference, examine

CONFIG = ExportConfig(command="pytest", golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)


def test_a_layer_left_in_float_keeps_its_weights(
    straight_onnx: onnx.ModelProto, calibration: Calibration, pictures: Dataset
) -> None:
    prepared = prepare(straight_onnx, calibration, Int8Config())
    assert layers_in_float(quantize(prepared, ["conv0"])) == ("conv0",)
    assert layers_in_float(quantize(prepared, ["conv2"])) == ("conv1", "conv2")
    images = np.asarray(pictures.test.pictures)
    in_float = answers(quantize(prepared, list(prepared.rounded)), images)
    assert np.allclose(in_float, answers(straight_onnx, images), atol=1e-5)


def test_onnxruntime_does_not_quantize_a_layer_left_in_float_by_itself(
    mobile: Reference, calibration: Calibration, pictures: Dataset, tmp_path: Path
) -> None:
    """Its optimizer quantizes float weights that it finds between quantized tensors."""
    model = convert(mobile, pictures.labels, CONFIG)
    prepared = prepare(model, calibration, Int8Config())
    first, *_, last = prepared.rounded
    for layers in ([], [first], [last], [first, last], list(prepared.rounded)):
        quantized = quantize(prepared, layers)
        assert set(layers_in_float(quantized)) >= set(layers)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
        if len(layers) == len(prepared.rounded):  # all that is left of int8 is nothing
            images = np.asarray(pictures.test.pictures)
            assert np.allclose(answers(quantized, images), answers(model, images), atol=1e-5)
        computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        assert computed["Conv"] + computed["FusedConv"] == len(layers_in_float(quantized))
        assert computed["QLinearConv"] == len(prepared.rounded) - len(layers_in_float(quantized))


@pytest.mark.parametrize("kind", ["grey", "multiplied", "shared"])
def test_odd_convolutions_are_exact_in_int8_and_float_in_float(
    pictures: Dataset, calibration: Calibration, tmp_path: Path, kind: str
) -> None:
    """One channel, several filters for each, one layer used twice."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1 if kind == "grey" else 3))
    x = keras.layers.Conv2D(12, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    if kind == "multiplied":
        x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    twice = keras.layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")
    x = twice(twice(x)) if kind == "shared" else twice(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    reference = examine(keras.Model(image, keras.layers.Dense(6, activation="softmax")(x)))
    model = convert(reference, pictures.labels, CONFIG)
    if kind == "grey":
        calibration = Calibration(calibration.images[..., :1], ())
    prepared = prepare(model, calibration, Int8Config())
    predicted = predict_saturation(quantize(prepared), calibration.images)
    assert {layer.layer for layer in predicted} == set(prepared.rounded)  # none is taken for safe by its kind
    assert not any(layer.at_risk for layer in predicted)
    for layer in prepared.rounded:
        quantized = quantize(prepared, [layer])
        assert layer in layers_in_float(quantized)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
        computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        assert computed["QLinearConv"] == len(prepared.rounded) - len(layers_in_float(quantized))


def test_what_lies_between_convolutions_computes_in_integers_and_what_leads_to_the_answer_does_not(
    pictures: Dataset, calibration: Calibration, tmp_path: Path
) -> None:
    """Squeeze-and-excite with swish, and an average pool: each was left in float, with a way there and back."""
    image = keras.Input(calibration.images.shape[1:])
    x = keras.layers.Conv2D(24, 3, activation="swish")(keras.layers.Rescaling(1 / 255)(image))
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    excited = keras.layers.Conv2D(24, 1, activation="sigmoid")(keras.layers.Conv2D(4, 1, activation="swish")(squeezed))
    x = keras.layers.AveragePooling2D(2)(keras.layers.Multiply()([x, excited]))
    x = keras.layers.Conv2D(24, 3, activation="swish")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.AveragePooling2D(2)(x))
    reference = examine(keras.Model(image, keras.layers.Dense(6, activation="softmax")(x)))
    prepared = prepare(convert(reference, pictures.labels, CONFIG), calibration, Int8Config())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    quantized = quantize(prepared)
    onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    integers = {name: computed[f"QLinear{name}"] for name in ("Conv", "Sigmoid", "Mul", "AveragePool")}
    assert integers == {"Conv": 4, "Sigmoid": 3, "Mul": 3, "AveragePool": 1}
    # The last swish, and the pool behind it, lead to no convolution.
    assert computed["QuickGelu"] + computed["Sigmoid"] == computed["AveragePool"] == 1
    images = np.asarray(pictures.test.pictures)
    assert np.abs(answers(quantized, images) - reference.probabilities(images)).max() < 0.05


def test_hard_swish_computes_in_integers_between_convolutions(
    pictures: Dataset, calibration: Calibration, tmp_path: Path
) -> None:
    """A hard sigmoid is a matter of where 0 and 255 lie; the last one, which leads to no convolution, stays float."""
    image = keras.Input(calibration.images.shape[1:])
    x = keras.layers.Conv2D(24, 3, activation="hard_silu")(keras.layers.Rescaling(1 / 32, offset=-4)(image))
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Multiply()([x, keras.layers.Conv2D(24, 1, activation="hard_sigmoid")(squeezed)])
    x = keras.layers.Conv2D(24, 3, activation="hard_silu")(x)
    reference = examine(keras.Model(image, keras.layers.Dense(6, "softmax")(keras.layers.GlobalAveragePooling2D()(x))))
    model = convert(reference, pictures.labels, CONFIG)
    quantized = quantize(prepare(model, calibration, Int8Config()))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (computed["QLinearConv"], computed["QLinearMul"], computed["HardSigmoid"]) == (3, 2, 1)
    images = np.asarray(pictures.test.pictures)
    assert np.abs(answers(quantized, images) - reference.probabilities(images)).max() < 0.05
    with collected(Job(reference, pictures, CONFIG)) as evidence:  # what is cut off on purpose is no range too small
        check = check_ranges(quantized, evidence, calibration.images[:60])
    assert check.passed, check.says
