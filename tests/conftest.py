"""Where the tests find the real pictures and the real model; nothing heavy is imported here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests and their processes cache out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def seed_of_the_module() -> None:
    """Draw the same weights in every run, in what a module's tests share."""
    _seed()


@pytest.fixture(autouse=True)
def seed_of_the_test() -> None:
    """Draw the same weights in every run: an untrained network can be right by chance, or wrong by chance."""
    _seed()


def _seed() -> None:
    for name in ("keras", "tf_keras"):  # only where the test's module has imported them
        if name in sys.modules:
            sys.modules[name].utils.set_random_seed(1)


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
