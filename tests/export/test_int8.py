"""int8 of small networks: exact, within its budget or not shipped, and its layers' risks and damage told truly."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from networks import hands, mobile_network, poison, straight_network, train_a_little
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.export import seal_model
from signs_export.gate.compare import report_at_once
from signs_export.gate.evidence import Evidence
from signs_export.gate.verdict import ParityError
from signs_export.int8.activations import observe
from signs_export.int8.calibration import Calibration, choose_calibration
from signs_export.int8.equalize import equalize, find_streams
from signs_export.int8.quantize import Quantizer, layers_in_float
from signs_export.int8.saturation import LARGEST, predict_saturation
from signs_export.int8.summed_ranges import Summand, choose_ranges, find_summands
from signs_export.onnx_graph import answers, attribute, inner_values, weights_of
from signs_export.source.reference import Reference, examine
from signs_runtime import Classifier, InputSpec, verify
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.manifest import Budget

CONFIG = ExportConfig(command="pytest", golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)
NAIVE = Int8Config(
    equalization=0, summed_ranges=False, learned_rounding=False, bias_correction=False, exact_everywhere=False
)


@pytest.fixture(scope="module")
def mobile(pictures: Dataset) -> Reference:
    return examine(train_a_little(mobile_network(), pictures, epochs=25))


@pytest.fixture(scope="module")
def straight(pictures: Dataset) -> keras.Model:
    return train_a_little(straight_network(), pictures, epochs=10)


@pytest.fixture(scope="module")
def straight_onnx(straight: keras.Model, pictures: Dataset) -> onnx.ModelProto:
    return convert(examine(straight), pictures.labels, ExportConfig())


@pytest.fixture(scope="module")
def calibration(pictures: Dataset) -> Calibration:
    return choose_calibration(pictures, InputSpec(32, 32), 100)


def pixels(pictures: Dataset) -> NDArray[np.uint8]:
    return np.concatenate([np.asarray(pictures.test.pictures), np.asarray(pictures.train.pictures)])


def test_depthwise_convolutions_pass_the_gate_in_a_bundle_that_verifies(
    mobile: Reference, pictures: Dataset, tmp_path: Path
) -> None:
    model = convert(mobile, pictures.labels, CONFIG)
    export = seal_model(model, mobile, pictures, tmp_path / "bundle", CONFIG)
    fp32, int8 = export.bundle.manifest.variants
    assert (fp32.name, int8.name, int8.precision) == ("fp32", "int8", "int8")
    assert int8.parity.same_label >= 0.99 * int8.parity.pictures
    assert int8.file.bytes < 0.8 * fp32.file.bytes
    assert int8.tolerance >= 1e-3
    speed = export.bundle.manifest.run.speeds["int8"]
    assert speed.size_only == (speed.speedup < 1.1)
    assert verify(tmp_path / "bundle").passed
    (details,) = (made.int8 for made in export.made if made.int8 is not None)
    assert not any(layer.at_risk for layer in details.saturation)
    assert set(details.noise) == {node.name for node in model.graph.node if node.op_type == "Conv"}
    groups = [attribute(node, "group", 1) for node in details.model.graph.node if node.op_type == "Conv"]
    assert sum(group > 1 for group in groups) == 5
    pixels = Classifier(tmp_path / "bundle", variant="int8").probabilities(np.asarray(pictures.test.pictures))
    assert np.allclose(pixels, answers(details.model, np.asarray(pictures.test.pictures)), atol=1e-5)


def test_a_poisoned_layer_is_found_and_left_in_float(straight: keras.Model, pictures: Dataset, tmp_path: Path) -> None:
    ill = keras.models.clone_model(straight)
    ill.set_weights(straight.get_weights())
    poison(ill, "norm1", "conv2", channel=3)
    reference = examine(ill)
    model = convert(reference, pictures.labels, CONFIG)
    export = seal_model(model, reference, pictures, tmp_path / "bundle", CONFIG)
    int8 = open_bundle(tmp_path / "bundle").manifest.variants[1]
    details = export.made[1].int8
    assert details is not None
    assert max(details.noise, key=lambda layer: details.noise[layer]) == "conv2"
    assert set(int8.in_float) == {"conv1", "conv2"}  # the layer, and the one that feeds it through the same scale
    price = export.made[1].price
    assert price is not None
    assert price.bytes < int8.file.bytes
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "<strong>conv2, conv1</strong>" in page

    stubborn = replace(CONFIG, int8=Int8Config(float_layers=False))
    with pytest.raises(ParityError) as caught:
        seal_model(model, reference, pictures, tmp_path / "other", stubborn)
    assert caught.value.exit_code == 3
    assert caught.value.report.variant == "int8"
    assert "Keras's label on" in str(caught.value)
    assert not (tmp_path / "other").exists()
    failed = {path.name for path in (tmp_path / "other.failed").iterdir()}
    assert failed == {"fp32.onnx", "int8.onnx", "junit.xml", "report.html", "report.json"}
    assert "int8 does not answer as Keras does" in (tmp_path / "other.failed" / "report.html").read_text()


def test_the_predictor_names_every_layer_that_saturates_by_hand(
    straight_onnx: onnx.ModelProto, calibration: Calibration
) -> None:
    images = calibration.images[:10]
    naive = Quantizer(straight_onnx, calibration, NAIVE).quantize()
    predicted = {layer.layer: layer for layer in predict_saturation(naive, images)}
    assert set(predicted) == {"conv0", "conv1", "conv2", "conv3"}
    by_hand = {name: largest_pair_sum(naive, name, images) for name in predicted}
    assert any(largest > LARGEST for largest in by_hand.values())  # else the test proves nothing
    for name, largest in by_hand.items():
        assert predicted[name].bound >= largest
        assert predicted[name].saturates == (largest > LARGEST)
        if predicted[name].at_risk:
            assert predicted[name].measured == largest
    safe = Quantizer(straight_onnx, calibration, Int8Config()).quantize()
    assert not any(layer.at_risk for layer in predict_saturation(safe, images))
    assert max(largest_pair_sum(safe, name, images) for name in predicted) <= LARGEST


def largest_pair_sum(model: onnx.ModelProto, layer: str, images: NDArray[np.uint8]) -> int:
    """The largest |sum of two neighbouring products| of a 3x3 convolution with padding 'same', position by position."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    node = next(node for node in model.graph.node if node.name == layer)
    weights = onnx.numpy_helper.to_array(weights_of(model)[made_by[node.input[1]].input[0]]).astype(int)
    source = made_by[node.input[0]].input[0]
    stride = attribute(node, "strides", [1, 1])[0]
    before, after = attribute(node, "pads", None)[0], attribute(node, "pads", None)[2]
    filters = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
    largest = 0
    for batch in inner_values(model, [source], images):
        values = np.pad(batch[source].astype(int), ((0, 0), (0, 0), (before, after), (before, after)))
        for y in range(0, values.shape[2] - 2, stride):
            for x in range(0, values.shape[3] - 2, stride):
                window = values[:, :, y : y + 3, x : x + 3].transpose(0, 2, 3, 1).reshape(len(values), -1)
                products = window[:, None] * filters  # (n, o, k)
                whole = products[:, :, : products.shape[2] // 2 * 2]
                sums = whole[:, :, ::2] + whole[:, :, 1::2]
                largest = max(largest, int(np.abs(sums).max()))
    return largest


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_equalizing_changes_ranges_and_no_answer(
    straight_onnx: onnx.ModelProto, pictures: Dataset, strength: float
) -> None:
    images = np.asarray(pictures.test.pictures)
    before = answers(straight_onnx, images)
    changed = onnx.ModelProto()
    changed.CopyFrom(straight_onnx)
    streams = find_streams(changed)
    assert len(streams) == 3  # between four convolutions; behind the last comes no reader that can take a factor
    names = [name for stream in streams for name in stream.tensors]

    def maxima() -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for batch in inner_values(changed, names, images):
            for name, values in batch.items():
                found[name] = np.maximum(found.get(name, 0), values.max(axis=(0, 2, 3)))
        return found

    def spread() -> float:
        return max(float(largest.max() / largest[largest > 0].min()) for largest in maxima().values())

    apart = spread()
    equalize(changed, streams, maxima(), strength)
    assert np.allclose(answers(changed, images), before, atol=1e-5)
    assert spread() < (1.01 if strength == 1 else apart**0.6)


def test_observations_divided_are_those_of_the_equalized_model(
    straight_onnx: onnx.ModelProto, calibration: Calibration
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(straight_onnx)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    streams = find_streams(model)
    names = [name for stream in streams for name in stream.tensors]
    divided = observe(model, convolutions, names, names, calibration.images)
    factors = equalize(model, streams, divided.largest(), 0.5)
    assert len(factors) == len(names)
    assert all(factor.min() < 0.9 for factor in factors.values())  # else the test proves nothing
    divided.divide(convolutions, factors)
    seen = observe(model, convolutions, names, names, calibration.images)
    for these, those in ((divided.rows, seen.rows), (divided.lowest, seen.lowest), (divided.highest, seen.highest)):
        for name, values in those.items():
            assert np.allclose(these[name], values, rtol=1e-4, atol=1e-5)


def test_pixels_enter_the_integers_as_they_are(straight_onnx: onnx.ModelProto, calibration: Calibration) -> None:
    model = Quantizer(straight_onnx, calibration, Int8Config()).quantize()
    (first,) = (node for node in model.graph.node if "image" in node.input)
    assert first.op_type == "DequantizeLinear"
    scale, zero_point = (onnx.numpy_helper.to_array(weights_of(model)[name]) for name in first.input[1:])
    assert (scale, zero_point) == (np.float32(1 / 255), 0)
    assert not any(node.op_type == "Cast" for node in model.graph.node)
    assert layers_in_float(model) == ()


def test_a_layer_left_in_float_keeps_its_weights(
    straight_onnx: onnx.ModelProto, calibration: Calibration, pictures: Dataset
) -> None:
    quantizer = Quantizer(straight_onnx, calibration, Int8Config())
    assert layers_in_float(quantizer.quantize(["conv0"])) == ("conv0",)
    assert layers_in_float(quantizer.quantize(["conv2"])) == ("conv1", "conv2")
    images = np.asarray(pictures.test.pictures)
    in_float = answers(quantizer.quantize(list(quantizer.rounded)), images)
    assert np.allclose(in_float, answers(straight_onnx, images), atol=1e-5)


def test_onnxruntime_does_not_quantize_a_layer_left_in_float_by_itself(
    mobile: Reference, calibration: Calibration, pictures: Dataset, tmp_path: Path
) -> None:
    """Its optimizer quantizes float weights that it finds between quantized tensors."""
    model = convert(mobile, pictures.labels, CONFIG)
    quantizer = Quantizer(model, calibration, Int8Config())
    first, *_, last = quantizer.rounded
    for layers in ([], [first], [last], [first, last], list(quantizer.rounded)):
        quantized = quantizer.quantize(layers)
        assert set(layers_in_float(quantized)) >= set(layers)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
        if len(layers) == len(quantizer.rounded):  # all that is left of int8 is nothing
            images = np.asarray(pictures.test.pictures)
            assert np.allclose(answers(quantized, images), answers(model, images), atol=1e-5)
        computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        assert computed["Conv"] + computed["FusedConv"] == len(layers_in_float(quantized))
        assert computed["QLinearConv"] == len(quantizer.rounded) - len(layers_in_float(quantized))


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
    quantizer = Quantizer(model, calibration, Int8Config())
    predicted = predict_saturation(quantizer.quantize(), calibration.images)
    assert {layer.layer for layer in predicted} == set(quantizer.rounded)  # none is taken for safe by its kind
    assert not any(layer.at_risk for layer in predicted)
    for layer in quantizer.rounded:
        quantized = quantizer.quantize([layer])
        assert layer in layers_in_float(quantized)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
        computed = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
        assert computed["QLinearConv"] == len(quantizer.rounded) - len(layers_in_float(quantized))


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
    given = answers(Quantizer(model, calibration, Int8Config()).quantize(), images)
    assert np.allclose(given, answers(model, images), atol=0.02)


def test_a_page_shows_odd_names_as_text(straight: keras.Model, tmp_path: Path) -> None:
    pictures = hands(96, 24)
    labels = ("<b>0", "1", "2", "3", "4", '"&')
    files = Split(pictures.test.pictures, pictures.test.labels).files(tmp_path / "files", list("012345"))
    names = [f"<i>{i}".encode() + b"\xff.png" for i in range(len(files))]
    odd = [file.rename(file.with_name(os.fsdecode(name))) for file, name in zip(files, names, strict=True)]
    split = Split(odd, pictures.test.labels)
    dataset = Dataset("<u>hands", labels, split, None, split)
    reference = examine(straight)
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(convert(reference, labels, config), reference, dataset, tmp_path / "bundle", config)
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert not any(tag in page for tag in ("<b>0", "<i>", "<u>"))
    assert "&lt;i&gt;" in page


def test_significantly_fewer_right_fails_the_gate_though_the_labels_agree_enough(evidence: Evidence) -> None:
    n = 1000
    expected = np.tile(np.array([[0.9, 0.1]], np.float32), (n, 1))
    given = expected.copy()
    given[:7] = [0.1, 0.9]  # 99.3% agree; 7 right in Keras alone, none in the variant alone
    files = tuple(Path(f"{i}.png") for i in range(n))
    all_right = replace(
        evidence,
        labels=("a", "b"),
        files=files,
        truth=np.zeros(n, np.int64),
        is_test=np.ones(n, bool),
        expected=expected,
    )
    report = report_at_once("int8", all_right, given, "int8", Budget(0.99, None, None))
    assert [check.name for check in report.misses] == ["accuracy"]
    assert "7 in Keras alone, 0 in the variant alone" in report.misses[0].says
    given[5:7] = expected[5:7]
    assert report_at_once("int8", all_right, given, "int8", Budget(0.99, None, None)).passed  # 5 to 0 may be chance


def test_ranges_of_rectified_sums_leave_out_what_the_rectifier_cuts_off(tmp_path: Path) -> None:
    """A convolution that reaches far below what its rectified sum with another can use."""
    rng = np.random.default_rng(0)
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
        make("Transpose", ["pixels"], ["x"], perm=[0, 3, 1, 2]),
        make("Conv", ["x", "w"], ["summand"], kernel_shape=[1, 1]),
        make("Conv", ["x", "v"], ["raw"], kernel_shape=[1, 1]),
        make("Relu", ["raw"], ["other"]),
        make("Add", ["other", "summand"], ["sum"]),
        make("Relu", ["sum"], ["rectified"]),
    ]
    weights = {
        "w": np.array([[1.0, -9.0, 0.0]], np.float32).reshape(1, 3, 1, 1),
        "v": np.array([[0.0, 0.0, 1.0]], np.float32).reshape(1, 3, 1, 1),
    }
    graph = onnx.helper.make_graph(
        nodes,
        "sum",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 4, 4, 3])],
        [onnx.helper.make_tensor_value_info("rectified", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    summands = find_summands(model)
    assert summands == [Summand("summand", "other")]
    images = rng.integers(0, 256, (40, 4, 4, 3), np.uint8)
    ((low, high),) = choose_ranges(model, summands, {"summand": (-2295.0, 255.0)}, images).values()
    assert high == 255
    assert -0.4 * 2295 <= low <= -255  # what the other summand can lift above zero


def test_each_choice_can_be_left_out(
    straight_onnx: onnx.ModelProto, calibration: Calibration, pictures: Dataset
) -> None:
    images = pixels(pictures)
    expected = answers(straight_onnx, images)

    def difference(config: Int8Config) -> float:
        return float(
            np.abs(answers(Quantizer(straight_onnx, calibration, config).quantize(), images) - expected).mean()
        )

    assert difference(Int8Config()) < difference(replace(NAIVE, exact_everywhere=True))


def test_a_model_that_cannot_be_quantized_still_gets_its_bundle(pictures: Dataset, tmp_path: Path) -> None:
    """Nothing but dense layers: onnxruntime has no integers for them here."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))
    reference = examine(model)
    export = seal_model(convert(reference, pictures.labels, CONFIG), reference, pictures, tmp_path / "bundle", CONFIG)
    assert [variant.name for variant in export.bundle.manifest.variants] == ["fp32", "int8"]
    assert verify(tmp_path / "bundle").passed


def test_float16_passes_its_gate_at_half_the_size(mobile: Reference, pictures: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(convert(mobile, pictures.labels, config), mobile, pictures, tmp_path / "bundle", config)
    fp32, fp16 = open_bundle(tmp_path / "bundle").manifest.variants
    assert (fp16.name, fp16.precision) == ("fp16", "float16")
    assert fp16.file.bytes < 0.6 * fp32.file.bytes
    assert fp16.parity.same_label >= 0.999 * fp16.parity.pictures
