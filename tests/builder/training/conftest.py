"""A data set that a small network learns in a few steps."""

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Pictures whose colour is their label, so that a small network learns them in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.integers(0, 40, (60, 16, 16, 3)) + 180 * np.eye(3)[labels][:, None, None]).astype(np.uint8)
    return Dataset("colours", ("r", "g", "b"), Split(images[:42], labels[:42]), None, Split(images[42:], labels[42:]))
