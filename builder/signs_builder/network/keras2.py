"""Opens Keras 2's models with tf_keras, and rebuilds them in Keras 3, layer by layer, with their weights.

tf_keras (https://github.com/keras-team/tf-keras) is Keras 2, still maintained. It reads files of Keras 2 that Keras 3
cannot read. Its answers are the reference that the rebuilt model is compared with.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.errors import ModelError, end_of
from signs_builder.network.configuration import INERT, Config, Configuration, accepted
from signs_builder.network.signature import refuse_programs

Old = Any  # tf_keras's models, layers, nodes and tensors

RTOL, ATOL = (
    1e-4,
    1e-5,
)  # allowed between the layers of both, as a share of a layer's largest number, for float32's noise; measured: 0
_ANY_SIDE = 96  # pixels: side of the noise for a model that takes any size
_FROM_SCRATCH = ("_initializer", "_regularizer", "_constraint")  # settings that only a new training needs
_ABOUT_INPUT = ("dtype", "batch_input_shape", "input_shape", "batch_size", "input_dim", "input_length")
_CELLS = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")
_RENAMED = {"SyncBatchNormalization": "BatchNormalization", "BatchNormalizationV1": "BatchNormalization"}
# Settings of Keras 2's layers that Keras 3 lacks. With these values they have no effect, so they are dropped.
_DEFAULTS: dict[str, Any] = {
    "groups": 1,
    "renorm": False,
    "virtual_batch_size": None,
    "fused": None,
    "time_major": False,
    "implementation": None,
    "ragged": False,
    "softmax_robust_masking": False,
    "sparse": False,
    "crop_to_aspect_ratio": False,
    "adjustment": None,
}
_HARMLESS = (
    "experimental_autocast",
    "fused",
    "implementation",
    "key_shape",
    "query_shape",
    "renorm_clipping",
    "renorm_momentum",
    "value_shape",
)


def _slice(part: Any) -> Any:  # Any: an index, a slice, or a slice in JSON
    return slice(part["start"], part["stop"], part["step"]) if isinstance(part, dict) else part


# TensorFlow's functions that a Keras 2 model may call, as computed in Keras 3. All others are refused.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "math.add": lambda x, y: x + y,
    "__operators__.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "__operators__.sub": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "__operators__.mul": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "__operators__.truediv": lambda x, y: x / y,
    "__operators__.getitem": lambda tensor, slice_spec: tensor[tuple(map(_slice, slice_spec))],
    "nn.bias_add": lambda value, bias, data_format=None: value + np.asarray(bias, np.float32),
    "nn.relu": lambda features: keras.ops.relu(features),
    "nn.relu6": lambda features: keras.ops.relu6(features),
    "nn.silu": lambda features, beta=1.0: features * keras.ops.sigmoid(beta * features),
    "nn.softmax": lambda logits, axis=-1: keras.ops.softmax(logits, axis=axis),
    "math.sigmoid": lambda x: keras.ops.sigmoid(x),
    "math.tanh": lambda x: keras.ops.tanh(x),
    "cast": lambda x, dtype: keras.ops.cast(x, keras.backend.standardize_dtype(dtype)),
    "reshape": lambda tensor, shape: keras.ops.reshape(tensor, shape),
    "concat": lambda values, axis: keras.ops.concatenate(values, axis=axis),
    "math.reduce_mean": lambda input_tensor, axis=None, keepdims=False: keras.ops.mean(input_tensor, axis, keepdims),
    "math.reduce_max": lambda input_tensor, axis=None, keepdims=False: keras.ops.max(input_tensor, axis, keepdims),
}


def open_keras2(path: Path, configuration: Configuration) -> tuple[Old, keras.Model]:
    """Load a file or folder of Keras 2: (the model in tf_keras, the same model rebuilt in Keras 3).

    Raises ModelError if the model contains code or a layer that is not Keras's own, or if Keras 3 computes something
    else; the message then names the first layer that differs.
    """
    check_keras2(configuration)
    if path.is_dir():
        refuse_programs(path)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        link = path if path.is_dir() else Path(folder, "model.keras" if configuration.is_archive else "model.h5")
        if link != path:
            link.symlink_to(path.resolve())  # tf_keras judges a file by its suffix
        import tensorflow as tf
        import tf_keras
        from tf_keras.src.saving.serialization_lib import SafeModeScope

        names = {"relu6": tf.nn.relu6}  # MobileNet used TensorFlow's before Keras had one
        try:
            with SafeModeScope(True):  # load_model passes safe_mode on only for archives
                original = tf_keras.models.load_model(link, compile=False, custom_objects=names, safe_mode=True)
        except Exception as error:  # Keras raises whatever the first bad byte leads to
            raise ModelError(f"tf_keras (Keras 2) cannot load it: {end_of(str(error))}") from error
        if not getattr(original, "inputs", None):
            raise ModelError("the model does not define its input; build it with an Input and save it again")
        rebuilt = _Rebuilding(configuration.keras_version).model(original)
        _compare(original, rebuilt)
    return original, rebuilt


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of TensorFlow and tf_keras about what a file for inference lacks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check_keras2(configuration: Configuration, custom_objects: Collection[str] = ()) -> None:
    """Raise ModelError for code, and for classes that are neither Keras's nor among `custom_objects`.

    This must happen before loading: tf_keras runs a Lambda's code when it loads a model, even in safe mode.
    """
    from tf_keras import layers, models

    for each in configuration.everything():
        _check_object(each, custom_objects)
    for each in configuration.layers():
        kind, config = each["class_name"], each.get("config")
        name = config.get("name", kind) if isinstance(config, dict) else kind
        if kind in ("TFOpLambda", "SlicingOpLambda"):
            function = config.get("function") if isinstance(config, dict) else None
            if function not in _FUNCTIONS:
                raise ModelError(
                    f"its layer {name} calls TensorFlow's function tf.{function}, which is not supported. Replace it "
                    "by one of Keras's own layers and save the model again"
                )
        elif not (hasattr(layers, kind) or hasattr(models, kind) or kind in ("Functional", *_RENAMED, *custom_objects)):
            raise ModelError(
                f"it needs the custom class {kind} (layer {name}), which is not in the file. Name the Python file "
                "that defines it with --custom-objects, or replace it by Keras's own layers and save the model again"
            )


# Keras's own modules, whose classes and functions a configuration may name.
_ROOMS = {
    "activations",
    "constraints",
    "engine",
    "functional",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "regularizers",
    "sequential",
    "training",
}


def _check_object(config: Config, custom_objects: Collection[str]) -> None:
    """Raise ModelError for code, and for anything imported by name from outside Keras."""
    kind, inside, module = config.get("class_name"), config.get("config"), config.get("module")
    name = inside.get("name", kind) if isinstance(inside, dict) else kind
    cells = [inside.get("cell"), *(inside.get("cells") or ())] if isinstance(inside, dict) else []
    wrapped = [each["class_name"] for each in cells if isinstance(each, dict) and "class_name" in each]
    if kind in ("Lambda", "__lambda__") or any(
        key.endswith("_type") and value == "lambda" for key, value in config.items()
    ):
        raise ModelError(
            f"its layer {name} is a Lambda layer, and code in a model file is never run. Replace the Lambda by one "
            "of Keras's own layers and save the model again"
        )
    if isinstance(module, str) and isinstance(kind, str) and kind not in custom_objects and module != "builtins":
        place = [part for part in module.split(".") if part != "src"]
        if place[0] not in ("keras", "tf_keras") or not _ROOMS.issuperset(place[1:2]):
            raise ModelError(
                f"it refers to {module}.{kind}, which is not part of Keras, and code in a model file is never run. "
                "Remove it and save the model again"
            )
    if strange := [each for each in wrapped if each not in _CELLS]:
        raise ModelError(f"its layer {name} has the cell {strange[0]}, which cannot be rebuilt in Keras 3")


class _Rebuilding:
    """Rebuilds tf_keras's models in Keras 3; shared layers stay shared."""

    def __init__(self, keras_version: str) -> None:
        self._version = keras_version
        self._made: dict[int, Any] = {}  # by the old layer; Any: layers, and functions of tensors

    def model(self, old: Old) -> keras.Model:
        """Rebuild the model with the same layers and weights; it takes batches of any size."""
        tensors = {}
        for each in old.inputs:
            name = each.name.split(":")[0].replace("/", "_")
            tensors[id(each)] = keras.Input(tuple(each.shape[1:]), name=name, dtype=each.dtype.name)
        inputs = list(tensors.values())
        for _, nodes in sorted(old._nodes_by_depth.items(), reverse=True):
            for node in nodes:
                if not node.is_input:
                    outputs = self._call(node, tensors)
                    olds = keras.tree.flatten(node.outputs)
                    tensors.update(zip(map(id, olds), keras.tree.flatten(outputs), strict=True))
        outputs = [tensors[id(each)] for each in old.outputs]
        return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=old.name.replace("/", "_"))

    def _call(self, node: Old, tensors: dict[int, Any]) -> Any:  # Any: tensors
        def renewed(value: Any) -> Any:
            return tensors.get(id(value), value)

        arguments = keras.tree.map_structure(renewed, list(node.call_args))
        named = {
            name: keras.tree.map_structure(renewed, value)
            for name, value in node.call_kwargs.items()
            if value is not None and name not in ("training", "name")
        }
        layer = self._renewed(node.layer)
        outputs = layer(*arguments, **named)
        if not isinstance(layer, keras.layers.Layer):
            _name_operations(outputs, keras.tree.flatten([arguments, named]), node.layer.name)
        if isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.Model) and node.layer.weights:
            _set_weights(layer, node.layer)
        return outputs

    def _renewed(self, old: Old) -> Any:
        if id(old) not in self._made:
            self._made[id(old)] = self._make(old)
        return self._made[id(old)]

    def _make(self, old: Old) -> Any:
        kind = type(old).__name__
        if hasattr(old, "_nodes_by_depth"):
            return self.model(old)
        if kind in ("TFOpLambda", "SlicingOpLambda"):
            return _FUNCTIONS[old.get_config()["function"]]
        if kind in INERT:
            return keras.layers.Identity(name=old.name)
        new = getattr(keras.layers, _RENAMED.get(kind, kind), None)
        if new is None:
            raise ModelError(f"its layer {old.name} is a {kind}, which Keras 3 does not have")
        config = self._config(old, new)
        if kind == "Normalization":
            mean, variance = (np.squeeze(np.asarray(each)) for each in (old.mean, old.variance))
            return new(axis=config["axis"], mean=mean, variance=variance, name=old.name)
        if kind == "Bidirectional":
            return new(self._make(old.forward_layer), config.get("merge_mode"), name=old.name)
        if "layer" in config:  # TimeDistributed
            return new(self._make(old.layer), name=old.name)
        try:
            return new.from_config(config)
        except Exception as error:  # a layer can raise anything for a bad setting
            raise ModelError(f"its layer {old.name} ({kind}) cannot be built in Keras 3: {error}") from error

    def _config(self, old: Old, new: type) -> dict[str, Any]:
        config = {
            key: value
            for key, value in old.get_config().items()
            if not key.endswith(_FROM_SCRATCH) and key not in _ABOUT_INPUT
        }
        config["name"] = old.name.replace("/", "_")
        config = {key: keras2_hard_sigmoid if value == "hard_sigmoid" else value for key, value in config.items()}
        if new is keras.layers.LeakyReLU:
            config["negative_slope"] = config.pop("alpha")
        if old.compute_dtype not in (None, "float32"):
            config["dtype"] = old.compute_dtype
        if (
            "Normalization" in new.__name__
            and isinstance(config.get("axis"), (list, tuple))
            and len(config["axis"]) == 1
        ):
            config["axis"] = config["axis"][0]
        for key in sorted({*config} - accepted(new)):
            if key not in _HARMLESS and config[key] is not None and config[key] != _DEFAULTS.get(key):
                raise ModelError(
                    f"its layer {old.name} ({type(old).__name__}) has {key}={config[key]!r}, which Keras 3 does not "
                    f"know; Keras {self._version} wrote it. Build the layer without it and save the model again"
                )
            del config[key]
        return config


