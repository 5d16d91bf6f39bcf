"""What a model file says of its model: read from its configuration, before any of Keras's code sees the file."""

import inspect
import json
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

Config = dict[str, Any]  # JSON, as Keras writes it

# Layers that pass on what they are given, but in training.
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
    """A model as its file describes it; `loss` is what it was compiled with, None where the file does not tell."""

    model: Config
    keras_version: str  # of the Keras that wrote it
    loss: Any = None  # a name, or a configuration
    is_archive: bool = False  # `.keras` as Keras 3 has it; else HDF5 or a folder

    @property
    def by_keras_2(self) -> bool:
        return self.keras_version.split(".")[0] == "2"

    @property
    def by_teachable_machine(self) -> bool:
        """Whether it has the shape of all image models of that website: a network, and a head of two dense layers."""
        parts = [_classes(each) for each in _inner(self.model) if each.get("class_name") != "InputLayer"]
        return (
            self.model.get("class_name") == "Sequential"
            and len(parts) == 2
            and parts[0][-1:] == ["GlobalAveragePooling2D"]
            and parts[1] == ["Dense", "Dense"]
        )

    def names_any(self, custom_objects: Collection[str]) -> bool:
        """Whether it speaks of one of these classes or functions."""
        return any(value in custom_objects for each in self.everything() for value in _names_in(each))

    def layers(self) -> Iterator[Config]:
        """The configuration of each layer, those inside of models and wrappers, too."""
        yield from _layers(self.model)
        for each in self.model.get("objects", []):
            yield from _with_inner(each)

    def everything(self) -> Iterator[Config]:
        """Every object that is loaded with it, however deep."""
        yield from _everything(self.model)


def read_configuration(path: Path) -> Configuration | None:
    """The configuration in a `.keras` archive, an HDF5 file or a SavedModel folder; None where there is none."""
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
    except Exception:  # zip, HDF5, JSON and protocol buffers raise whatever the first bad byte leads to
        return None


def _of_saved_model(metadata: Path) -> Configuration | None:
    """Of the objects that Keras 2 kept beside a graph; the first is the model."""
    from tf_keras.protobuf.saved_metadata_pb2 import SavedMetadata

    objects = SavedMetadata.FromString(metadata.read_bytes()).nodes
    layers = [json.loads(each.metadata) for each in objects if each.identifier != "_tf_keras_metric"]
    layers = [each for each in layers if isinstance(each.get("class_name"), str)]
    if not layers or "config" not in layers[0]:
        return None
    compiled = layers[0].get("training_config") or {}
    # A model whose layers its own configuration does not tell is known by all its objects.
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
        # Keras 2.1 wrote a Sequential's layers as the configuration itself.
        layers = inside.get("layers", []) if isinstance(inside, dict) else inside
        for each in layers if isinstance(layers, list) else []:
            yield from _with_inner(each)


def _names_in(config: Config) -> Iterator[str]:
    """What an object is called, and what it names, such as an activation."""
    yield from (value for value in config.values() if isinstance(value, str))


def _inner(config: Config) -> list[Config]:
    """The layers that a model's configuration lists, not those inside of them."""
    inside = config.get("config")
    layers = inside.get("layers") if isinstance(inside, dict) else inside
    return [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []


def _classes(config: Config) -> list[str]:
    """The classes of the layers of a Sequential in a Sequential, but for its input."""
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
    """The keywords that a layer's class takes."""
    names: set[str] = set()
    for start in (vars(each)["__init__"] for each in layer.__mro__ if "__init__" in vars(each)):
        parameters = inspect.signature(start).parameters.values()
        names.update(each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY))
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return names - {"self"}


def _text(value: Any) -> str:  # Any: an HDF5 attribute
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
