"""float16 passes its gate at half the size."""

from dataclasses import replace
from pathlib import Path

import keras

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.export import seal_model
from signs_export.gate.evidence import Evidence
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.pictures.input_spec import InputSpec

CONFIG = ExportConfig(command="pytest", golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)


def test_float16_passes_its_gate_at_half_the_size(mobile: Reference, pictures: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(convert(mobile, pictures.labels, config), Job(mobile, pictures, config), tmp_path / "bundle")
    fp32, fp16 = open_bundle(tmp_path / "bundle").manifest.variants
    assert (fp16.name, fp16.precision) == ("fp16", "float16")
    assert fp16.file.bytes < 0.6 * fp32.file.bytes
    assert fp16.parity.same_label >= 0.999 * fp16.parity.pictures


def test_float16_is_left_out_where_the_model_hardly_tells_its_labels_apart(
    model: keras.Model, dataset: Dataset, tmp_path: Path
) -> None:
    """All labels are nearly as probable: float16 rounds the difference of their logits away, and float32 does not."""
    unsure = keras.models.clone_model(model)
    unsure.set_weights(model.get_weights())
    last = unsure.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([1e-4 * kernel, 0 * bias + 8])
    reference, config = examine(unsure), replace(CONFIG, variants=("fp32", "fp16"), as_is=True)
    export = seal_model(
        convert(reference, dataset.labels, config), Job(reference, dataset, config), tmp_path / "bundle"
    )
    assert [each.name for each in export.made] == ["fp32"]
    (left_out,) = export.left_out
    assert left_out.name == "fp16"
    assert "another label than Keras" in left_out.why
    assert not (tmp_path / "bundle/fp16.onnx").exists()
    assert "There is no fp16 variant" in (tmp_path / "bundle/report.html").read_text()


def test_float16_is_left_out_where_a_layer_outgrows_it(dataset: Dataset, tmp_path: Path) -> None:
    """Pixels from 0 to 255, and no normalization: a sum of thousands of them leaves float16."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(8, kernel_initializer="ones"),
        keras.layers.LayerNormalization(),
    ]
    side = dataset.test.images(InputSpec(32, 32)).shape[1]
    model = keras.Sequential([keras.Input((side, side, 3)), *layers, keras.layers.Dense(6, activation="softmax")])
    reference, config = examine(model, scaling="none"), replace(CONFIG, variants=("fp32", "fp16"), as_is=True)
    export = seal_model(
        convert(reference, dataset.labels, config), Job(reference, dataset, config), tmp_path / "bundle"
    )
    assert [each.name for each in export.made] == ["fp32"]
    (left_out,) = export.left_out
    assert "float16 holds numbers up to 65,504" in left_out.why


def test_what_float16_costs_by_nature_is_allowed_up_to_int8s_budget(evidence: Evidence) -> None:
    config, noise = ExportConfig(), evidence.stages.float16_noise
    assert 0 < noise < 1e-3
    means = [config.budget("float16", 0.0, each).mean_difference for each in (noise, 5e-4, 0.1)]
    assert means == [1e-3, 2e-3, config.budget("int8", 0.0).mean_difference]
