"""Convolutions that became products compute the same integers."""

from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.gate.trace import keras_stages, walk_layers
from signs_export.int8 import products
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.int8.saturation import predict_saturation
from signs_export.onnx_graph import check_runnable
from signs_export.source.reference import examine

CONFIG = ExportConfig(command="pytest")
QUICK = Int8Config(learned_rounding=False, summed_ranges=False)

# Layers from maps of 4x4 pixels, 24 channels, on; all of them become products.
KINDS = {
    "one pixel at a time": lambda x: layers.Conv2D(40, 1, activation="relu")(x),
    "a step of two": lambda x: layers.Conv2D(40, 1, strides=2)(x),
    "pads": lambda x: layers.Conv2D(40, 3, padding="same", activation="relu")(x),
    "a step of two, pads on one side": lambda x: layers.Conv2D(40, 3, strides=2, padding="same")(x),
    "no pads": lambda x: layers.Conv2D(40, 3)(x),
    "an even kernel": lambda x: layers.Conv2D(40, (2, 4), padding="same")(x),
    "all pixels at once": lambda x: layers.Conv2D(40, 4)(x),
    "dilated": lambda x: layers.Conv2D(40, 3, dilation_rate=2, padding="same")(x),
    "a zero point in the middle": lambda x: layers.Conv2D(40, 3, padding="same")(layers.Activation("tanh")(x)),
    "a chain": lambda x: layers.Conv2D(40, 1)(layers.Conv2D(16, 3, padding="same", activation="relu")(x)),
    "a sum": lambda x: layers.ReLU()(layers.Add()([x, layers.Conv2D(24, 3, padding="same")(x)])),
    "a sum of products": lambda x: layers.Add()([layers.Conv2D(40, 1)(x), layers.Conv2D(40, 3, padding="same")(x)]),
    "read by others, too": lambda x: layers.Concatenate()([layers.MaxPooling2D(2)(y := layers.Conv2D(40, 1)(x)),
                                                           layers.Conv2D(8, 2, strides=2)(y)]),
    "dense": lambda x: layers.Dense(60, activation="relu")(layers.Flatten()(x)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_products_compute_the_same_bits(
    pictures: Dataset, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(24, 8, strides=8, activation="relu")(layers.Rescaling(1 / 64, offset=-2)(image))
    x = KINDS[kind](x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 1)(x)) if len(x.shape) == 4 else x
    reference = examine(keras.Model(image, layers.Dense(6, activation="softmax")(x)))
    prepared = prepare(convert(reference, pictures.labels, CONFIG), calibration, QUICK)
    images = np.asarray(pictures.test.pictures)[:21]
    monkeypatch.setattr(products, "LEAST_WEIGHTS", 1)
    convolved = quantize(prepared)
    multiplied = products.as_products(convolved)
    assert multiplied is not None
    check_runnable(multiplied.SerializeToString())
    onnx.checker.check_model(multiplied, full_check=True)
    computed, given = _computed(multiplied, images, tmp_path)
    _, expected = _computed(convolved, images, tmp_path)
    assert computed["QGemm"] >= 2 - (kind == "dense")
    assert computed["QLinearConv"] + computed["QGemm"] == len(prepared.rounded)
    for size, answer in given.items():
        assert np.array_equal(answer, expected[size]), f"batch of {size}"
    bounds = [
        {layer.layer: layer.bound for layer in predict_saturation(each, images)} for each in (convolved, multiplied)
    ]
    assert bounds[0] == bounds[1]
    stages = walk_layers(keras_stages(reference, None, images[:8]), multiplied, "int8")
    assert [stage.name for stage in stages if not stage.passed] == []
    assert {stage.name for stage in stages} == {
        stage.name for stage in walk_layers(keras_stages(reference, None, images[:8]), convolved, "int8")
    }


def test_small_layers_and_large_maps_stay_convolutions(
    straight_onnx: onnx.ModelProto, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantized = quantize(prepare(straight_onnx, calibration, QUICK))
    monkeypatch.setattr(products, "MOST_PIXELS", 32 * 32)
    assert products.as_products(quantized) is None  # too few weights
    monkeypatch.setattr(products, "LEAST_WEIGHTS", 1)
    assert products.as_products(quantized) is not None
    monkeypatch.setattr(products, "MOST_PIXELS", 0)
    assert products.as_products(quantized) is None


def _computed(
    quantized: onnx.ModelProto, images: np.ndarray, folder: Path
) -> tuple[Counter[str], dict[int, np.ndarray]]:
    """What onnxruntime's optimizer makes of a model, and its answers by the size of the batch."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)
    return operators, {size: session.run(None, {"image": images[:size]})[0] for size in (1, 2, 17)}
