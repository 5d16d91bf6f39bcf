"""Writes small data sets in the layouts that are known."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_builder.data.hands import draw_hands
from signs_builder.data.sources import load_dataset
from signs_builder.errors import DatasetError
from signs_runtime import SignsError


def write_hdf5(folder: Path, prefix: str, **changes: NDArray[np.generic] | None) -> Path:
    images, labels = draw_hands(12, seed=1 if prefix == "train" else 2)
    arrays: dict[str, NDArray[np.generic] | None] = {
        f"{prefix}_set_x": images,
        f"{prefix}_set_y": labels,
        "list_classes": np.arange(6),
    }
    path = folder / f"{prefix}_signs.h5"
    with h5py.File(path, "w") as file:
        for key, array in (arrays | changes).items():
            if array is not None:
                file[key] = array
    return path


def write_pictures(folder: Path, names: list[str], size: tuple[int, int] = (64, 64)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(draw_hands(1, seed=i)[0][0]).resize(size).save(folder / name)


def refused(source: Path | str, words: str) -> None:
    """Check that `source` is refused as a data set, in these words."""
    with pytest.raises(DatasetError, match=words) as caught:
        load_dataset(source)
    assert isinstance(caught.value, SignsError)
