"""Saves Keras models whole or not at all, and loads them without running code that came with them."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from signs_builder.disk import check_room, written_whole
from signs_builder.errors import ModelError, end_of
from signs_builder.network.configuration import Configuration, read_configuration
from signs_builder.network.file_kinds import describe_kind, is_keras_archive, is_saved_model
from signs_builder.network.keras2 import check_keras2, open_keras2
from signs_builder.network.keras3 import open_keras3
from signs_builder.network.signature import open_signature

MIXED_PRECISION = "mixed_bfloat16"  # weights in float32, computation in bfloat16, which needs no loss scaling
_UNKNOWN = "is damaged, not a Keras model, or from another version of Keras"
_Loaded = TypeVar("_Loaded")


def check_output(path: Path, model: keras.Model) -> None:
    """Check before a training that the model can be saved to `path`, and replaces nothing but a Keras model.

    Raises ModelError and DiskFullError.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder; name a file to save the model to.")
    if path.exists() and path.stat().st_size and not is_keras_archive(path):
        kind = describe_kind(path) or "is not a .keras file"  # and behind a semicolon, how to read it nevertheless
        raise ModelError(
            f"{path} exists and would be replaced, but it {kind.split(';')[0]}. "
            "Move it away, or choose another --output."
        )
    check_room(path.parent, 2 * weights_bytes(model))  # the weights, and the archive that Keras packs them into


def weights_bytes(model: keras.Model) -> int:
    """The size of a model's weights in memory, and roughly in a file."""
    return 4 * int(model.count_params())


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model for inference as `.keras`, whole or not at all.

    The optimizer's state, twice as large as the weights, is left out.
    """
    bare = bare_copy(model)
    with written_whole(path) as partial:
        bare.save(partial)


def bare_copy(model: keras.Model) -> keras.Model:
    """Copy the layers and weights for inference: without optimizer, in float32, not spread over devices."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    in_float32 = json.dumps(config).replace(f'"{MIXED_PRECISION}"', '"float32"')
    bare = keras.saving.deserialize_keras_object(json.loads(in_float32))
    for layer in bare._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = False
    bare.set_weights(model.get_weights())
    return bare


@dataclass(frozen=True)
class Opened:
    """A model in Keras 3, with what else its file contains."""

    model: keras.Model
    configuration: Configuration | None  # None: a SavedModel without a Keras model in it
    original: Any = None  # in tf_keras, if Keras 2 saved it; its answers are the reference


def load_model(path: Path) -> keras.Model:
    """The model that `open_model` opens."""
    return open_model(path).model


def open_model(path: Path, custom_objects: dict[str, Any] | None = None) -> Opened:
    """Open a `.keras` or HDF5 file, or a SavedModel folder, for inference, whatever its name.

    Keras's safe mode is on. `custom_objects` are the user's classes and functions, by name. Raises ModelError if the
    file does not exist, is damaged, or needs code that is not in it.
    """
    if not os.path.lexists(path):
        raise ModelError(f"No Keras model at {path}: there is no such file.")
    configuration = read_configuration(path)
    if configuration is None and is_saved_model(path):
        return Opened(_explained(path, lambda: open_signature(path)), None)
    if configuration is None or configuration.keras_version.split(".")[0] in ("0", "1"):
        raise ModelError(f"No Keras model at {path}: it {describe_kind(path) or _UNKNOWN}.")
    if configuration.by_keras_2 and configuration.names_any(custom_objects or {}):
        # The user's objects are for Keras 3, which reads these files too; tf_keras does not know them.
        _explained(path, lambda: check_keras2(configuration, custom_objects or {}))
        return Opened(_explained(path, lambda: open_keras3(path, configuration, custom_objects)), configuration)
    if configuration.by_keras_2:
        original, rebuilt = _explained(path, lambda: open_keras2(path, configuration))
        return Opened(rebuilt, configuration, original)
    return Opened(_explained(path, lambda: open_keras3(path, configuration, custom_objects)), configuration)


def _explained(path: Path, load: Callable[[], _Loaded]) -> _Loaded:
    """Load a model; turn any error into a ModelError that names the file and says what to do."""
    try:
        return load()
    except ModelError as error:
        raise ModelError(f"{path} cannot be loaded: {error}.") from error
    except Exception as error:  # a bad byte or an unknown name can make Keras raise anything
        reason = str(error)
        if "safe_mode" in reason or "unsafe" in reason.lower():
            advice = (
                "it holds a Lambda layer, and code in a model file is never run. Replace the Lambda by one of "
                "Keras's own layers and save the model again"
            )
        elif custom := re.search(r"(?:Could not locate class|Unknown layer:) '([^']+)'", reason):
            advice = (
                f"it needs the custom class {custom[1]}, which is not in the file. Name the Python file that defines "
                "it with --custom-objects, or replace it by Keras's own layers and save the model again"
            )
        else:
            advice = f"it {describe_kind(path) or f'{_UNKNOWN} ({end_of(reason)})'}"
        raise ModelError(f"{path} cannot be loaded: {advice}.") from error


def weights_sha256(model: keras.Model) -> str:
    """Digest of a model's weights, shapes and order; it does not depend on the file that they came from."""
    digest = hashlib.sha256()
    for weight in model.weights:
        values = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
