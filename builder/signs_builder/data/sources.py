"""Loads pictures from Coursera's HDF5 pair, CS230's folders, a folder per class, or the embedded synthetic hands."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import SYNTHETIC, SYNTHETIC_TEST, SYNTHETIC_TRAIN
from signs_builder.data.hands import LABELS, draw_hands
from signs_builder.disk import stand_in
from signs_builder.errors import DatasetError, list_first
from signs_runtime.pictures.find import is_picture_name, leads_nowhere, pictures_below

HDF5_PAIR = ("train_signs.h5", "test_signs.h5")

LAYOUTS = (
    "A data set is one of:\n"
    "  train_signs.h5 + test_signs.h5                            Coursera's pair\n"
    "  train_signs/ + test_signs/ (+ val_signs/)                 CS230's {label}_IMG_{id}.jpg\n"
    "  train/<class>/ (+ val/<class>/, test/<class>/)            a folder per class; also training/, validation/, ...\n"
    "  <class>/                                                  a folder per class, without splits\n"
    "  synthetic                                                 hands drawn by this project"
)

# Names of split folders, in upper or lower case; CS230's end in _signs.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
FETCH = "fetch the files that the links point to (dvc pull, git annex get, git lfs pull)"


def load_dataset(source: str | os.PathLike[str], *, model_given: bool = False) -> Dataset:
    """Load a data set in any known layout, or `"synthetic"`: always the same pictures in the same splits.

    Picture files are listed here and read later. If there is no test split, the validation split takes its place. If
    there is neither, a tenth of the training pictures is held out. `model_given`: the model was not trained here, so it
    may have been trained on those; the notes then warn of it. Raises DatasetError.
    """
    if source == SYNTHETIC:
        return _synthetic()
    folder = Path(source).absolute()  # not resolved yet: a file may link to one with another name
    if folder.name in HDF5_PAIR:
        folder = folder.parent
    folder = folder.resolve()
    if not folder.is_dir():
        raise DatasetError(f"No data set at {source}: {_what_is_there(Path(source))}.\n{LAYOUTS}")
    if any(os.path.lexists(folder / name) for name in HDF5_PAIR):
        return _hdf5_pair(folder)
    for ending in ("_signs", ""):
        splits = _split_folders(folder, ending)
        if "train" in splits:
            found = _by_file_name(splits) if ending else _by_class_folder(splits)
            passed_over = tuple(sorted(path.name for path in _folders(folder) if path not in splits.values()))
            return _arranged(folder, splits, found, passed_over, model_given=model_given)
    if _is_classes(folder):
        whole = {"train": folder}
        return _arranged(folder, whole, _by_class_folder(whole), (), model_given=model_given)
    raise DatasetError(f"{folder} holds no data set in a known layout.\n{LAYOUTS}")


def _is_classes(folder: Path) -> bool:
    """Whether the folders in `folder` are classes: two or more, each with pictures, and none named like a split.

    A longer name, such as seg_train or asl_alphabet_test, also counts as a split's.
    """
    classes = _folders(folder)
    names = [path.name.casefold() for each in classes for path in (each, *_folders(each))]
    words = {word for name in names for word in re.split(r"[^a-z]+", name)}
    if len(classes) < 2 or not words.isdisjoint(SPLIT_NAMES):
        return False
    empty = [f"{each.name}/" for each in classes if not pictures_below(each).pictures]
    if empty and len(empty) < len(classes):
        raise DatasetError(
            f"{folder}: these folders have no pictures; add some, or remove the folders:{list_first(empty)}"
        )
    return not empty


def _what_is_there(path: Path) -> str:
    """Describe what is at `path`, which is not a folder, and what to do."""
    if not os.path.lexists(path):
        return "there is no such folder"
    if leads_nowhere(path) or not path.is_file():
        return f"it {stand_in(path) or 'is not a folder'}"
    suffix = path.suffix.lower()
    if suffix in (".keras", ".h5", ".hdf5"):
        found = (
            stand_in(path) or "is a file, but DATA must be a folder of pictures; pass a Keras model as MODEL or --model"
        )
        return f"it {found}"
    if suffix == ".csv":
        return "it is a table of labels; use it in `signs export` with a multi-label model"
    if suffix in (".zip", ".tar", ".gz", ".tgz"):
        return "it is an archive; unpack it and name the folder"
    return "it is a file, but DATA must be a folder of pictures"


def _synthetic() -> Dataset:
    train = Split(*draw_hands(SYNTHETIC_TRAIN))
    test = Split(*draw_hands(SYNTHETIC_TEST, first=SYNTHETIC_TRAIN))
    return Dataset(SYNTHETIC, LABELS, train, None, test)


def _hdf5_pair(folder: Path) -> Dataset:
    train_file, test_file = (folder / name for name in HDF5_PAIR)
    train, labels = _read_hdf5(train_file, "train")
    test, test_labels = _read_hdf5(test_file, "test")
    if labels != test_labels:
        raise DatasetError(
            f"{train_file.name} and {test_file.name} list different classes: {labels} and {test_labels}. "
            "They must list the same."
        )
    beside = (path for path in _folders(folder) if path.name.casefold().removesuffix("_signs") in SPLIT_NAMES)
    return Dataset(folder.name, labels, train, None, test, passed_over=tuple(sorted(path.name for path in beside)))


def _read_hdf5(path: Path, prefix: str) -> tuple[Split, tuple[str, ...]]:
    import h5py  # only this source needs it

    if not os.path.lexists(path):
        raise DatasetError(f"{path} is missing; Coursera's data set needs {' and '.join(HDF5_PAIR)}.")
    if (found := stand_in(path)) is not None:
        raise DatasetError(f"{path} is not an HDF5 file: it {found}.")
    keys = (f"{prefix}_set_x", f"{prefix}_set_y", "list_classes")
    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in keys if key not in file]
            if missing:
                raise DatasetError(f"{path} lacks {', '.join(missing)}; it holds {', '.join(file) or 'nothing'}.")
            stored = [file[key] for key in keys]
            if not all(isinstance(each, h5py.Dataset) and each.shape is not None for each in stored):
                raise DatasetError(f"{path}: {', '.join(keys)} must be arrays.")
            images = stored[0]  # checked before it is read: a file can declare any size
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
                raise DatasetError(
                    f"{path}: {keys[0]} must be uint8 (n, height, width, 3), not {images.dtype} {images.shape}."
                )
            images, labels, classes = map(np.asarray, stored)
    except (OSError, KeyError, TypeError) as error:  # KeyError: a broken link
        raise DatasetError(f"{path} is truncated or not HDF5 ({error}); download it again.") from error
    except MemoryError as error:
        raise DatasetError(
            f"{path} declares more pictures than fit into memory; download it again, or use picture files."
        ) from error
    if labels.dtype.kind not in "iu" or labels.reshape(-1).shape != (len(images),):
        raise DatasetError(
            f"{path}: {keys[1]} must hold an integer for each of the {len(images)} pictures, "
            f"not {labels.dtype} {labels.shape}."
        )
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes):
        raise DatasetError(f"{path}: list_classes must list each class once, not {classes!r}.")
    return Split(images, _positions(labels.reshape(-1), classes, path)), tuple(map(_text, classes))


def _positions(labels: NDArray[np.int64], classes: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    """The index of each label in the list of classes, which may be unsorted."""
    positions = {value: position for position, value in enumerate(classes.tolist())}
    unknown = sorted(set(labels.tolist()) - positions.keys())
    if unknown:
        raise DatasetError(f"{path}: the labels {unknown[:5]} are not in list_classes {classes.tolist()}.")
    return np.array([positions[label] for label in labels.tolist()], np.int64)


def _text(value: np.generic) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


Listed = dict[str, list[tuple[Path, str]]]  # split -> its pictures, each with its label


@dataclass(frozen=True)
class _Found:
    """The labelled pictures of each split's folder, the labels in order, and the number of skipped files."""

    pictures: Listed
    labels: tuple[str, ...]
    skipped: int


