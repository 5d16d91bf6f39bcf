"""The expected calibration error is what it says, and tells a model that is too sure from one that is not."""

import numpy as np
import pytest

from signs_builder.evaluation.reliability import reliability


def test_a_model_that_is_as_often_right_as_it_says_has_nearly_no_error() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0.2, 1, 20_000)
    found = reliability(said, rng.random(20_000) < said)
    assert found.error < 0.02
    assert abs(found.overconfidence) < 0.02
    assert sum(each.pictures for each in found.bins) == 20_000
    assert all(each.accuracy == pytest.approx(each.probability, abs=0.05) for each in found.bins)


def test_one_that_is_too_sure_is_off_by_as_much_within_its_interval() -> None:
    rng = np.random.default_rng(1)
    said = rng.uniform(0.9, 1, 400)
    found = reliability(said, rng.random(400) < 0.6)
    assert found.overconfidence == pytest.approx(0.35, abs=0.06)
    assert found.error == pytest.approx(found.overconfidence, abs=0.02)
    low, high = found.interval_95
    assert low <= found.error <= high
    assert high - low < 0.15


def test_the_same_answers_give_the_same_figures_and_a_bound_counts() -> None:
    said, right = np.array([1.0, 1.0, 0.0]), np.array([True, False, False])
    assert reliability(said, right) == reliability(said, right)
    assert reliability(said, right).error == pytest.approx(1 / 3)
