"""What is measured of a classifier, for the tests of figures and of charts."""

import numpy as np
import pytest

from signs_builder.data.dataset import Split
from signs_builder.evaluation.evaluate import Figures, evaluate

from .evaluation.classifier import LABELS, SPEC, by_brightness


@pytest.fixture(scope="module")
def split() -> Split:
    levels = np.array([20, 40, 100, 120, 200, 220, 90, 230], np.uint8)
    grain = np.random.default_rng(0).integers(0, 12, (8, 32, 32, 3), np.uint8)
    mislabelled = [0, 1]
    return Split(levels[:, None, None, None] + grain, np.array([0, 0, 1, 1, 2, 2, *mislabelled]))


@pytest.fixture(scope="module")
def figures(split: Split) -> Figures:
    return evaluate(by_brightness, split, LABELS, SPEC)
