"""A model made ready for int8: pixels as they are, biases kept, and each choice worth its place."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import save_model
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import layers_in_float, quantize
from signs_export.onnx_graph import answers, weights_of
from signs_export.source.reference import examine

from ..networks import train_a_little

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


EXPORTED = """
import hashlib, sys
import onnx
from signs_builder.network.model_file import load_model
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8.calibration import choose_calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.source.reference import examine
from tests.export.networks import hands

pictures = hands(96, 24)
reference = examine(load_model(__import__("pathlib").Path(sys.argv[1])))
float32 = convert(reference, pictures.labels, ExportConfig())
calibration = choose_calibration(pictures, reference.input, 96)
int8 = quantize(prepare(float32, calibration, Int8Config()))
for model in (float32, int8):
    print(hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest())
"""


def test_the_files_are_the_same_on_one_cpu_and_on_two(dataset: Dataset, tmp_path: Path) -> None:
    """BLAS shares a product among as many threads as there are CPUs, and sums in other orders then."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if shutil.which("taskset") is None or len(cpus) < 2:
        pytest.skip("needs taskset and two CPUs")
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(64, 5, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Conv2D(64, 3, activation="relu")(x)
    x = keras.layers.Dense(6, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    save_model(train_a_little(keras.Model(image, x), dataset), tmp_path / "model.keras")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    digests = []
    for some in (cpus[:1], cpus[:2]):
        command = ["taskset", "-c", ",".join(map(str, some)), sys.executable, "-c", EXPORTED, f"{tmp_path}/model.keras"]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3])
        assert result.returncode == 0, result.stderr
        digests.append(result.stdout)
    assert digests[0] == digests[1]
