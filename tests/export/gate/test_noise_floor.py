"""The tolerance stands on what float32 itself loses."""

from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.gate.noise_floor import LARGEST, LEAST, MULTIPLE, UNKNOWN, NoiseFloor
from signs_export.source.reference import Reference

from ..proving import prove

CONFIG = ExportConfig()


def test_the_tolerance_is_a_multiple_of_what_float32_loses_in_keras(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    evidence, verdict = prove(file, reference, dataset, CONFIG)
    double = reference.in_float64()
    exact = double.probabilities(evidence.images)
    assert exact.dtype == np.float64
    lost = np.abs(exact - evidence.expected).max()
    assert evidence.floor.max_difference == pytest.approx(lost, rel=0.05, abs=LEAST)  # below the last digit it may miss
    assert verdict.budget.max_difference == evidence.floor.tolerance == MULTIPLE * max(lost, LEAST)
    assert f"{evidence.floor.max_difference:.1e}" in evidence.floor.says


def test_a_floor_that_is_no_measure_gives_no_wide_and_no_zero_tolerance() -> None:
    assert NoiseFloor(10, 0.0).tolerance == MULTIPLE * LEAST
    assert NoiseFloor(10, 0.1).tolerance == LARGEST
    assert NoiseFloor(0, None).tolerance == UNKNOWN
