"""Large dense layers become convolutions that compute the same, and are quantized as these are."""

import copy

import keras
import numpy as np
import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8.calibration import Calibration
from signs_export.int8.dense import dense_as_convolutions
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.onnx_graph import answers, check_runnable
from signs_export.source.reference import examine

from ..networks import SIDE, train_a_little


def plain_stack() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(64, activation="relu", name="wide")(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(6, activation="softmax", name="last")(x))


def test_a_large_dense_layer_is_quantized_and_the_last_is_not(pictures: Dataset, calibration: Calibration) -> None:
    reference = examine(train_a_little(plain_stack(), pictures))
    model = convert(reference, pictures.labels, ExportConfig())
    images = np.asarray(pictures.test.pictures)
    changed = copy.deepcopy(model)
    dense_as_convolutions(changed)
    assert [node.op_type for node in changed.graph.node].count("Conv") == 2
    assert np.allclose(answers(changed, images), answers(model, images), atol=1e-6)

    prepared = prepare(model, calibration, Int8Config())
    assert "wide" in prepared.rounded
    assert "last" not in prepared.rounded
    int8 = quantize(prepared)
    assert int8.ByteSize() < 0.5 * model.ByteSize()
    assert np.abs(answers(int8, images) - answers(model, images)).mean() < 5e-3
    in_float = quantize(prepared, ["wide"])
    assert "wide" in layers_in_float(in_float)


def test_a_model_without_large_dense_layers_stays_as_it_is(straight_onnx: onnx.ModelProto) -> None:
    before = straight_onnx.SerializeToString(deterministic=True)
    dense_as_convolutions(straight_onnx)
    assert straight_onnx.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("filters", [1, 2])
def test_a_convolution_of_one_filter_gives_a_graph_that_the_runtime_accepts(
    pictures: Dataset, calibration: Calibration, filters: int
) -> None:
    """Its bias had a scale of one number and a zero point of none."""
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Conv2D(filters, 3, activation="relu")(x)
    x = keras.layers.Conv2D(8, 3)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    reference = examine(keras.Model(image, keras.layers.Dense(6, activation="softmax")(x)))
    model = convert(reference, pictures.labels, ExportConfig())
    check_runnable(quantize(prepare(model, calibration, Int8Config())).SerializeToString())
