"""Finds the pictures: Coursera's HDF5 pair, CS230's folders, a folder per class, or the embedded synthetic hands."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import SYNTHETIC, SYNTHETIC_TEST, SYNTHETIC_TRAIN
from signs_builder.data.hands import LABELS, draw_hands
from signs_builder.errors import DatasetError
from signs_runtime.pictures.find import is_picture_name

HDF5_PAIR = ("train_signs.h5", "test_signs.h5")

LAYOUTS = (
    "A data set is one of:\n"
    "  train_signs.h5 + test_signs.h5                            Coursera's pair\n"
    "  train_signs/ + test_signs/ (+ val_signs/)                 CS230's {label}_IMG_{id}.jpg\n"
    "  train/<class>/ (+ val/<class>/, test/<class>/)            a folder per class\n"
    "  synthetic                                                 hands that this project draws"
)


def load_dataset(source: str | os.PathLike[str]) -> Dataset:
    """Load a data set by what is on the disk, or `"synthetic"`: the same pictures in the same splits every time.

    Pictures in files are listed here and read later. Raises DatasetError.
    """
    if source == SYNTHETIC:
        return _synthetic()
    folder = Path(source).resolve()
    if folder.name in HDF5_PAIR:
        folder = folder.parent
    if not folder.is_dir():
        raise DatasetError(f"No data set at {source}: there is no such folder.\n{LAYOUTS}")
    if any((folder / name).exists() for name in HDF5_PAIR):
        return _hdf5_pair(folder)
    if (folder / "train_signs").is_dir():
        return _cs230(folder)
    if (folder / "train").is_dir():
        return _folder_per_class(folder)
    raise DatasetError(f"{folder} holds no data set in a layout known here.\n{LAYOUTS}")


def _synthetic() -> Dataset:
    train = Split(*draw_hands(SYNTHETIC_TRAIN))
    test = Split(*draw_hands(SYNTHETIC_TEST, first=SYNTHETIC_TRAIN))
    return Dataset(SYNTHETIC, LABELS, train, None, test)


def _hdf5_pair(folder: Path) -> Dataset:
    train_file, test_file = (folder / name for name in HDF5_PAIR)
    train, labels = _read_hdf5(train_file, "train")
    test, test_labels = _read_hdf5(test_file, "test")
    if labels != test_labels:
        raise DatasetError(f"{train_file.name} lists the classes {labels} and {test_file.name} {test_labels}.")
    return Dataset(folder.name, labels, train, None, test)


def _read_hdf5(path: Path, prefix: str) -> tuple[Split, tuple[str, ...]]:
    import h5py  # only this source needs it

    if not path.is_file():
        raise DatasetError(f"{path} is missing: Coursera's data set is {' and '.join(HDF5_PAIR)}.")
    keys = (f"{prefix}_set_x", f"{prefix}_set_y", "list_classes")
    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in keys if key not in file]
            if missing:
                raise DatasetError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(file) or 'nothing'}.")
            stored = [file[key] for key in keys]
            if not all(isinstance(each, h5py.Dataset) and each.shape is not None for each in stored):
                raise DatasetError(f"{path}: {', '.join(keys)} must be arrays.")
            images = stored[0]  # looked at before it is read: a file may claim any size
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
                raise DatasetError(
                    f"{path}: {keys[0]} must be uint8 (n, height, width, 3), not {images.dtype} {images.shape}."
                )
            images, labels, classes = map(np.asarray, stored)
    except (OSError, KeyError, TypeError) as error:  # KeyError: a link that leads nowhere
        raise DatasetError(f"{path} is truncated or not HDF5 ({error}); download it again.") from error
    except MemoryError as error:
        raise DatasetError(f"{path} claims more pictures than fit into memory.") from error
    if labels.dtype.kind not in "iu" or labels.reshape(-1).shape != (len(images),):
        raise DatasetError(
            f"{path}: {keys[1]} must hold an integer for each of the {len(images)} pictures, "
            f"not {labels.dtype} {labels.shape}."
        )
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes):
        raise DatasetError(f"{path}: list_classes must list each class once, not {classes!r}.")
    return Split(images, _positions(labels.reshape(-1), classes, path)), tuple(map(_text, classes))


def _positions(labels: NDArray[np.int64], classes: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    """Where each label stands in the list of classes, which need not be sorted."""
    positions = {value: position for position, value in enumerate(classes.tolist())}
    unknown = sorted(set(labels.tolist()) - positions.keys())
    if unknown:
        raise DatasetError(f"{path}: the labels {unknown[:5]} are not in list_classes {classes.tolist()}.")
    return np.array([positions[label] for label in labels.tolist()], np.int64)


def _text(value: np.generic) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _cs230(folder: Path) -> Dataset:
    splits = {}
    for name in ("train_signs", "val_signs", "test_signs"):
        if (folder / name).is_dir():
            splits[name] = [(path, _label_of(path)) for path in _pictures(folder / name)]
    if "test_signs" not in splits:
        raise DatasetError(f"{folder} has train_signs/ and no test_signs/; there is nothing to measure on.")
    labels = tuple(sorted({label for _, label in splits["train_signs"]}, key=lambda label: (len(label), label)))
    named = {name: _labelled(pictures, labels, folder / name) for name, pictures in splits.items()}
    return Dataset(
        folder.name, labels, named["train_signs"], named.get("val_signs"), named["test_signs"], _skipped(folder)
    )


def _label_of(path: Path) -> str:
    match = re.fullmatch(r"([^_]+)_IMG_.+", path.stem)
    if match is None:
        raise DatasetError(f"{path}: the name says no label; CS230's pictures are named {{label}}_IMG_{{id}}.jpg.")
    return match[1]


def _folder_per_class(folder: Path) -> Dataset:
    labels = tuple(sorted(path.name for path in (folder / "train").iterdir() if _is_class(path)))  # as Keras sorts them
    splits = {}
    for name in ("train", "val", "test"):
        if (folder / name).is_dir():
            classes = sorted(path for path in (folder / name).iterdir() if _is_class(path))
            pictures = [(picture, path.name) for path in classes for picture in _pictures(path)]
            splits[name] = _labelled(pictures, labels, folder / name)
    train, validation, test = splits["train"], splits.get("val"), splits.get("test")
    if test is None:
        # The same tenth whatever a training's seed, so that no later export measures on what was trained on.
        train, test = train.hold_out(f"{folder} has no test/ and", np.random.default_rng(0))
    return Dataset(folder.name, labels, train, validation, test, _skipped(folder))


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_picture_name(path) and path.is_file())


def _skipped(folder: Path) -> int:
    """How many files below a folder are no pictures by their names, hidden ones apart."""
    shown = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sum(not is_picture_name(path) for path in shown)


def _labelled(pictures: list[tuple[Path, str]], labels: tuple[str, ...], folder: Path) -> Split:
    unknown = sorted({label for _, label in pictures} - set(labels))
    if unknown:
        raise DatasetError(f"{folder} shows {', '.join(unknown)}, which no training picture does; those show {labels}.")
    indices = np.array([labels.index(label) for _, label in pictures], np.int64)
    return Split([path for path, _ in pictures], indices)
