"""The tolerance stands on what float32 itself loses."""

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.export import export_bundle
from signs_export.gate.noise_floor import LARGEST, LEAST, MULTIPLE, UNKNOWN, WORK, NoiseFloor, choose_pictures
from signs_export.gate.rounding import rounded
from signs_export.job import Job
from signs_export.source.reference import Reference, examine

from ..networks import SIDE, train_a_little
from ..proving import prove

CONFIG = ExportConfig()


def test_the_tolerance_is_a_multiple_of_what_float32_loses_in_keras(
    file: Path, reference: Reference, dataset: Dataset
) -> None:
    evidence, verdict = prove(file, reference, dataset, CONFIG)
    double = reference.in_float64()
    exact = double.probabilities(evidence.images)
    assert exact.dtype == np.float64
    orders = (evidence.expected, *(reference.uncompiled_probabilities(evidence.images, size) for size in (32, 1)))
    with rounded(reference.model, "float32"):
        moved = reference.uncompiled_probabilities(evidence.images)
    lost = max(np.abs(exact - each).max() for each in (*orders, moved))
    assert evidence.floor.pictures == evidence.floor.among == len(evidence.images)  # a small model: all of them
    assert evidence.floor.max_difference == pytest.approx(lost, rel=0.2, abs=LEAST)  # below the last digit it may miss
    assert (
        verdict.budget.max_difference
        == evidence.floor.tolerance
        == MULTIPLE * max(evidence.floor.max_difference or 0, LEAST)
    )
    assert f"{evidence.floor.max_difference:.1e}" in evidence.floor.says


def test_a_floor_that_is_no_measure_gives_no_wide_and_no_zero_tolerance() -> None:
    assert NoiseFloor(10, 0.0).tolerance == MULTIPLE * LEAST
    assert NoiseFloor(10, 0.1).tolerance == LARGEST
    assert NoiseFloor(0, None).tolerance == UNKNOWN


def test_unsure_pictures_and_evenly_chosen_others_are_asked_about_as_far_as_the_work_goes() -> None:
    expected = np.random.default_rng(0).dirichlet(np.full(6, 0.3), 1000).astype(np.float32)
    assert np.array_equal(choose_pictures(expected, 10**6), np.arange(1000))
    chosen = choose_pictures(expected, int(WORK / 100))
    assert len(chosen) == len(set(chosen.tolist())) == 100
    top = np.sort(expected, axis=1)
    by_margin = np.argsort(top[:, -1] - top[:, -2])
    assert set(by_margin[:75].tolist()) < set(chosen.tolist())
    assert np.diff(np.sort(chosen[75:])).max() < 100
    assert len(choose_pictures(expected, int(WORK))) == 32
    assert "100 of 1,000 pictures" in NoiseFloor(100, 1e-6, 1000).says
    assert "all 1,000 pictures" in NoiseFloor(1000, 1e-6, 1000).says


def test_group_normalization_loses_no_more_than_keras_summing_otherwise(pictures: Dataset, tmp_path: Path) -> None:
    """Compiled, Keras loses a tenth of what it loses layer by layer, as onnxruntime computes."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for i in range(4):
        x = keras.layers.Conv2D(16, 3, padding="same", strides=1 + i % 2)(x)
        x = keras.layers.ReLU()(keras.layers.GroupNormalization(4)(x))
    x = keras.layers.Dense(6, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = train_a_little(keras.Model(image, x), pictures, epochs=25)
    config = ExportConfig(as_is=True)  # on some CPUs it learns nothing so quickly
    assert export_bundle(Job(examine(model), pictures, config), tmp_path / "bundle").made[0].verdict.passed
