"""A verdict: what it counts, what it demands, and what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.gate.compare import verdict_at_once
from signs_export.gate.evidence import Evidence
from signs_export.source.reference import Reference
from signs_runtime.bundle.manifest import Budget

from ..changed_models import with_last_layer
from ..proving import prove

CONFIG = ExportConfig()


def test_a_flip_fails_the_gate_and_flipped_pictures_come_first(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "a.onnx")
    _, verdict = prove(tmp_path / "a.onnx", reference, dataset, CONFIG)
    assert verdict.same_label < 120
    assert {"agreement", "max difference", "layers"} <= {check.name for check in verdict.misses}
    assert verdict.stage == "logits"
    order = [bool(verdict.flipped[i]) for i in verdict.worst(120)]
    assert order == sorted(order, reverse=True)
    assert "It goes wrong at: logits" in verdict.describe()


def test_an_answer_that_is_not_a_number_is_a_flip(
    converted: onnx.ModelProto, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, lambda weights: np.full_like(weights, np.nan)), tmp_path / "a.onnx")
    _, verdict = prove(tmp_path / "a.onnx", reference, dataset, CONFIG)
    assert verdict.same_label == 0
    assert verdict.as_json()["max_difference"] is None


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
        truth=np.tile([True, False], (n, 1)),
        is_test=np.ones(n, bool),
        expected=expected,
    )
    verdict = verdict_at_once("int8", all_right, given, "int8", Budget(0.99, None, None))
    assert [check.name for check in verdict.misses] == ["accuracy"]
    assert "7 in Keras alone, 0 in the variant alone" in verdict.misses[0].says
    given[5:7] = expected[5:7]
    assert verdict_at_once("int8", all_right, given, "int8", Budget(0.99, None, None)).passed  # 5 to 0 may be chance
