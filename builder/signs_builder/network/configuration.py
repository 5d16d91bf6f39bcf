"""Reads a model's configuration from its file, before any of Keras's code opens it."""

import inspect
import json
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

Config = dict[str, Any]  # JSON, as Keras writes it

# Layers that change nothing except in training.
INERT = frozenset(
    {
        "Dropout",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "AlphaDropout",
        "GaussianDropout",
        "GaussianNoise",
        "ActivityRegularization",
        "AugMix",
        "AutoContrast",
        "CutMix",
        "Equalization",
        "MixUp",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHeight",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomWidth",
        "RandomZoom",
    }
)
_ABOUT_TRAINING = ("compile_config", "training_config")  # not loaded for inference
SAVED_MODEL, KERAS_METADATA = "saved_model.pb", "keras_metadata.pb"


@dataclass(frozen=True)
class Configuration:
    """A model as its file describes it. `loss` is the loss it was compiled with; None if the file does not state it."""

    model: Config
    keras_version: str  # that wrote the file
    loss: Any = None  # a name, or a configuration
    is_archive: bool = False  # Keras 3's `.keras` format; otherwise HDF5 or a folder

    @property
    def by_keras_2(self) -> bool:
        return self.keras_version.split(".")[0] == "2"

    @property
    def by_teachable_machine(self) -> bool:
        """Whether it is built like that website's image models: a network, then a head of two dense layers."""
        parts = [_classes(each) for each in _inner(self.model) if each.get("class_name") != "InputLayer"]
        return (
            self.model.get("class_name") == "Sequential"
            and len(parts) == 2
            and parts[0][-1:] == ["GlobalAveragePooling2D"]
            and parts[1] == ["Dense", "Dense"]
        )

    def names_any(self, custom_objects: Collection[str]) -> bool:
        """Whether it mentions one of these classes or functions."""
        return any(value in custom_objects for each in self.everything() for value in _names_in(each))

    def layers(self) -> Iterator[Config]:
        """The configuration of each layer, including those inside models and wrappers."""
        yield from _layers(self.model)
        for each in self.model.get("objects", []):
            yield from _with_inner(each)

    def everything(self) -> Iterator[Config]:
        """Every object that is loaded with the model, at any depth."""
        yield from _everything(self.model)


def read_configuration(path: Path) -> Configuration | None:
    """Read the configuration of a `.keras` archive, an HDF5 file or a SavedModel folder; None if there is none."""
    try:
        if path.is_dir():
            return _of_saved_model(path / KERAS_METADATA)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            compiled = config.get("compile_config") or {}
            return Configuration(config, version, compiled.get("loss"), is_archive=True)
        with h5py.File(path, "r") as file:
            config = json.loads(_text(file.attrs["model_config"]))
            compiled = json.loads(_text(file.attrs.get("training_config", "{}"))) or {}
            return Configuration(config, _text(file.attrs.get("keras_version", "1")), compiled.get("loss"))
    except Exception:  # damaged zip, HDF5, JSON and protocol buffers can raise anything
        return None


def _of_saved_model(metadata: Path) -> Configuration | None:
    """Read it from the objects that Keras 2 stored next to a graph; the first is the model."""
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    objects = SavedMetadata.FromString(metadata.read_bytes()).nodes
    layers = [json.loads(each.metadata) for each in objects if each.identifier != "_tf_keras_metric"]
    layers = [each for each in layers if isinstance(each.get("class_name"), str)]
    if not layers or "config" not in layers[0]:
        return None
    compiled = layers[0].get("training_config") or {}
    # If the model's own configuration does not list its layers, they are among the other objects.
    return Configuration({**layers[0], "objects": layers[1:]}, "2", compiled.get("loss"))


def _layers(config: Any) -> Iterator[Config]:  # Any: JSON
    if isinstance(config, list):
        for each in config:
            yield from _layers(each)
    elif isinstance(config, dict):
        inside = config.get("config")
        for key in ("layer", "backward_layer", "forward_layer"):
            if isinstance(inside, dict) and isinstance(inside.get(key), dict):
                yield from _with_inner(inside[key])
        # In Keras 2.1, a Sequential's configuration is the list of its layers.
        layers = inside.get("layers", []) if isinstance(inside, dict) else inside
        for each in layers if isinstance(layers, list) else []:
            yield from _with_inner(each)


def _names_in(config: Config) -> Iterator[str]:
    """An object's name, and the names that it refers to, such as an activation."""
    yield from (value for value in config.values() if isinstance(value, str))


def _inner(config: Config) -> list[Config]:
    """The layers that a model's configuration lists, without those inside them."""
    inside = config.get("config")
    layers = inside.get("layers") if isinstance(inside, dict) else inside
    return [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []


def _classes(config: Config) -> list[str]:
    """The class names of the layers that `config` lists, without input layers."""
    return [str(each.get("class_name")) for each in _inner(config) if each.get("class_name") != "InputLayer"]


def _with_inner(config: Any) -> Iterator[Config]:  # Any: JSON
    if isinstance(config, dict) and isinstance(config.get("class_name"), str):
        yield config
    yield from _layers(config)


def _everything(value: Any) -> Iterator[Config]:  # Any: JSON
    inner: list[Any] = value if isinstance(value, list) else []
    if isinstance(value, dict):
        yield value
        inner = [each for key, each in value.items() if key not in _ABOUT_TRAINING]
    for each in inner:
        yield from _everything(each)


def accepted(layer: type) -> set[str]:
    """The keywords that a layer's class accepts."""
    names: set[str] = set()
    for start in (vars(each)["__init__"] for each in layer.__mro__ if "__init__" in vars(each)):
        parameters = inspect.signature(start).parameters.values()
        names.update(each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return names - {"self"}


def _text(value: Any) -> str:  # Any: an HDF5 attribute
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