def _split_folders(folder: Path, ending: str) -> dict[str, Path]:
    """Find the folders of the splits by their names, one for each split."""
    splits: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.casefold()
        split = SPLIT_NAMES.get(name.removesuffix(ending)) if name.endswith(ending) else None
        if split is None or not (path.is_dir() or leads_nowhere(path)):
            continue
        if leads_nowhere(path):
            raise DatasetError(f"{path} {stand_in(path)}.")
        if split in splits:
            raise DatasetError(
                f"{folder} has both {splits[split].name}/ and {path.name}/, which mean the same split; "
                "put their pictures into one of them, or rename the one that should not be read."
            )
        splits[split] = path
    return splits


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _by_file_name(splits: dict[str, Path]) -> _Found:
    """CS230's folders: each picture's name contains its label."""
    listed: Listed = {}
    skipped = 0
    for split, folder in splits.items():
        pictures, others = _pictures_below(folder)
        listed[split] = [(path, _label_of(path)) for path in pictures]
        skipped += others
    labels = sorted({label for _, label in listed["train"]}, key=lambda label: (len(label), label))
    return _Found(listed, tuple(labels), skipped)


def _label_of(path: Path) -> str:
    match = re.fullmatch(r"([^_]+)_IMG_.+", path.stem)
    if match is None:
        raise DatasetError(
            f"{path}: the file name contains no label; name pictures {{label}}_IMG_{{id}}.jpg, as in CS230."
        )
    return match[1]


