"""Says, by its content, what a file is that Keras cannot load as a model, and what to do about it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from signs_builder.disk import stand_in
from signs_builder.network.configuration import SAVED_MODEL

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_KERAS_PARTS = {"config.json", "metadata.json"}  # in a .keras file, apart from the weights


def is_keras_archive(path: Path) -> bool:
    """Whether this is a file in Keras 3's `.keras` format, whatever its name."""
    return zipfile.is_zipfile(path) and _names(path) >= _KERAS_PARTS


def is_saved_model(path: Path) -> bool:
    """Whether this is a folder in TensorFlow's SavedModel format."""
    return (path / SAVED_MODEL).is_file()


def describe_kind(path: Path) -> str | None:
    """What is at `path` and what to do, as in "is empty; save it again"; None if its kind is unknown."""
    if path.is_dir():
        return _describe_folder(path)
    if (found := stand_in(path)) is not None:
        return found
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if head.startswith(_ZIP):
        return _describe_zip(path)
    if head == _HDF5:
        return _describe_hdf5(path)
    if path.name == SAVED_MODEL:
        return "is the graph of a TensorFlow SavedModel; name the folder that it is in"
    if head[4:] == b"TFL3":
        return "is a TensorFlow Lite model, which cannot be converted back; use the Keras model that it was made from"
    return None


def _describe_folder(folder: Path) -> str:
    if is_saved_model(folder):
        return "is an incomplete SavedModel folder; copy, download or save the whole folder again"
    if all((folder / name).exists() for name in _KERAS_PARTS):
        return "is an unpacked .keras file; pack its contents into a zip archive whose name ends in .keras"
    models = sorted(path.name for path in folder.iterdir() if path.suffix in (".keras", ".h5", ".hdf5"))
    models += sorted(path.parent.name for path in folder.glob(f"*/{SAVED_MODEL}"))
    return f"is a folder; name a model in it ({', '.join(models[:5])})" if models else "is a folder, not a Keras model"


def _describe_zip(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        return "is cut off: the end of the archive is missing; copy, download or save it again"
    names = _names(path)
    if names >= _KERAS_PARTS:
        return _describe_version(_saved_by(path))
    if any(name.endswith("data.pkl") for name in names):
        return "is a PyTorch file; only Keras models can be exported here"
    if any(name.endswith(SAVED_MODEL) for name in names):
        return "is a zipped TensorFlow SavedModel; unpack it and name its folder"
    return (
        f"is a zip archive without a Keras model (it holds {_some(sorted(names))}); unpack it and name the model in it"
    )


def _describe_hdf5(path: Path) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            attributes, names = {**file.attrs}, list(file)
    except (OSError, KeyError, RuntimeError):
        return "is an HDF5 file that is cut off or damaged; copy, download or save it again"
    if "model_config" in attributes:
        version = _text(attributes.get("keras_version", "1"))
        if version.split(".")[0] in ("0", "1"):
            return (
                "was saved by Keras 1, which Keras 3 cannot read; load it with Keras 2.2 (pip install 'keras<2.3') and "
                "save it again"
            )
        return _describe_version(version)
    if not names and not attributes:
        return "is an empty HDF5 file; save the model again"
    if "layer_names" in attributes or "layers" in names or "_layer_checkpoint_dependencies" in names:
        return (
            "holds weights without a model; build the model in Python, load these weights into it and save it "
            "with model.save('model.keras')"
        )
    return f"is an HDF5 file without a Keras model (it holds {_some(names)})"


def _describe_version(saved_by: str | None) -> str | None:
    """The reason for the failure, if a newer Keras saved the file."""
    if saved_by is None or _numbers(saved_by) <= _numbers(keras.__version__):
        return None
    return f"was saved by Keras {saved_by}, newer than the installed {keras.__version__}; run pip install -U keras"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _saved_by(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {*archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"


def _text(value: Any) -> str:  # Any: an HDF5 attribute
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
