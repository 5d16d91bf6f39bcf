"""Honest exports of awkward models pass stage by stage, and what is wrong in them is still found."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from onnx.numpy_helper import from_array, to_array

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config, Scaling
from signs_export.convert.convert import convert
from signs_export.float16 import to_float16
from signs_export.gate.missing_pixels import pixels_made
from signs_export.gate.noise_floor import LARGEST, float64_of
from signs_export.gate.trace import _off, first_difference, keras_stages, walk_layers
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.onnx_graph import weights_of
from signs_export.source.reference import Reference, examine
from signs_runtime.bundle.manifest import Precision

from ..networks import SIDE, train_a_little

layers = keras.layers


def ending(x: keras.KerasTensor, image: keras.KerasTensor) -> keras.Model:
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(8, 3, use_bias=False)(x)))
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def adapted_normalization(dataset: Dataset) -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3))
    normalization = layers.Normalization()
    normalization.adapt(np.asarray(dataset.train.pictures, np.float32) / 255)
    return ending(normalization(layers.Rescaling(1 / 255)(image)), image)


def norm_before_convolution(dataset: Dataset) -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3))
    return ending(layers.BatchNormalization(momentum=0.9)(layers.Rescaling(1 / 255)(image)), image)


def shapes_first(dataset: Dataset) -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3))
    return ending(layers.Permute((2, 1, 3))(layers.Rescaling(1 / 255)(image)), image)


def attention(dataset: Dataset) -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(16, 8, strides=8)(layers.Rescaling(1 / 255)(image))
    x = layers.Reshape((16, 16))(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    x = layers.Dense(16, activation="gelu")(x)
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def temperature(dataset: Dataset) -> keras.Model:
    """Layers that bear names which an export gives itself."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, name="Transpose")(layers.Rescaling(1 / 255, name="scaled")(image))
    x = layers.GlobalAveragePooling2D(name="Cast")(layers.ReLU(name="probabilities")(x))
    x = layers.Rescaling(0.5, name="cooled")(layers.Dense(6, name="logits")(x))
    return keras.Model(image, layers.Softmax(name="Softmax")(x))


def nested(dataset: Dataset) -> keras.Model:
    image, inner = keras.Input((SIDE, SIDE, 3)), keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="within")(inner)
    x = keras.Model(inner, layers.BatchNormalization(momentum=0.9)(x))(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def saturated(dataset: Dataset) -> keras.Model:
    """A gate that is shut, as sigmoids of trained models are: onnxruntime's is off by much of so small a number."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    shut = keras.initializers.Constant(-30.0)
    gate = layers.Conv2D(1, 1, activation="sigmoid", bias_initializer=shut, trainable=False, name="gate")(x)
    return ending(layers.Concatenate()([x, layers.Multiply()([x, gate])]), image)


def read_at_every_second_pixel(dataset: Dataset) -> keras.Model:
    """A block as ResNet has it, before a stage that begins with strides of 2: most of it is not computed."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same")(layers.Rescaling(1 / 255)(image))
    inner = layers.Conv2D(8, 3, activation="relu", padding="same", name="inner")(x)
    x = layers.ReLU()(layers.Add(name="sum")([layers.Conv2D(8, 1, name="expanded")(inner), x]))
    return ending(layers.Add()([layers.Conv2D(8, 1, strides=2, name=name)(x) for name in ("left", "right")]), image)


AWKWARD = [adapted_normalization, norm_before_convolution, shapes_first, attention, temperature, nested, saturated]
AWKWARD += [read_at_every_second_pixel]


def walked(reference: Reference, model: onnx.ModelProto, dataset: Dataset) -> str | None:
    """The first stage that differs."""
    double = float64_of(reference)
    assert double is not None
    within = [layer for layer in double.model._flatten_layers() if not isinstance(layer, keras.Model)]
    assert {layer.compute_dtype for layer in within if layer.weights} == {"float64"}
    stages = walk_layers(keras_stages(reference, double, np.asarray(dataset.test.pictures)[:6]), model, "float32")
    first = first_difference(stages)
    return None if first is None else f"{first.name}: {first.says}"


