"""Loads initial weights from another network with the same layer names, and reports what matched."""

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
    other_shape: tuple[str, ...]  # in both, but with different shapes; not loaded
    missing: tuple[str, ...]  # not in the file; not changed
    unused: tuple[str, ...]  # only in the file

    def describe(self) -> str:
        """Summarize the matches in words."""
        parts = [f"{len(self.loaded)} layers loaded"]
        for names, what in (
            (self.other_shape, "of a different shape"),
            (self.missing, "not in the file"),
            (self.unused, "only in the file"),
        ):
            if names:
                parts.append(f"{len(names)} {what} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})")
        return ", ".join(parts)


def load_init_weights(model: keras.Model, path: Path) -> Matches:
    """Load a `.keras` or Keras `.h5` file's weights into the layers that have the same names and shapes.

    An `.h5` file may hold a model, or only weights, like those published for ImageNet. Raises ModelError if the file
    cannot be read or has no layer in common with the network.
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
            f"{path} has no layer in common with this network. The file has {', '.join(list(given)[:5]) or 'none'}, "
            f"...; the network has {', '.join(list(own)[:5])}, ..."
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
            kind = f"holds no Keras weights with layer names, or is damaged ({error})"
        raise ModelError(f"{path} {kind}.") from error
    return {name: weights for name, weights in layers.items() if weights}
