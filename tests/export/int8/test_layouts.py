"""A network with large layers on few pixels has two int8 variants: the same integers in two layouts."""

from dataclasses import replace
from pathlib import Path

import keras
import pytest

from signs_builder.data.dataset import Dataset
from signs_export import variants
from signs_export.config import FILES, ExportConfig
from signs_export.convert.convert import convert
from signs_export.destination import failed_folder
from signs_export.export import export_bundle, seal_model
from signs_export.gate.verdict import ParityError
from signs_export.int8 import products
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime import Classifier, verify

CONFIG = ExportConfig(
    command="pytest", as_is=True, golden_pictures=8, variants=("fp32", "int8", "fp16"), speed_rounds=1
)


@pytest.fixture
def reference(straight: keras.Model, monkeypatch: pytest.MonkeyPatch) -> Reference:
    monkeypatch.setattr(products, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(products, "MOST_PIXELS", 32 * 32)
    return examine(straight)


def test_both_are_sealed_and_give_the_same_answers(reference: Reference, pictures: Dataset, tmp_path: Path) -> None:
    model = convert(reference, pictures.labels, CONFIG)
    manifest = seal_model(model, Job(reference, pictures, CONFIG), tmp_path / "bundle").bundle.manifest
    assert tuple(each.name for each in manifest.variants) == FILES
    _, int8, gemm, _ = manifest.variants
    assert replace(gemm, name=int8.name, file=int8.file) == int8
    assert gemm.file.sha256 != int8.file.sha256
    assert verify(tmp_path / "bundle").passed
    images = pictures.test.images(manifest.input)
    one, other = (Classifier(tmp_path / "bundle", variant=name).probabilities(images) for name in ("int8", "int8-gemm"))
    assert (one == other).all()


def test_a_failed_export_is_replaced_by_the_next(
    reference: Reference, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(reference, pictures, CONFIG)
    wrong = convert(examine(other(reference)), pictures.labels, CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr(variants, "to_float16", lambda model: wrong)
        patched.setattr(variants, "_why_no_float16", lambda verdict, float32: "")
        for _ in range(2):
            with pytest.raises(ParityError):
                export_bundle(job, tmp_path / "bundle")
    assert (failed_folder(tmp_path / "bundle") / "int8-gemm.onnx").exists()
    export_bundle(job, tmp_path / "bundle")


def other(reference: Reference) -> keras.Model:
    """The same network with a negated last kernel."""
    model = keras.models.clone_model(reference.model)
    *weights, kernel, bias = reference.model.get_weights()
    model.set_weights([*weights, -kernel, bias])
    return model
