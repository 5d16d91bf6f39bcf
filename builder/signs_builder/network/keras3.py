"""Opens models of Keras 3, also of other 3.x versions: unknown keywords without effect are dropped."""

import copy
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from signs_builder.errors import ModelError
from signs_builder.network.configuration import INERT, Config, Configuration, accepted

# Keywords of other versions of Keras 3, with the value that has no effect. None never has an effect.
_DEFAULTS: dict[str, Any] = {
    "crop_to_aspect_ratio": False,
    "flash_attention": False,
    "lora_alpha": None,
    "pad_to_aspect_ratio": False,
    "quantization_mode": None,
    "renorm": False,
    "renorm_momentum": 0.99,
    "rms_scaling": False,
    "time_major": False,
    "use_gate": False,
    "value_range": [0, 255],
}
_BATCH = ("batch_shape", "batch_input_shape", "build_input_shape", "input_shape")


def open_keras3(path: Path, configuration: Configuration, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """Load a file that Keras 3 saved, in Keras's safe mode; the model takes batches of any size.

    Raises ModelError for a keyword that has an effect and that this Keras does not know. Otherwise raises whatever
    Keras raises.
    """
    freed = _freed(configuration.model)
    archive = configuration.is_archive
    try:
        return _load(path, archive, freed if freed != configuration.model else None, custom_objects)
    except Exception:
        fitted = _fitted(freed, configuration)
        if fitted == freed:
            raise
    return _load(path, archive, fitted, custom_objects)


def _load(path: Path, archive: bool, changed: Config | None, custom_objects: dict[str, Any] | None) -> keras.Model:
    """Load a file under the suffix that fits its content, with the configuration `changed` if it is not None."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras" if archive else "model.h5")
        if changed is None:
            file.symlink_to(path.resolve())
        elif archive:
            _copy_archive(path, file, changed)
        else:
            shutil.copyfile(path, file)
            with h5py.File(file, "r+") as opened:
                opened.attrs["model_config"] = json.dumps(changed)
        return keras.models.load_model(file, custom_objects=custom_objects, compile=False, safe_mode=True)


def _copy_archive(path: Path, to: Path, config: Config) -> None:
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(to, "w") as taken:
        for member in given.infolist():
            if member.filename == "config.json":
                taken.writestr(member, json.dumps(config))
            else:
                with given.open(member) as source, taken.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)


def _freed(config: Config) -> Config:
    """The same configuration for batches of any size."""

    def free(value: Any) -> None:  # Any: JSON
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in _BATCH and isinstance(inner, list) and len(inner) > 1 and isinstance(inner[0], int):
                    inner[0] = None
                free(inner)
        elif isinstance(value, list):
            for inner in value:
                free(inner)

    freed = copy.deepcopy(config)
    if any(_has_fixed_batch(each) for each in Configuration(config, "3").layers()):
        free(freed)
    return freed


def _has_fixed_batch(layer: Config) -> bool:
    inside = layer.get("config")
    shape = inside.get("batch_shape") if isinstance(inside, dict) else None
    return layer["class_name"] == "InputLayer" and isinstance(shape, list) and isinstance(shape[0], int)


def _fitted(config: Config, configuration: Configuration) -> Config:
    """The configuration without keywords that this Keras does not know. Raises ModelError if one has an effect."""
    fitted = copy.deepcopy(config)
    for each in Configuration(fitted, configuration.keras_version).layers():
        kind, inside = each["class_name"], each.get("config")
        layer = getattr(keras.layers, kind, None)
        if (
            each.get("registered_name") not in (None, kind)
            or not isinstance(layer, type)
            or not isinstance(inside, dict)
        ):
            continue
        for key in sorted({*inside} - accepted(layer) - {*_BATCH}):
            known = key in _DEFAULTS and inside[key] == _DEFAULTS[key]
            if kind not in INERT and inside[key] is not None and not known:
                raise ModelError(
                    f"its layer {inside.get('name', kind)} ({kind}) has {key}={inside[key]!r}, which this Keras "
                    f"({keras.__version__}) does not know; Keras {configuration.keras_version} wrote it. Build the "
                    f"layer without it and save the model again, or install that version: pip install "
                    f"keras=={configuration.keras_version}"
                )
            del inside[key]
    return fitted
