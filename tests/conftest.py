"""Where the tests find the real pictures and the real model; nothing heavy is imported here."""

import os
from pathlib import Path

import pytest


def _from_environment(name: str) -> Path:
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set: this test is for real SIGNS material")
    path = Path(value)
    assert path.exists(), f"{name}={path} does not exist"
    return path


@pytest.fixture(scope="session")
def signs_data() -> Path:
    """The SIGNS pictures in CS230's folders."""
    return _from_environment("SIGNS_DATA")


@pytest.fixture(scope="session")
def signs_model() -> Path:
    """A Keras ResNet-50 trained on SIGNS, pictures / 255 in."""
    return _from_environment("SIGNS_MODEL")
