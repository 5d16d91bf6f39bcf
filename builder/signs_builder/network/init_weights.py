"""Starts a network from the weights of another one with the same layer names, and says what matched."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.errors import ModelError
from signs_builder.network.file_kinds import describe_kind
from signs_builder.network.model_file import load_model

Weights = Mapping[str, list[NDArray[np.float32]]]  # layer name -> its weights, in Keras's order


@dataclass(frozen=True)
class Matches:
    """What became of each layer that has weights."""

    loaded: tuple[str, ...]
    other_shape: tuple[str, ...]  # in both, but made for other sizes: left as it was
    missing: tuple[str, ...]  # not in the file: left as it was
    unused: tuple[str, ...]  # in the file alone

    def describe(self) -> str:
        """In words."""
        parts = [f"{len(self.loaded)} layers loaded"]
        for names, what in (
            (self.other_shape, "of another shape"),
            (self.missing, "not in the file"),
            (self.unused, "in the file alone"),
        ):
            if names:
                parts.append(f"{len(names)} {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})")
        return ", ".join(parts)


def load_init_weights(model: keras.Model, path: Path) -> Matches:
    """Load the weights of the layers that have the same name and shapes from a `.keras` model or a Keras `.h5` file.

    An `.h5` may hold a model or weights alone, as those published for ImageNet do. Raises ModelError for a file that
    cannot be read or shares no layer.
    """
    given = _read_h5(path) if path.suffix in (".h5", ".hdf5") else _read_model(path)
    loaded, other_shape, missing = [], [], []
    own = {layer.name: layer for layer in model.layers if layer.weights}
    for name, layer in own.items():
        weights = given.get(name)
        if weights is None:
            missing.append(name)
        elif [each.shape for each in weights] != [tuple(each.shape) for each in layer.weights]:
            other_shape.append(name)
        else:
            layer.set_weights(weights)
            loaded.append(name)
    if not loaded:
        raise ModelError(
            f"{path} shares no layer with this network: its layers are {', '.join(list(given)[:5]) or 'none'}, ..., "
            f"the network's {', '.join(list(own)[:5])}, ..."
        )
    return Matches(tuple(loaded), tuple(other_shape), tuple(missing), tuple(sorted(given.keys() - own.keys())))


def _read_model(path: Path) -> Weights:
    return {layer.name: layer.get_weights() for layer in load_model(path).layers if layer.weights}


def _read_h5(path: Path) -> Weights:
    """Keras's HDF5 format: a group for each layer, whose attribute `weight_names` gives the order of its arrays."""
    if not os.path.lexists(path):
        raise ModelError(f"No weights at {path}: there is no such file.")
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            names = [each.decode() if isinstance(each, bytes) else each for each in root.attrs["layer_names"]]
            layers = {name: [np.asarray(root[name][key]) for key in root[name].attrs["weight_names"]] for name in names}
    except (OSError, KeyError, TypeError, ValueError) as error:
        kind = describe_kind(path)
        if kind is None or kind.startswith("holds weights"):
            kind = f"holds no Keras weights by layer name, or is damaged ({error})"
        raise ModelError(f"{path} {kind}.") from error
    return {name: weights for name, weights in layers.items() if weights}
