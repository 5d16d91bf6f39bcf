"""The parity gate: what it measures, what it demands, and what it says."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from changed_models import with_last_layer
from junitparser import JUnitXml

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.gate.compare import compare
from signs_export.gate.evidence import Evidence, collected
from signs_export.gate.noise_floor import LARGEST, LEAST, MULTIPLE, UNKNOWN, NoiseFloor
from signs_export.gate.verdict import ParityReport
from signs_export.report.junit import write_junit
from signs_export.source.reference import Reference
from signs_runtime import Classifier

CONFIG = ExportConfig()


def prove(model: Path, reference: Reference, dataset: Dataset, config: ExportConfig) -> tuple[Evidence, ParityReport]:
    with collected(reference, dataset, config) as evidence:
        return evidence, compare(Classifier(model), model, model.stem, evidence, config)


@pytest.fixture
def file(converted: onnx.ModelProto, tmp_path: Path) -> Path:
    onnx.save(converted, tmp_path / "a.onnx")
    return tmp_path / "a.onnx"


def test_a_good_export_passes_every_check(file: Path, reference: Reference, dataset: Dataset) -> None:
    _, report = prove(file, reference, dataset, CONFIG)
    assert report.passed
    assert report.stage is None
    names = [check.name for check in report.checks]
    assert names[:4] == ["agreement", "max difference", "accuracy", "labels"]
    assert {"preprocessing", "layers", "weights", "batch sizes"} < set(names)
    stages = [stage.name for stage in report.stages]
    assert stages[0].startswith("rescaling")  # Keras numbers names that were given before
    assert stages[-2:] == ["logits", "probabilities"]
    assert len(stages) >= 11  # the layers that are not fused with others
    assert 0 < report.mean_difference <= report.p99_difference <= report.max_difference


def test_the_tolerance_is_a_multiple_of_what_float32_loses_in_keras(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    evidence, report = prove(file, reference, dataset, CONFIG)
    double = reference.in_float64()
    exact = double.probabilities(evidence.images)
    assert exact.dtype == np.float64
    lost = np.abs(exact - evidence.expected).max()
    assert evidence.floor.max_difference == pytest.approx(lost, rel=0.05, abs=LEAST)  # below the last digit it may miss
    assert report.budget.max_difference == evidence.floor.tolerance == MULTIPLE * max(lost, LEAST)
    assert f"{evidence.floor.max_difference:.1e}" in evidence.floor.says


def test_a_floor_that_is_no_measure_gives_no_wide_and_no_zero_tolerance() -> None:
    assert NoiseFloor(10, 0.0).tolerance == MULTIPLE * LEAST
    assert NoiseFloor(10, 0.1).tolerance == LARGEST
    assert NoiseFloor(0, None).tolerance == UNKNOWN


def test_a_flip_fails_the_gate_and_flipped_pictures_come_first(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "a.onnx")
    _, report = prove(tmp_path / "a.onnx", reference, dataset, CONFIG)
    assert report.same_label < 120
    assert {"agreement", "max difference", "layers"} <= {check.name for check in report.misses}
    assert report.stage == "logits"
    order = [bool(report.flipped[i]) for i, _ in report.worst(120)]
    assert order == sorted(order, reverse=True)
    assert "It goes wrong at: logits" in report.describe()


def test_an_answer_that_is_not_a_number_is_a_flip(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, lambda weights: np.full_like(weights, np.nan)), tmp_path / "a.onnx")
    _, report = prove(tmp_path / "a.onnx", reference, dataset, CONFIG)
    assert report.same_label == 0
    assert report.as_json()["max_difference"] is None


def test_labels_in_another_order_than_the_datas_fail_the_gate(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    turned = Dataset("turned", tuple("543210"), dataset.train, None, dataset.test)
    _, report = prove(file, reference, turned, CONFIG)
    assert [check.name for check in report.misses] == ["labels"]
    assert report.stage == "labels"
    assert "output 0 is '0', not '5'" in report.describe()


def test_another_number_of_labels_leaves_nothing_to_compare(file: Path, reference: Reference, dataset: Dataset) -> None:
    with (
        collected(reference, dataset, CONFIG) as evidence,
        pytest.raises(ExportError, match=r"6 labels and .* have 5"),
    ):
        compare(Classifier(file), file, "a", replace(evidence, labels=tuple("01234")), CONFIG)


def test_a_file_of_other_weights_fails_even_where_it_answers_alike(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    with collected(reference, dataset, CONFIG) as evidence:
        other = replace(evidence, weights_sha256="0" * 64)
        report = compare(Classifier(file), file, "a", other, CONFIG)
    assert [check.name for check in report.misses] == ["weights"]


def test_a_limit_on_pictures_keeps_the_test_split_first(file: Path, reference: Reference, dataset: Dataset) -> None:
    for limit, test, total in ((30, 24, 30), (10, 10, 10)):
        evidence, report = prove(file, reference, dataset, ExportConfig(parity_pictures=limit))
        assert (int(evidence.is_test.sum()), report.pictures) == (test, total)
        assert set(evidence.truth) == set(range(6))


def test_a_junit_file_holds_a_case_for_each_check_and_a_failure_for_each_miss(
    converted: onnx.ModelProto, file: Path, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "b.onnx")
    reports = [prove(tmp_path / name, reference, dataset, CONFIG)[1] for name in ("a.onnx", "b.onnx")]
    write_junit(reports, tmp_path / "junit.xml")
    good, bad = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (good.tests, good.failures) == (len(reports[0].checks), 0)
    assert [case.name for case in bad if case.result] == [check.name for check in reports[1].misses]
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert root.tag == "testsuites"
    assert any("(stage: logits)" in failure.attrib["message"] for failure in root.iter("failure"))
