"""A model made ready for int8: pixels as they are, biases kept, and each choice worth its place."""

from dataclasses import replace

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.onnx_graph import answers, weights_of
from signs_export.source.reference import examine

CONFIG = ExportConfig(command="pytest", golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)
NAIVE = Int8Config(
    equalization=0, summed_ranges=False, learned_rounding=False, bias_correction=False, exact_everywhere=False
)


def pixels(pictures: Dataset) -> NDArray[np.uint8]:
    return np.concatenate([np.asarray(pictures.test.pictures), np.asarray(pictures.train.pictures)])


def test_pixels_enter_the_integers_as_they_are(straight_onnx: onnx.ModelProto, calibration: Calibration) -> None:
    model = quantize(prepare(straight_onnx, calibration, Int8Config()))
    (first,) = (node for node in model.graph.node if "image" in node.input)
    assert first.op_type == "DequantizeLinear"
    scale, zero_point = (onnx.numpy_helper.to_array(weights_of(model)[name]) for name in first.input[1:])
    assert (float(scale), int(zero_point)) == (float(np.float32(1 / 255)), 0)
    assert not any(node.op_type == "Cast" for node in model.graph.node)
    assert layers_in_float(model) == ()


def test_an_empty_filter_keeps_its_bias(pictures: Dataset, calibration: Calibration) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    layer = keras.layers.Conv2D(4, 3, activation="relu")
    x = keras.layers.GlobalAveragePooling2D()(layer(keras.layers.Rescaling(1 / 255)(image)))
    network = keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))
    kernel, bias = layer.get_weights()
    kernel[..., 1], bias[1] = 0, 7.5
    layer.set_weights([kernel, bias])
    model = convert(examine(network), pictures.labels, CONFIG)
    images = np.asarray(pictures.test.pictures)
    given = answers(quantize(prepare(model, calibration, Int8Config())), images)
    assert np.allclose(given, answers(model, images), atol=0.02)


def test_each_choice_can_be_left_out(
    straight_onnx: onnx.ModelProto, calibration: Calibration, pictures: Dataset
) -> None:
    images = pixels(pictures)
    expected = answers(straight_onnx, images)

    def difference(config: Int8Config) -> float:
        return float(np.abs(answers(quantize(prepare(straight_onnx, calibration, config)), images) - expected).mean())

    assert difference(Int8Config()) < difference(replace(NAIVE, exact_everywhere=True))
