"""Weights are taken over by layer name, and what matched is said."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from signs_builder.errors import ModelError
from signs_builder.network.init_weights import load_init_weights
from signs_builder.network.model_file import save_model


def network(classes: int, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="conv1"),
            keras.layers.BatchNormalization(name="bn_conv1"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, name=f"fc{classes}"),
        ]
    )


def save(model: keras.Model, path: Path) -> None:
    """In one of the three ways in which Keras models are published."""
    if path.name == "published.h5":  # weights alone, with names as Keras 1 and 2 wrote them
        with h5py.File(path, "w") as file:
            layers = [layer for layer in model.layers if layer.weights]
            file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
            for layer in layers:
                names = [f"{layer.name}_{i}:0".encode() for i in range(len(layer.weights))]
                group = file.create_group(layer.name)
                group.attrs["weight_names"] = names
                for name, value in zip(names, layer.get_weights(), strict=True):
                    group[name] = value
    elif path.suffix == ".h5":
        model.save(path)
    else:
        save_model(model, path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "published.h5"])
@pytest.mark.filterwarnings("ignore:You are saving")
def test_layers_of_the_same_name_and_shape_are_loaded(tmp_path: Path, name: str) -> None:
    source, target = network(1000, seed=1), network(6, seed=2)
    save(source, tmp_path / name)
    head = target.get_layer("fc6").get_weights()
    matches = load_init_weights(target, tmp_path / name)
    assert (matches.loaded, matches.missing, matches.unused) == (("conv1", "bn_conv1"), ("fc6",), ("fc1000",))
    assert matches.describe() == "2 layers loaded, 1 not in the file (fc6), 1 only in the file (fc1000)"
    for layer in matches.loaded:
        for a, b in zip(source.get_layer(layer).get_weights(), target.get_layer(layer).get_weights(), strict=True):
            assert np.array_equal(a, b)
    assert all(np.array_equal(a, b) for a, b in zip(head, target.get_layer("fc6").get_weights(), strict=True))


def test_another_shape_is_left_as_it_was(tmp_path: Path) -> None:
    save(network(6, seed=1), tmp_path / "a.keras")
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(9, 3, name="conv1")])
    other.add(keras.layers.BatchNormalization(name="bn_conv1"))
    other.add(keras.layers.GlobalAveragePooling2D())
    other.add(keras.layers.Dense(9, name="dense"))
    with pytest.raises(ModelError, match="no layer in common"):
        load_init_weights(other, tmp_path / "a.keras")


@pytest.mark.parametrize(("name", "content"), [("none.h5", None), ("bad.h5", b"no HDF5"), ("none.keras", None)])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError):
        load_init_weights(network(6, seed=1), tmp_path / name)