def _by_class_folder(splits: dict[str, Path]) -> _Found:
    """A folder per class in each split, with that class's pictures at any depth below it."""
    listed: Listed = {}
    skipped = 0
    for split, folder in splits.items():
        pictures, others = _pictures_below(folder)
        classes = [(path, path.relative_to(folder).parts) for path in pictures]
        listed[split] = [(path, parts[0]) for path, parts in classes if len(parts) > 1]
        skipped += others + len(pictures) - len(listed[split])
    labels = tuple(sorted(path.name for path in _folders(splits["train"])))  # as Keras sorts them
    if not labels:
        raise DatasetError(
            f"{splits['train']} holds no folders; make one for each class and put its pictures in it. If "
            f"{splits['train'].name} is a class itself, rename it: this name means the training pictures."
        )
    return _Found(listed, labels, skipped)


def _pictures_below(folder: Path) -> tuple[list[Path], int]:
    """The pictures of a split and the number of other files. Raises DatasetError for broken links."""
    if gone := [path for path in folder.iterdir() if leads_nowhere(path) and not is_picture_name(path)]:
        raise DatasetError(f"{folder} holds broken links; {FETCH}:{list_first(list(map(str, gone)))}")
    found = pictures_below(folder)
    if found.errors:
        raise DatasetError(f"These folders cannot be read:{list_first([str(error) for _, error in found.errors])}")
    shown = [(path.relative_to(folder).parts, path) for path in found.pictures]
    # Sorted by the parts of their paths, so that the order does not depend on a system's separator and case rules.
    return [path for _, path in sorted(shown)], found.others


def _arranged(
    folder: Path, splits: dict[str, Path], found: _Found, passed_over: tuple[str, ...], *, model_given: bool
) -> Dataset:
    """Arrange the pictures found in splits, so that there always is a test split."""
    paths = [path for pictures in found.pictures.values() for path, _ in pictures]
    if gone := [str(path) for path in paths if leads_nowhere(path)]:
        raise DatasetError(
            f"{folder}: {len(gone):,} of {len(paths):,} pictures are broken links; {FETCH}:" + list_first(gone)
        )
    named = {name: _labelled(found.pictures[name], found.labels, splits[name]) for name in splits}
    train, validation, test = named["train"], named.get("validation"), named.get("test")
    notes: tuple[str, ...] = ()
    held_out = test is None and validation is None
    if test is None and validation is not None:
        # Done in training as well, so that a later export measures on pictures that were not trained on.
        test, validation = validation, None
        chosen = ", which may have been used to choose the model" if model_given else ""
        notes = (f"There is no test split; the test pictures are those of {splits['validation'].name}/{chosen}.",)
    elif test is None:
        # Always the same tenth, whatever the training's seed, so that no later export measures on it after training.
        train, test = train.hold_out(f"{folder} has no test/ and", np.random.default_rng(0))
        if model_given:
            notes = (
                f"The test pictures are a tenth of {splits['train'].name}/, and the model may have been trained on "
                "them (unless `signs train` trained it on this folder). So accuracy on them says little about new "
                "pictures.",
            )
    return Dataset(
        folder.name,
        found.labels,
        train,
        validation,
        test,
        skipped=found.skipped,
        passed_over=passed_over,
        may_be_trained_on=held_out and model_given,
        notes=notes,
    )


def _labelled(pictures: list[tuple[Path, str]], labels: tuple[str, ...], folder: Path) -> Split:
    unknown = sorted({label for _, label in pictures} - set(labels))
    if unknown:
        raise DatasetError(
            f"{folder} has pictures labelled {', '.join(unknown)}, but no training picture has that label; "
            f"labels of the training pictures: {', '.join(labels) or 'none'}."
        )
    places = {label: place for place, label in enumerate(labels)}
    indices = np.array([places[label] for _, label in pictures], np.int64)
    return Split([path for path, _ in pictures], indices)
