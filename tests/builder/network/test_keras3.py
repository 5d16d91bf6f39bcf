"""Files of another Keras 3 open where what this one does not know means nothing, and are explained elsewhere."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from signs_builder.errors import ModelError
from signs_builder.network.model_file import open_model

layers = keras.layers


def saved(path: Path, change: Callable[[str, dict[str, Any]], None], batch: int | None = None) -> keras.Model:
    """Save a small model, with `change` made to each layer's configuration by its class."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), batch_size=batch),
            keras.Sequential([layers.RandomRotation(0.1), layers.RandomFlip()]),
            layers.Conv2D(4, 3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="answer"),
        ]
    )
    model.save(path)

    def changed(text: str | bytes) -> str:
        config = json.loads(text)
        for outer in config["config"]["layers"]:
            inside = outer["config"].get("layers", [outer])
            for layer in inside:
                change(layer["class_name"], layer["config"])
        return json.dumps(config)

    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])
            file.attrs["keras_version"] = "3.99.0"
        return model
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = changed(members["config.json"]).encode()
    members["metadata.json"] = json.dumps({"keras_version": "3.99.0"}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return model


def same(path: Path, model: keras.Model) -> None:
    pictures = np.random.default_rng(0).uniform(0, 1, (5, 8, 8, 3)).astype(np.float32)
    given, expected = (each.predict(pictures, verbose=0, batch_size=5) for each in (open_model(path).model, model))
    assert np.array_equal(given, expected)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keywords_that_mean_nothing_are_left_out(tmp_path: Path, suffix: str) -> None:
    def change(kind: str, config: dict[str, Any]) -> None:
        if kind == "RandomRotation":
            config["value_range"] = [0, 1]  # augmentation does nothing at inference
        if kind == "Conv2D":
            config["some_new_thing"] = None

    path = tmp_path / f"model{suffix}"
    same(path, saved(path, change))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keyword_that_means_something_is_named_with_its_layer_and_the_way_on(tmp_path: Path, suffix: str) -> None:
    def change(kind: str, config: dict[str, Any]) -> None:
        if kind == "Dense":
            config["squared"] = True

    path = tmp_path / f"model{suffix}"
    saved(path, change)
    words = r"answer \(Dense\) has squared=True.*Keras 3\.99\.0 wrote it.*pip install keras==3\.99\.0"
    with pytest.raises(ModelError, match=words):
        open_model(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_fixed_batch_is_freed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    model = saved(path, lambda kind, config: None, batch=5)
    assert open_model(path).model.inputs[0].shape == (None, 8, 8, 3)
    same(path, model)


def test_a_fixed_batch_is_freed_where_a_function_was_the_loss(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3), batch_size=4)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(image)))
    model.compile("adam", keras.losses.sparse_categorical_crossentropy)
    model.save(tmp_path / "model.keras")
    assert open_model(tmp_path / "model.keras").model.inputs[0].shape == (None, 8, 8, 3)


@pytest.mark.parametrize(
    ("suffix", "name"), [(".keras", "a.h5"), (".h5", "a.keras"), (".keras", "a"), (".h5", "a.bin")]
)
def test_files_open_by_what_they_are(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"model{suffix}"
    model = saved(path, lambda kind, config: None)
    same(path.rename(tmp_path / name), model)
    assert [each.name for each in tmp_path.iterdir()] == [name]
