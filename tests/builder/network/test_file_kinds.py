"""A file that Keras cannot load is called what it is, with the way on."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import pytest

from signs_builder.errors import ModelError
from signs_builder.network.file_kinds import is_keras_archive
from signs_builder.network.init_weights import load_init_weights
from signs_builder.network.model_file import check_output, load_model


def model() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def saved(path: Path) -> bytes:
    model().save(path)
    return path.read_bytes()


def _hdf5(path: Path, **attributes: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)


def _zip(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", ".", 1), content)


def _saved_model(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "saved_model.pb").touch()


def _data_set(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["train_set_x"] = [1]


KERAS_1 = json.dumps({"class_name": "Sequential", "config": [{"class_name": "Convolution2D", "config": {}}]})

KINDS: list[tuple[str, Callable[[Path], object], str]] = [
    ("lfs.h5", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    ("page.h5", lambda path: path.write_text("<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
    ("empty.keras", lambda path: path.touch(), "is empty"),
    ("empty.h5", lambda path: _hdf5(path), "is an empty HDF5 file"),
    ("old.h5", lambda path: _hdf5(path, model_config=KERAS_1), "Keras 1"),
    ("old.h5", lambda path: _hdf5(path, model_config=KERAS_1, keras_version="1.2.2"), "Keras 2.2"),
    ("data.h5", _data_set, r"without a Keras model \(it holds train_set_x\)"),
    ("cut.keras", lambda path: path.write_bytes(saved(path)[:4000]), "is cut off"),
    ("cut.h5", lambda path: path.write_bytes(saved(path)[:4000]), "cut off or damaged"),
    ("torch.keras", lambda path: _zip(path, data_pkl=""), "PyTorch"),
    ("other.keras", lambda path: _zip(path, readme_txt=""), r"it holds readme.txt"),
    ("new.keras", lambda path: _zip(path, config_json="{}", metadata_json='{"keras_version": "99.1"}'), "Keras 99.1"),
    ("saved_model", _saved_model, "weights are missing: a SavedModel is the whole folder"),
    ("saved.keras", _saved_model, "weights are missing: a SavedModel is the whole folder"),
    ("above", lambda path: _saved_model(path / "inner"), r"is a folder; name a model in it \(inner\)"),
    ("link.h5", lambda path: path.symlink_to("/nowhere.h5"), "a link to /nowhere.h5, which does not exist"),
]


@pytest.mark.parametrize(("name", "make", "words"), KINDS, ids=[f"{name} {words[:9]}" for name, _, words in KINDS])
def test_each_kind_is_named(tmp_path: Path, name: str, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / name)
    with pytest.raises(ModelError, match=words):
        load_model(tmp_path / name)


def test_keras_own_weights_are_told_from_a_model(tmp_path: Path) -> None:
    model().save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ModelError, match="holds weights without a model; build the model in Python"):
        load_model(tmp_path / "a.weights.h5")


def test_weights_to_start_from_are_named_as_well(tmp_path: Path) -> None:
    for name, make, words in KINDS:
        if name in ("lfs.h5", "page.h5", "cut.h5"):
            make(tmp_path / name)
            with pytest.raises(ModelError, match=words):
                load_init_weights(model(), tmp_path / name)


def test_only_a_keras_model_is_replaced_by_another(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    check_output(path, model())
    path.touch()  # as mktemp makes it
    check_output(path, model())
    saved(path)
    assert is_keras_archive(path)
    check_output(path, model())
    for content, words in (
        (b"my notes", "not a .keras"),
        (saved(tmp_path / "a.h5"), "not a .keras"),
        (b"PK\3\4", "cut off"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"would be replaced, but it .*{words}.*Move it away"):
            check_output(path, model())