def _name_operations(outputs: Any, inputs: list[Any], name: str) -> None:
    """Name a function's operations after its old layer, because Keras's own names may collide with other layers'."""
    given = {id(each) for each in inputs}
    ahead = keras.tree.flatten(outputs)
    while ahead:
        tensor = ahead.pop()
        if id(tensor) in given or not isinstance(tensor, keras.KerasTensor):
            continue
        operation = tensor._keras_history.operation
        if not operation.name.startswith(f"{name}/"):
            operation.name = f"{name}/{operation.name}"
            ahead += operation._inbound_nodes[0].input_tensors


@keras.saving.register_keras_serializable("signs_edge")  # type: ignore[untyped-decorator]
def keras2_hard_sigmoid(x: Any) -> Any:  # Any: tensors
    """Keras 2's hard sigmoid, clip(0.2 x + 0.5, 0, 1); Keras 3 computes x / 6 + 0.5."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _set_weights(layer: keras.layers.Layer, old: Old) -> None:
    if isinstance(layer, keras.layers.Normalization):
        return
    try:
        layer.set_weights(old.get_weights())
    except ValueError as error:
        raise ModelError(
            f"the weights of its layer {old.name} do not fit the same layer in Keras 3: {error}"
        ) from error


def _compare(original: Old, rebuilt: keras.Model) -> None:
    """Compare the answers of both models on noise. Raises ModelError that names the first layer that differs."""
    shapes = [tuple(_ANY_SIDE if side is None else side for side in each.shape[1:]) for each in rebuilt.inputs]
    rng = np.random.default_rng(0)
    noise = [np.stack([rng.uniform(0, 255, shape), rng.uniform(-1, 1, shape)]).astype(np.float32) for shape in shapes]
    fixed = original.inputs[0].shape[0]
    try:
        expected = answers_of(original, noise[0], fixed) if len(noise) == 1 else None
        given = None if expected is None else keras.ops.convert_to_numpy(rebuilt(noise[0], training=False))
    except Exception:  # the layers cannot take this size; both models are compared again on pictures
        return
    if expected is not None and given is not None and not are_alike(expected, given):
        raise ModelError(f"Keras 3 computes {first_difference(original, rebuilt, noise[0])} differently from Keras 2")


def answers_of(original: Old, images: NDArray[Any], batch: int | None = None) -> NDArray[Any]:
    """tf_keras's answers for `images`; if `batch` is set, in padded batches of exactly that size."""
    size = batch or len(images)
    given = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
        given.append(np.asarray(original(filled, training=False))[: len(part)])
    return np.concatenate(given)


def are_alike(expected: NDArray[Any], given: NDArray[Any]) -> bool:
    """Whether both are equal but for float32's noise."""
    if expected.shape != given.shape:
        return False
    largest = float(np.abs(expected).max(initial=0))
    return bool(np.allclose(expected, given, rtol=0, atol=RTOL * largest + ATOL, equal_nan=True))


def first_difference(original: Old, rebuilt: keras.Model, images: NDArray[Any]) -> str:
    """The first layer, in the order of `original.layers`, whose output differs in Keras 3: "its layer ..."."""
    import tf_keras

    new_layers = {layer.name: layer for layer in rebuilt.layers if not isinstance(layer, keras.layers.InputLayer)}
    for old in original.layers:
        new = new_layers.get(old.name)
        if new is None:
            continue
        try:
            expected = np.asarray(tf_keras.Model(original.inputs, old.output)(images, training=False))
            given = keras.ops.convert_to_numpy(keras.Model(rebuilt.inputs, new.output)(images, training=False))
        except Exception:  # a layer that is called several times, or is a model, has no single output here
            continue
        if not are_alike(expected, given):
            return f"its layer {old.name} ({type(old).__name__})"
    return "its answers"
