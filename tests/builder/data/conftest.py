"""Small data sets, one in each layout."""

from pathlib import Path

import pytest

from .files import write_hdf5, write_pictures


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    for prefix in ("train", "test"):
        write_hdf5(tmp_path, prefix)
    return tmp_path


@pytest.fixture
def cs230(tmp_path: Path) -> Path:
    for split, count in (("train_signs", 3), ("val_signs", 1), ("test_signs", 1)):
        write_pictures(tmp_path / split, [f"{k}_IMG_{i} (1).jpg" for k in range(6) for i in range(count)])
    return tmp_path


@pytest.fixture
def per_class(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for name, size in (("open hand", (90, 50)), ("zebra", (31, 64)), ("Ärger", (64, 64))):
            write_pictures(tmp_path / split / name, [f"{i}.png" for i in range(count)], size)
    return tmp_path
