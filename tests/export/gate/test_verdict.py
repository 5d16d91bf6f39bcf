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
    given[:7] = [0.1, 0.9]  # 99.3% agree; 7 right only in Keras, none only in the variant
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
    assert "7 only in Keras, 0 only in the variant" in verdict.misses[0].says
    given[5:7] = expected[5:7]
    assert verdict_at_once("int8", all_right, given, "int8", Budget(0.99, None, None)).passed  # 5 to 0 may be chance


def undecided(evidence: Evidence, margin: float) -> tuple[Evidence, np.ndarray, np.ndarray]:
    """Evidence of 200 pictures, half of them with so small a margin, and answers that turn it round."""
    n = 200
    expected = np.tile(np.array([[0.9, 0.1]], np.float32), (n, 1))
    expected[::2] = [0.5 + margin / 2, 0.5 - margin / 2]
    given = expected.copy()
    given[::2] = expected[::2, ::-1]
    files = tuple(Path(f"{i}.png") for i in range(n))
    truth = np.tile([True, False], (n, 1))
    made = replace(
        evidence,
        labels=("a", "b"),
        files=files,
        truth=truth,
        is_test=np.ones(n, bool),
        expected=expected,
        rebuilt=expected,
    )
    return made, expected, given


def test_labels_that_keras_itself_cannot_tell_apart_are_no_miss(evidence: Evidence) -> None:
    tolerance = 1e-6
    close, expected, given = undecided(evidence, tolerance / 2)
    verdict = verdict_at_once("fp32", close, given, "float32", Budget(1.0, tolerance, None))
    assert verdict.passed
    assert verdict.same_label == 100
    assert "on 100 of the others" in verdict.checks[0].says
    far, expected, given = undecided(evidence, 2.5 * tolerance)
    given[::2] = [
        0.5 - tolerance / 10,
        0.5 + tolerance / 10,
    ]  # within the tolerance of each probability, or just beyond
    assert not verdict_at_once("fp32", far, given, "float32", Budget(1.0, tolerance, None)).passed
    given = expected.copy()
    given[1] = [0.1, 0.9]  # one that Keras is sure of
    names = {
        check.name for check in verdict_at_once("fp32", far, given, "float32", Budget(1.0, tolerance, None)).misses
    }
    assert names == {"agreement", "max difference"}


def test_a_coarse_variant_hardly_differs_where_all_its_flips_are_of_labels_that_lie_close(evidence: Evidence) -> None:
    budget = Budget(0.99, None, 1e-3)
    close, _, given = undecided(evidence, 1e-4)
    verdict = verdict_at_once("fp16", close, given, "float16", budget)
    assert not verdict.passed
    assert verdict.hardly_differs
    given[1] = [0.1, 0.9]
    assert not verdict_at_once("fp16", close, given, "float16", budget).hardly_differs
    close, _, given = undecided(evidence, 1e-2)
    assert not verdict_at_once("fp16", close, given, "float16", budget).hardly_differs
