"""The whole export: a bundle that is proved, or the old one and an error with the numbers."""

import json
import os
import pickle
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.network.model_file import weights_sha256
from signs_export import export as export_module
from signs_export.config import ExportConfig
from signs_export.errors import CalibrationError, ExportError
from signs_export.export import export_bundle, seal_model
from signs_export.gate.verdict import ParityError
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime import BundleNotFoundError, Classifier, verify
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.onnx_metadata import INPUT_KEY

from .changed_models import with_last_layer
from .networks import network, train_a_little

FILES = [
    ".gitattributes",
    "MODEL_CARD.md",
    "fp32.onnx",
    "golden.npz",
    "junit.xml",
    "manifest.json",
    "report.html",
    "report.json",
]
CONFIG = ExportConfig(command="pytest", golden_pictures=8)


def proof_of(folder: Path) -> dict[str, Any]:
    """What the report says of the first variant's proof."""
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    proof: dict[str, Any] = document["variants"][0]["proof"]  # Any: JSON
    return proof


def with_other_filter(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that says that pictures are read with another filter than Keras's were."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (entry,) = (each for each in changed.metadata_props if each.key == INPUT_KEY)
    entry.value = entry.value.replace("bilinear", "nearest")
    return changed


def one_weight_off(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    weights[0, 0] += 0.1
    return weights


def test_a_bundle_holds_what_was_measured_and_verifies(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    export = seal_model(converted, Job(reference, dataset, CONFIG), tmp_path / "bundle")
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert export.bundle.manifest == manifest
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == FILES
    (variant,) = manifest.variants
    assert variant.parity.pictures == 120
    assert variant.parity.same_label == 120
    assert variant.parity.batch_sizes == (1, 2, 17)
    assert 0 < variant.parity.mean_difference <= variant.parity.p99_difference
    assert variant.parity.p99_difference <= variant.parity.max_difference <= 1e-5
    right = reference.probabilities(np.asarray(dataset.test.pictures)).argmax(axis=1) == dataset.test.labels
    assert (variant.test_accuracy.correct, variant.test_accuracy.total) == (right.sum(), 24)
    assert manifest.provenance.data_sha256 == dataset.sha256()
    assert manifest.provenance.model_sha256 == weights_sha256(reference.model)
    assert manifest.provenance.pictures == {"train": 96, "test": 24}
    assert manifest.golden.pictures == 8
    assert verify(tmp_path / "bundle").passed


def test_two_exports_of_the_same_weights_differ_in_their_run_alone(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    one, other = (
        seal_model(converted, Job(reference, dataset, replace(CONFIG, command=command)), tmp_path / command).bundle
        for command in ("one", "other")
    )
    assert one.manifest.digest == other.manifest.digest
    assert one.manifest.run.command == "one"
    assert replace(one.manifest, run=other.manifest.run) == other.manifest
    assert (one.folder / "golden.npz").read_bytes() == (other.folder / "golden.npz").read_bytes()
    assert datetime.fromisoformat(one.manifest.run.created).utcoffset() == timedelta(0)


def test_a_greyscale_model_is_proved_with_picture_files_too(dataset: Dataset, tmp_path: Path) -> None:
    model = train_a_little(network(channels=1), dataset)
    export_bundle(Job(examine(model), dataset, CONFIG), tmp_path / "bundle")
    golden = open_bundle(tmp_path / "bundle").golden()
    assert golden.labels == dataset.labels
    assert golden.file_images.shape == (7, 32, 32, 1)
    assert verify(tmp_path / "bundle").passed


def test_the_runtime_reads_the_files_that_keras_reads(reference: Reference, dataset: Dataset, tmp_path: Path) -> None:
    """Pictures in files of another size than the model's, JPEG among them: the data set's own files are compared."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 50, 40, 3), np.uint8)
    labels = np.arange(12) % 6
    files = Split(images, labels).files(tmp_path / "files", dataset.labels)
    split = Split(files, labels)
    other = Dataset("files", dataset.labels, split, None, split)
    export = export_bundle(Job(reference, other, CONFIG), tmp_path / "bundle")
    verdict = export.made[0].verdict
    evidence = verdict.evidence
    assert verdict.passed
    assert evidence.files == (*files, *files)
    classifier = Classifier(tmp_path / "bundle")
    for file, expected in zip(evidence.files, evidence.expected, strict=True):
        assert np.allclose(classifier.predict(file).probabilities, expected, atol=evidence.floor.tolerance)


def test_a_damaged_model_fails_the_gate_and_leaves_the_old_bundle(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    destination = tmp_path / "bundle"
    seal_model(converted, Job(reference, dataset, CONFIG), destination)
    before = {path.name: path.read_bytes() for path in destination.iterdir()}
    with pytest.raises(ParityError) as caught:
        seal_model(with_last_layer(converted, one_weight_off), Job(reference, dataset, CONFIG), destination)
    verdict = caught.value.verdict
    assert caught.value.exit_code == 3
    assert not verdict.passed
    assert verdict.max_difference > 1e-4
    assert "parity FAILED on 120 pictures" in str(caught.value)
    assert "The worst pictures:" in str(caught.value)
    assert str(verdict.evidence.files[verdict.worst(1)[0]]) in str(caught.value)
    assert {path.name: path.read_bytes() for path in destination.iterdir()} == before
    failed = tmp_path / "bundle.failed"
    assert (failed / "fp32.onnx").read_bytes() != before["fp32.onnx"]
    assert proof_of(failed)["max_difference"] > 1e-4
    with pytest.raises(BundleNotFoundError):  # what failed does not open as a bundle
        Classifier(failed)


def test_an_answer_that_is_not_a_number_fails_the_gate(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    poisoned = with_last_layer(converted, lambda weights: np.full_like(weights, np.nan))
    with pytest.raises(ParityError) as caught:
        seal_model(poisoned, Job(reference, dataset, CONFIG), tmp_path / "bundle")
    assert caught.value.verdict.max_difference == np.inf
    assert not (tmp_path / "bundle").exists()
    assert proof_of(tmp_path / "bundle.failed")["max_difference"] is None


def test_what_an_export_gives_and_raises_is_pickled(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    """A pool of processes hands it on: what cannot be unpickled there breaks the pool, or hangs it."""
    export = seal_model(converted, Job(reference, dataset, CONFIG), tmp_path / "bundle")
    again = pickle.loads(pickle.dumps(export))
    assert again.bundle == export.bundle
    assert again.made[0].verdict.as_json() == export.made[0].verdict.as_json()
    with pytest.raises(ParityError) as caught:
        seal_model(with_last_layer(converted, one_weight_off), Job(reference, dataset, CONFIG), tmp_path / "bundle")
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert error.verdict.max_difference == caught.value.verdict.max_difference
    for kind in (ExportError, CalibrationError):
        assert str(pickle.loads(pickle.dumps(kind("why")))) == "why"


def test_a_failed_gate_on_pictures_whose_names_are_no_text_is_reported_all_the_same(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    files = Split(dataset.test.pictures, dataset.test.labels).files(tmp_path / "files", dataset.labels)
    odd = [file.rename(os.fsdecode(os.fsencode(file) + b"\xff\x01.png")) for file in files]
    split = Split(odd, dataset.test.labels)
    job = Job(reference, Dataset("odd", dataset.labels, split, None, split), CONFIG)
    wrong = with_other_filter(with_last_layer(converted, one_weight_off))  # named: the file that is read otherwise
    with pytest.raises(ParityError):
        seal_model(wrong, job, tmp_path / "bundle")
    failed = tmp_path / "bundle.failed"
    assert json.loads((failed / "report.json").read_bytes().decode("ascii"))["passed"] is False
    assert (failed / "junit.xml").read_bytes()
    assert "does not answer" in (failed / "report.html").read_text(encoding="utf-8")


def test_weights_that_no_onnx_file_holds_are_refused_before_the_work(
    reference: Reference, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "MAX_FILE_BYTES", 2**24 + 1000)
    with pytest.raises(ExportError, match="an ONNX file holds at most"):
        export_bundle(Job(reference, dataset, ExportConfig()), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
