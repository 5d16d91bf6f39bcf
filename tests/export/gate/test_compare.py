"""The gate passes a good export, and fails what is wrong in another."""

from dataclasses import replace
from pathlib import Path

import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.gate.compare import compare
from signs_export.gate.evidence import collected
from signs_export.job import Job
from signs_export.source.reference import Reference
from signs_runtime import Classifier

from ..proving import prove

CONFIG = ExportConfig()


def test_a_good_export_passes_every_check(file: Path, reference: Reference, dataset: Dataset) -> None:
    _, verdict = prove(file, reference, dataset, CONFIG)
    assert verdict.passed
    assert verdict.stage is None
    names = [check.name for check in verdict.checks]
    assert names[:4] == ["agreement", "max difference", "accuracy", "labels"]
    assert {"preprocessing", "layers", "weights", "batch sizes"} < set(names)
    stages = [stage.name for stage in verdict.stages]
    assert stages[0].startswith("rescaling")  # Keras numbers names that were given before
    assert stages[-2:] == ["logits", "probabilities"]
    assert len(stages) >= 11  # the layers that are not fused with others
    assert 0 < verdict.mean_difference <= verdict.p99_difference <= verdict.max_difference


def test_labels_in_another_order_than_the_datas_fail_the_gate(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    turned = Dataset("turned", tuple("543210"), dataset.train, None, dataset.test)
    _, verdict = prove(file, reference, turned, CONFIG)
    assert [check.name for check in verdict.misses] == ["labels"]
    assert verdict.stage == "labels"
    assert "output 0 is '0', but '5' in the data" in verdict.describe()


def test_another_number_of_labels_leaves_nothing_to_compare(file: Path, reference: Reference, dataset: Dataset) -> None:
    with (
        collected(Job(reference, dataset, CONFIG)) as evidence,
        pytest.raises(ExportError, match=r"6 labels and .* have 5"),
    ):
        compare(Classifier(file), file, "a", replace(evidence, labels=tuple("01234")), CONFIG)


def test_a_file_of_other_weights_fails_even_where_it_answers_alike(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    with collected(Job(reference, dataset, CONFIG)) as evidence:
        other = replace(evidence, weights_sha256="0" * 64)
        verdict = compare(Classifier(file), file, "a", other, CONFIG)
    assert [check.name for check in verdict.misses] == ["weights"]
