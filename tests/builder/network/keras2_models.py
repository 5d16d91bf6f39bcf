"""Models as Keras 2 made and saved them, through tf_keras, and turned into what older versions wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf
import tf_keras

Old = Any  # tf_keras's models
layers = tf_keras.layers
SIDE = 16


def _ended(image: Any, x: Any) -> Old:
    x = layers.Dense(3, activation="softmax", name="answer")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(image, x)


def convolutions() -> Old:
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.ReLU(6.0, negative_slope=0.1)(x))
    x = layers.SeparableConv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2)(layers.PReLU(shared_axes=[1, 2])(x))
    return _ended(image, layers.LayerNormalization()(layers.UpSampling2D()(x)))


def functions() -> Old:
    """What keras.applications' preprocess_input leaves in a model, and arithmetic between layers."""
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = tf_keras.applications.mobilenet_v2.preprocess_input(image)
    y = tf_keras.applications.resnet50.preprocess_input(image) / 100.0
    x = layers.Conv2D(4, 3)(tf.concat([x, y], axis=-1))
    return _ended(image, tf.nn.relu(x * 2.0 - 1.0) + x)


def shared_and_nested() -> Old:
    image, inner = tf_keras.Input((SIDE, SIDE, 3)), tf_keras.Input((SIDE, SIDE, 4))
    conv = layers.Conv2D(4, 3, padding="same")
    block = tf_keras.Model(inner, layers.Add()([inner, conv(layers.ReLU()(conv(inner)))]), name="block")
    x = layers.Conv2D(4, 1)(image)
    return _ended(image, tf_keras.Sequential([layers.Conv2D(5, 3), layers.ReLU()])(block(block(x))))


def augmented() -> Old:
    normalization = layers.Normalization()
    normalization.adapt(tf.random.stateless_uniform((4, SIDE, SIDE, 3), (1, 2)) * 255)
    return tf_keras.Sequential(
        [
            tf_keras.Input((SIDE, SIDE, 3)),
            layers.Resizing(12, 12),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.RandomZoom(0.1, 0.1),
            normalization,
            layers.GaussianNoise(0.1),
            layers.Conv2D(4, 3, activation="swish", kernel_regularizer="l2", kernel_constraint="max_norm"),
            layers.SpatialDropout2D(0.2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3),
            layers.Activation("softmax"),
        ]
    )


def rows() -> Old:
    """Recurrent layers over a picture's rows, and attention."""
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = layers.TimeDistributed(layers.Dense(6))(layers.Reshape((SIDE, SIDE * 3))(image))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.LayerNormalization()(x))
    x = layers.GRU(4, return_sequences=True)(layers.MultiHeadAttention(2, 4)(x, x))
    return tf_keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalMaxPooling1D()(x)))


def renamed() -> Old:
    """Settings that have another name or meaning in Keras 3, and functions that would be named as a layer is."""
    image = tf_keras.Input((SIDE, SIDE, 3))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(4, 3, activation="hard_sigmoid")(image * (1 / 255)))
    x = layers.Multiply(name="multiply")([x, layers.ELU(0.5)(x)])
    y = layers.LSTM(4, recurrent_activation="hard_sigmoid")(layers.Reshape((14, 56))(x))
    x = layers.Add(name="add")([x + 1.0, layers.Reshape((1, 1, 4))(y)])
    return _ended(image, x)


MODELS: list[Callable[[], Old]] = [convolutions, functions, shared_and_nested, augmented, rows, renamed]


def rewrite(path: Path, change: Callable[[dict[str, Any]], None], version: str) -> None:
    """Change the configuration in an HDF5 file, as a Keras of this version would have written it."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version


def _each_layer(config: dict[str, Any], change: Callable[[str, dict[str, Any]], None]) -> None:
    inside = config["config"]
    for layer in inside if isinstance(inside, list) else inside["layers"]:
        change(layer["class_name"], layer["config"])


def as_in_2_4(config: dict[str, Any]) -> None:
    """DepthwiseConv2D had its parent's `groups`, batch norms a list of axes: Teachable Machine's files."""

    def change(kind: str, inside: dict[str, Any]) -> None:
        if kind == "DepthwiseConv2D":
            inside["groups"] = 1
        if kind == "BatchNormalization":
            inside["axis"] = [3]

    _each_layer(config, change)


def as_in_2_2_4_tf(config: dict[str, Any]) -> None:
    """Initializers had a dtype."""

    def change(kind: str, inside: dict[str, Any]) -> None:
        for key in [key for key in inside if key.endswith("_initializer") and inside[key]]:
            inside[key] = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}

    _each_layer(config, change)


def as_in_2_1(config: dict[str, Any]) -> None:
    """A Sequential's configuration was the list of its layers; the first one had the input's shape."""
    config["config"] = [each for each in config["config"]["layers"] if each["class_name"] != "InputLayer"]
    config["config"][0]["config"]["batch_input_shape"] = [None, SIDE, SIDE, 3]


def as_in_2_6(config: dict[str, Any]) -> None:
    """Augmentation had the name and the arguments of an experiment."""

    def change(kind: str, inside: dict[str, Any]) -> None:
        if kind == "RandomRotation":
            inside.pop("dtype", None)
            inside.update({"factor": [-0.2, 0.2], "fill_value": 0.0})

    _each_layer(config, change)


def plain() -> Old:
    return tf_keras.Sequential(
        [
            tf_keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


ERAS: list[tuple[str, Callable[[], Old], Callable[[dict[str, Any]], None]]] = [
    ("2.4.0", convolutions, as_in_2_4),
    ("2.2.4-tf", plain, as_in_2_2_4_tf),
    ("2.1.6", plain, as_in_2_1),
    ("2.6.0", augmented, as_in_2_6),
]