@pytest.mark.parametrize("make", AWKWARD)
def test_an_honest_export_of_an_awkward_model_passes_every_stage(
    make: Callable[[Dataset], keras.Model], dataset: Dataset
) -> None:
    reference = examine(train_a_little(make(dataset), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    assert walked(reference, model, dataset) is None


@pytest.mark.parametrize("scaling", ["unit", "tf", "torch", "caffe"])
def test_a_scaling_that_was_folded_in_is_a_stage(scaling: Scaling, dataset: Dataset) -> None:
    image = keras.Input((SIDE, SIDE, 3))
    reference = examine(train_a_little(ending(image, image), dataset, scaling), scaling=scaling)
    model = convert(reference, dataset.labels, ExportConfig())
    assert "scaled" in {name for node in model.graph.node for name in node.output}
    assert walked(reference, model, dataset) is None
    other = replace(reference, scaling="tf" if scaling != "tf" else "caffe")
    found = walked(other, model, dataset)
    assert found is not None
    assert found.startswith("scaled: ")


def test_a_wrong_weight_behind_an_adapted_normalization_is_found(dataset: Dataset) -> None:
    """Where the copy in float64 forgot what was adapted, everything seemed to be rounding."""
    reference = examine(train_a_little(adapted_normalization(dataset), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    (convolution,) = (node for node in model.graph.node if node.op_type == "Conv")
    kernel = weights_of(model)[convolution.input[1]]
    values = to_array(kernel).copy()
    values[0, 0, 0, 0] *= 1.2
    kernel.CopyFrom(from_array(values, kernel.name))
    found = walked(reference, model, dataset)
    assert found is not None
    assert found.startswith(convolution.output[0])


@pytest.mark.parametrize("name", ["inner", "expanded"])
def test_a_wrong_weight_is_found_at_a_stage_of_which_few_pixels_are_computed(name: str, dataset: Dataset) -> None:
    reference = examine(train_a_little(read_at_every_second_pixel(dataset), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    (convolution,) = (node for node in model.graph.node if node.input[1:2] == [f"{name}/kernel"])
    kernel = weights_of(model)[convolution.input[1]]
    values = to_array(kernel).copy()
    values[:, :, 0, 0] *= 1.1
    kernel.CopyFrom(from_array(values, kernel.name))
    found = walked(reference, model, dataset)
    assert found is not None
    assert found.startswith(name)


def test_a_copy_that_answers_otherwise_is_no_float64_of_the_model(reference: Reference) -> None:
    class Forgetful(keras.layers.Layer):  # type: ignore[misc]  # Keras has no usable types
        """Computes what its configuration does not tell."""

        factor = 1.0

        def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
            return self.factor * x

    image = keras.Input((SIDE, SIDE, 3))
    layer = Forgetful()
    layer.factor = 40.0
    x = layers.GlobalAveragePooling2D()(layer(layers.Rescaling(1 / 255)(image)))
    assert LARGEST == 1e-3
    assert float64_of(examine(keras.Model(image, layers.Dense(6, activation="softmax")(x)))) is None


def coarse(model: onnx.ModelProto, reference: Reference, dataset: Dataset, precision: Precision) -> str | None:
    """The first stage that differs on one picture alone."""
    side = keras_stages(reference, float64_of(reference), np.asarray(dataset.test.pictures)[:1])
    first = first_difference(walk_layers(side, model, precision))
    return None if first is None else first.name


def test_a_stage_that_does_not_vary_is_off_by_nothing_from_itself() -> None:
    """It was 4.0: what does not vary was multiplied by 0."""
    for values in (np.full((1, 6), 0.3), np.full((8, 5, 5, 3), -2.0), np.zeros((4, 3)), np.array([[1e-30, 3.0]])):
        given = values.astype(np.float32)
        assert _off(given, given) == 0
        assert _off(given, 5 * given) == pytest.approx(0, abs=1e-6)  # equalization multiplies a channel


def test_what_lies_below_the_floor_of_a_stage_tells_nothing_and_what_lies_above_it_does() -> None:
    rng = np.random.default_rng(0)
    values, floor = rng.normal(size=(2, 8, 8, 50, 4))
    clipped = np.maximum(values, np.minimum(floor, 0))  # as int8 has no levels for what a rectifier forgets
    equalized = clipped / np.array([1.0, 2.0, 5.0, 0.1])
    assert _off(values, equalized) > 0.3
    assert _off(values, equalized, floor) == pytest.approx(0, abs=1e-9)
    assert _off(values, np.where(values > floor + 1, 0, values), floor) > 0.3
    assert _off(values, np.where(values < floor - 1, floor + 1, values), floor) > 0.3  # reaches what it should not


def test_a_factor_that_few_numbers_give_does_not_make_a_stage_worse_than_none() -> None:
    """It was 1.4 of its size: a channel with eight numbers just above the floor was multiplied by what fits these."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1500, 4))
    values[:, 3] = -1  # nearly all cut off
    values[:8, 3] = 0.01 + 0.001 * rng.uniform(size=8)
    given = np.maximum(values, 0) + 0.02 * rng.normal(size=values.shape)
    given[:8, 3] = 0.0005 * rng.uniform(size=8)
    given[8:, 3] = 0.05 * rng.uniform(size=1492)
    floor = np.zeros(())
    assert _off(values, given, floor) <= _off(values, given, floor, multiplied=False) < 0.1


def test_the_noise_of_a_small_summand_is_measured_by_the_sum() -> None:
    rng = np.random.default_rng(0)
    small, large = 0.01 * rng.normal(size=(8, 50, 4)), rng.normal(size=(8, 50, 4))
    noisy = small + 0.01 * rng.normal(size=small.shape)
    assert _off(small, noisy) > 0.6
    assert _off(small, noisy, None, small + large) < 0.02
    assert _off(large, -large, None, small + large, multiplied=False) > 1.3


def test_the_size_of_a_stage_that_hardly_varies_is_no_speck() -> None:
    rng = np.random.default_rng(0)
    steady = 0.5 + 1e-4 * rng.normal(size=(8, 16))
    assert 0.1 < _off(steady, steady * (1 + 0.05 * rng.normal(size=steady.shape))) < 0.3
    assert _off(steady, rng.normal(size=steady.shape)) > 0.9


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_one_picture_alone_tells_a_good_variant_from_a_bad_one(
    straight: keras.Model,
    straight_onnx: onnx.ModelProto,
    calibration: Calibration,
    pictures: Dataset,
    precision: Precision,
) -> None:
    reference = examine(straight)
    if precision == "int8":
        model = quantize(prepare(straight_onnx, calibration, Int8Config()))
    else:
        model = to_float16(straight_onnx)
    assert coarse(model, reference, pictures, precision) is None
    (dense,) = (node for node in model.graph.node if node.op_type in ("Gemm", "MatMul"))
    kernel = weights_of(model)[dense.input[1]]
    kernel.CopyFrom(from_array(-to_array(kernel), kernel.name))
    assert coarse(model, reference, pictures, precision) == "logits"


@pytest.mark.parametrize("read", [(2, 2), (3, 3), (2, 3), (4, 4), (1, 2)])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 9), (6, 7), (12, 12)])
def test_a_stage_may_lack_the_pixels_that_nothing_reads_and_no_others(
    height: int, width: int, read: tuple[int, int]
) -> None:
    expected = np.random.default_rng(0).normal(size=(2, height, width, 3))
    part = expected[:, :: read[0], :: read[1]]
    for given in (np.moveaxis(part, -1, 1), part.reshape(-1, 3)):
        pick = pixels_made(expected, given, read)
        assert np.array_equal(pick(expected), part)
        assert _off(pick(expected), given) == pytest.approx(0, abs=1e-12)
        assert pick(None) is None
        assert pick(np.zeros(())) == 0
        assert _off(pixels_made(expected, given, (1, 1))(expected), given) == np.inf


def test_a_stage_that_lacks_pixels_that_are_read_differs(dataset: Dataset) -> None:
    """The mean behind it hardly changes: the gate would name a later stage, or in int8 none."""
    reference = examine(train_a_little(read_at_every_second_pixel(dataset), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    for node in model.graph.node:
        if node.name in ("left", "right"):
            kept = [each for each in node.attribute if each.name != "strides"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("strides", [2, 2])])
    found = walked(reference, model, dataset)
    assert found is not None
    assert found.startswith("left: off by inf")
