"""The whole export: a bundle that is proved, or the old one and an error with the numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.dataset import Dataset, Split
from signs_builder.model_file import weights_sha256
from signs_export.config import ExportConfig
from signs_export.errors import ExportError, ParityError
from signs_export.export import choose_golden, export_bundle, seal_model
from signs_export.parity import Evidence, ParityReport, collected, compare
from signs_export.reference import Reference
from signs_runtime import BundleNotFoundError, Classifier, verify
from signs_runtime.bundle import open_bundle

FILES = ["MODEL_CARD.md", "fp32.onnx", "golden.npz", "manifest.json", "report.html", "report.json"]
CONFIG = ExportConfig(command="pytest", golden_pictures=8)


def with_last_layer(
    model: onnx.ModelProto, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> onnx.ModelProto:
    """A copy in which the last layer's weights (8, 6) are changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(each for each in copy.graph.initializer if list(each.dims) == [8, 6])
    values = change(onnx.numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return copy


def prove(model: Path, reference: Reference, dataset: Dataset, config: ExportConfig) -> tuple[Evidence, ParityReport]:
    """Hold a model file to float32's budget."""
    with collected(reference, dataset, config) as evidence:
        return evidence, compare(Classifier(model), "a", evidence, config.budget("float32"), config)


def proof_of(folder: Path) -> dict[str, Any]:
    """What the report says of the first variant's proof."""
    document: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return document["variants"][0]["proof"]


def one_weight_off(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    weights[0, 0] += 0.1
    return weights


def test_a_bundle_holds_what_was_measured_and_verifies(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    export = seal_model(converted, reference, dataset, tmp_path / "bundle", CONFIG)
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert export.bundle.manifest == manifest
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == FILES
    (variant,) = manifest.variants
    assert variant.parity.pictures == 120
    assert variant.parity.same_label == 120
    assert variant.parity.batch_sizes == (1, 2, 17)
    assert 0 < variant.parity.mean_difference <= variant.parity.max_difference <= 1e-5
    right = reference.probabilities(np.asarray(dataset.test.pictures)).argmax(axis=1) == dataset.test.labels
    assert (variant.test_accuracy.correct, variant.test_accuracy.total) == (right.sum(), 24)
    assert manifest.provenance.data_sha256 == dataset.sha256()
    assert manifest.provenance.model_sha256 == weights_sha256(reference.model)
    assert manifest.provenance.pictures == {"train": 96, "test": 24}
    assert manifest.golden.pictures == 8
    (result,) = verify(tmp_path / "bundle")
    assert result.passed


def test_the_runtime_reads_the_files_that_keras_reads(reference: Reference, dataset: Dataset, tmp_path: Path) -> None:
    """Pictures in files of another size than the model's, JPEG among them: the data set's own files are compared."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 50, 40, 3), np.uint8)
    labels = np.arange(12) % 6
    files = Split(images, labels).files(tmp_path / "files", dataset.labels)
    split = Split(files, labels)
    other = Dataset("files", dataset.labels, split, None, split)
    export = export_bundle(reference, other, tmp_path / "bundle", CONFIG)
    report = export.made[0].report
    evidence = report.evidence
    assert report.passed
    assert evidence.files == (*files, *files)
    classifier = Classifier(tmp_path / "bundle")
    for file, expected in zip(evidence.files, evidence.expected, strict=True):
        assert np.allclose(classifier.predict(file).probabilities, expected, atol=CONFIG.tolerance)


def test_a_damaged_model_fails_the_gate_and_leaves_the_old_bundle(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    destination = tmp_path / "bundle"
    seal_model(converted, reference, dataset, destination, CONFIG)
    before = {path.name: path.read_bytes() for path in destination.iterdir()}
    with pytest.raises(ParityError) as caught:
        seal_model(with_last_layer(converted, one_weight_off), reference, dataset, destination, CONFIG)
    report = caught.value.report
    assert caught.value.exit_code == 3
    assert not report.passed
    assert report.max_difference > 1e-4
    assert "parity FAILED on 120 pictures" in str(caught.value)
    assert "The worst pictures:" in str(caught.value)
    assert str(report.worst()[0][1]) in str(caught.value)
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
        seal_model(poisoned, reference, dataset, tmp_path / "bundle", CONFIG)
    assert caught.value.report.max_difference == np.inf
    assert not (tmp_path / "bundle").exists()
    assert proof_of(tmp_path / "bundle.failed")["max_difference"] is None


def test_a_flip_fails_the_gate_even_within_a_wide_tolerance(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "a.onnx")
    wide = ExportConfig(tolerance=1.0)
    _, report = prove(tmp_path / "a.onnx", reference, dataset, wide)
    assert report.max_difference <= wide.tolerance
    assert report.same_label < 120
    assert not report.passed
    order = [bool(report.flipped[i]) for i, _ in report.worst(120)]
    assert order == sorted(order, reverse=True)  # flipped pictures come first


def test_labels_in_another_order_than_the_datas_are_refused(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(converted, tmp_path / "a.onnx")
    turned = Dataset("turned", tuple("543210"), dataset.train, None, dataset.test)
    with pytest.raises(ExportError, match="in this order"):
        prove(tmp_path / "a.onnx", reference, turned, CONFIG)


def test_a_limit_on_pictures_keeps_the_test_split_first(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(converted, tmp_path / "a.onnx")
    for limit, test, total in ((30, 24, 30), (10, 10, 10)):
        evidence, report = prove(tmp_path / "a.onnx", reference, dataset, ExportConfig(parity_pictures=limit))
        assert (int(evidence.is_test.sum()), report.pictures) == (test, total)
        assert set(evidence.truth) == set(range(6))


def test_golden_pictures_hold_the_least_sure_of_each_label_and_a_spread() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), 500).astype(np.float32)
    chosen = choose_golden(probabilities, 24)
    assert len(set(chosen.tolist())) == 24
    labels = probabilities.argmax(axis=1)
    ordered = np.sort(probabilities, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    for label in range(6):
        members = np.flatnonzero(labels == label)
        assert members[margins[members].argmin()] in chosen
    assert margins.argmax() in chosen
    assert len(choose_golden(probabilities[:3], 24)) == 3
