"""The int8 variant in a bundle: within its budget, repaired where it is not, or not shipped."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_export import variants
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.export import seal_model
from signs_export.gate.verdict import ParityError
from signs_export.int8 import prepare as prepare_module
from signs_export.int8.variant import NotWorthwhileError
from signs_export.job import Job
from signs_export.onnx_graph import answers, attribute
from signs_export.source.reference import Reference, examine
from signs_runtime import Classifier, verify
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.placement.timing import Timed

from ..networks import poison

CONFIG = ExportConfig(command="pytest", as_is=True, golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)


def test_depthwise_convolutions_pass_the_gate_in_a_bundle_that_verifies(
    mobile: Reference, pictures: Dataset, tmp_path: Path
) -> None:
    model = convert(mobile, pictures.labels, CONFIG)
    export = seal_model(model, Job(mobile, pictures, CONFIG), tmp_path / "bundle")
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
    export = seal_model(model, Job(reference, pictures, CONFIG), tmp_path / "bundle")
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
        seal_model(model, Job(reference, pictures, stubborn), tmp_path / "other")
    assert caught.value.exit_code == 3
    assert caught.value.verdict.variant == "int8"
    assert "Keras's label on" in str(caught.value)
    assert not (tmp_path / "other").exists()
    failed = {path.name for path in (tmp_path / "other.failed").iterdir()}
    assert failed == {"fp32.onnx", "int8.onnx", "junit.xml", "report.html", "report.json"}
    assert "int8 does not answer as Keras does" in (tmp_path / "other.failed" / "report.html").read_text()


@pytest.mark.parametrize(
    ("size", "speed", "is_worth_it"),
    [(0.3, 0.5, True), (0.7, 0.85, False), (0.7, 0.95, True), (0.8, 1.05, False), (0.8, 1.15, True)],
)
def test_bytes_and_time_are_weighed_together(
    reference: Reference,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: float,
    speed: float,
    is_worth_it: bool,
) -> None:
    """Three quarters of the bytes are worth no more time; a third is."""
    monkeypatch.setattr(variants, "SMALL", 0.5)
    float32, candidate = tmp_path / "fp32.onnx", convert(reference, dataset.labels, CONFIG)
    float32.write_bytes(b"0" * round(candidate.ByteSize() / size))
    taken = {"fp32": Timed(speed, None), "int8": Timed(1.0, None)}
    monkeypatch.setattr(variants, "_time_files", lambda files, job, rounds: taken)
    job = Job(reference, dataset, CONFIG)
    if is_worth_it:
        variants._check_worth(candidate, float32, job)
    else:
        with pytest.raises(NotWorthwhileError, match=f"{size:.0%} of fp32's bytes and {speed:.2f} times its speed"):
            variants._check_worth(candidate, float32, job)


def test_int8_that_would_gain_nothing_is_left_out_with_the_reason(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of matrices in a row, for which there are no integers here."""
    monkeypatch.setattr(variants, "SMALL", 0.5)
    monkeypatch.setattr(variants, "WORTHWHILE", 100.0)  # a network of microseconds may be timed as anything
    monkeypatch.setattr(prepare_module, "round_learned", None)  # it takes minutes, and is not come to
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Reshape((8, 24))(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Flatten()(keras.layers.Dense(32, activation="relu")(x))
    reference = examine(keras.Model(image, keras.layers.Dense(6, activation="softmax")(x)))
    told: list[str] = []
    export = seal_model(
        convert(reference, pictures.labels, CONFIG),
        Job(reference, pictures, CONFIG, warn=told.append),
        tmp_path / "bundle",
    )
    assert [variant.name for variant in export.bundle.manifest.variants] == ["fp32"]
    (left_out,) = export.left_out
    assert left_out.name == "int8"
    assert "of fp32's bytes" in left_out.why
    assert f"There is no int8 variant: {left_out.why}." in told
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "There is no int8 variant" in page
    assert not (tmp_path / "bundle" / "int8.onnx").exists()
    assert verify(tmp_path / "bundle").passed


def test_int8_that_misses_its_budget_with_any_layers_in_float_is_left_out(
    straight: keras.Model, pictures: Dataset, tmp_path: Path
) -> None:
    reference = examine(straight)
    strict = replace(CONFIG, int8=Int8Config(agreement=1.0 + 1e-9))
    told: list[str] = []
    export = seal_model(
        convert(reference, pictures.labels, strict),
        Job(reference, pictures, strict, warn=told.append),
        tmp_path / "bundle",
    )
    assert [made.name for made in export.made] == ["fp32"]
    assert any("missed its budget" in each for each in told)


def test_a_model_without_anything_to_quantize_has_no_int8(pictures: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(6)(keras.layers.Rescaling(1 / 255)(image))  # of each pixel: a product of matrices
    reference = examine(keras.Model(image, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x))))
    job = Job(reference, pictures, CONFIG, warn=lambda doubt: None)
    export = seal_model(convert(reference, pictures.labels, CONFIG), job, tmp_path / "bundle")
    assert [each.why for each in export.left_out] == ["no layer of this model would be in int8"]
