"""What Keras 2 saved opens, answers in Keras 3 as it did, and brings no code in."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from signs_builder.errors import ModelError
from signs_builder.network import keras2
from signs_builder.network.model_file import open_model

from .keras2_models import ERAS, MODELS, SIDE, convolutions, plain, rewrite

Old = Any  # tf_keras's models


def pictures() -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)


def same_answers(path: Path, old: Old) -> None:
    opened = open_model(path)
    assert isinstance(opened.model, keras.Model)
    assert opened.original is not None
    assert not any(layer.__module__.startswith("tf_keras") for layer in opened.model._flatten_layers())
    expected = np.asarray(old(pictures(), training=False))
    given = keras.ops.convert_to_numpy(opened.model(pictures(), training=False))
    assert np.abs(given - expected).max() <= 1e-6
    assert np.abs(np.asarray(opened.original(pictures(), training=False)) - expected).max() <= 1e-6


@pytest.mark.parametrize("make", MODELS)
def test_each_layer_kind_answers_as_it_did(tmp_path: Path, make: Callable[[], Old]) -> None:
    old = make()
    old.save(tmp_path / "model.h5")
    same_answers(tmp_path / "model.h5", old)


@pytest.mark.parametrize(("version", "make", "change"), ERAS, ids=[version for version, _, _ in ERAS])
def test_each_eras_files_open(
    tmp_path: Path, version: str, make: Callable[[], Old], change: Callable[[dict[str, Any]], None]
) -> None:
    old, path = make(), tmp_path / "model.h5"
    old.save(path)
    rewrite(path, change, version)
    same_answers(path, old)


@pytest.mark.parametrize("name", ["hdf5.keras", "archive.keras", "folder", "any name", "model.hdf5"])
def test_each_format_opens_under_any_name(tmp_path: Path, name: str) -> None:
    old = convolutions()
    saved = {"archive.keras": "model.keras", "folder": "folder"}.get(name, "model.h5")
    old.save(tmp_path / saved)
    (tmp_path / saved).rename(tmp_path / name)
    same_answers(tmp_path / name, old)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_a_fixed_batch_is_freed(tmp_path: Path, batch: int) -> None:
    image = tf_keras.Input((SIDE, SIDE, 3), batch_size=batch)
    x = tf_keras.layers.Conv2D(2, 3)(image)
    old = tf_keras.Model(image, tf_keras.layers.Dense(3, activation="softmax")(tf_keras.layers.Flatten()(x)))
    old.save(tmp_path / "model.h5")
    opened = open_model(tmp_path / "model.h5")
    assert opened.model.inputs[0].shape == (None, SIDE, SIDE, 3)
    expected = keras2.answers_of(opened.original, pictures(), batch)
    assert np.allclose(keras.ops.convert_to_numpy(opened.model(pictures())), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "folder"])
def test_code_in_a_file_is_not_run(tmp_path: Path, name: str) -> None:
    trap = tmp_path / "trap"
    target = str(trap)
    model = tf_keras.Sequential(
        [
            tf_keras.Input((SIDE, SIDE, 3)),
            tf_keras.layers.Lambda(lambda x: [x, os.open(target, os.O_CREAT)][0], name="trapped"),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3),
        ]
    )
    model.save(tmp_path / name)
    trap.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="trapped is a Lambda layer, and code"):
        open_model(tmp_path / name)
    assert not trap.exists()


def code_in_an_activation(config: dict[str, Any]) -> None:
    """tf_keras builds any object in the place of an activation, and a dense layer calls it."""
    inner = tf_keras.layers.Lambda(lambda x: x).get_config()
    hidden = {"class_name": "Lambda", "config": inner, "__passive_serialization__": True}
    config["config"]["layers"][-1]["config"]["activation"] = hidden


def code_in_a_cell(config: dict[str, Any]) -> None:
    cell = {"class_name": "ResidualWrapper", "config": {"residual_fn_type": "lambda", "residual_fn": "x", "name": "c"}}
    config["config"]["layers"][-1] = {"class_name": "RNN", "config": {"name": "rnn", "cell": cell}}


def code_by_its_module(config: dict[str, Any]) -> None:
    config["config"]["layers"][-1]["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "abort",
        "registered_name": "function",
    }


@pytest.mark.parametrize("hide", [code_in_an_activation, code_in_a_cell, code_by_its_module])
def test_code_that_is_hidden_in_a_layer_is_found_before_tf_keras_sees_the_file(
    tmp_path: Path, hide: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain().save(tmp_path / "model.h5")
    rewrite(tmp_path / "model.h5", hide, "2.15.0")
    monkeypatch.setattr(tf_keras.models, "load_model", None)
    with pytest.raises(
        ModelError,
        match=r"Lambda layer, and code|has the cell ResidualWrapper|os\.function, which is not part of Keras",
    ):
        open_model(tmp_path / "model.h5")


def test_what_is_looked_at_is_what_is_loaded(tmp_path: Path) -> None:
    """A zip archive at the end of an HDF5 file: the configuration in it was looked at, and the other one loaded."""
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = tf_keras.layers.Lambda(lambda x: x, name="hidden")(image)
    tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(x))).save(tmp_path / "bad.h5")
    plain().save(tmp_path / "good.keras")
    both = tmp_path / "both.h5"
    both.write_bytes((tmp_path / "bad.h5").read_bytes() + (tmp_path / "good.keras").read_bytes())
    opened = open_model(both)
    assert "hidden" not in {layer.name for layer in opened.original.layers}


def test_functions_of_tensorflow_that_are_not_known_are_not_run(tmp_path: Path) -> None:
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = tf.math.log1p(tf.abs(image))
    tf_keras.Model(image, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(x))).save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"TensorFlow's function tf\.math\.abs.*Replace it"):
        open_model(tmp_path / "model.h5")


def test_a_custom_class_is_refused_by_its_name(tmp_path: Path) -> None:
    class Doubling(tf_keras.layers.Layer):  # type: ignore[misc]  # tf_keras has no types
        def call(self, x: Any) -> Any:
            return 2 * x

    model = tf_keras.Sequential([tf_keras.Input((SIDE, SIDE, 3)), Doubling(), tf_keras.layers.Flatten()])
    for name in ("model.h5", "folder"):
        model.save(tmp_path / name)
        with pytest.raises(ModelError, match="custom class Doubling"):
            open_model(tmp_path / name)


def test_a_custom_class_that_the_user_gives_is_taken_from_either_kind_of_file(tmp_path: Path) -> None:
    class Doubling(tf_keras.layers.Layer):  # type: ignore[misc]  # tf_keras has no types
        def call(self, x: Any) -> Any:
            return 2 * x

    class OfKeras3(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any) -> Any:
            return 2 * x

    model = tf_keras.Sequential([tf_keras.Input((SIDE, SIDE, 3)), Doubling(), tf_keras.layers.Flatten()])
    pixels = np.ones((1, SIDE, SIDE, 3), np.float32)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        opened = open_model(tmp_path / name, {"Doubling": OfKeras3}).model
        assert np.all(np.asarray(opened(pixels)) == 2), name


def test_what_keras_3_computes_otherwise_is_refused_by_the_first_layer_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = plain()
    old.save(tmp_path / "model.h5")
    conv = old.layers[0].name
    rebuild = keras2._set_weights

    def spoil(layer: keras.layers.Layer, given: Old) -> None:
        rebuild(layer, given)
        if layer.name == conv:
            layer.kernel.assign(1.01 * layer.kernel)

    monkeypatch.setattr(keras2, "_set_weights", spoil)
    with pytest.raises(ModelError, match=rf"Keras 3 computes its layer {conv} \(Conv2D\) differently"):
        open_model(tmp_path / "model.h5")


def test_a_setting_that_keras_3_lacks_is_refused_by_its_layer(tmp_path: Path) -> None:
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = tf_keras.layers.LSTM(4, time_major=True, name="by_time")(tf_keras.layers.Reshape((SIDE, SIDE * 3))(image))
    tf_keras.Model(image, tf_keras.layers.Dense(3)(x)).save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"by_time \(LSTM\) has time_major=True, which Keras 3 does not know"):
        open_model(tmp_path / "model.h5")
