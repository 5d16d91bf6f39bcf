"""Small Keras classifiers of every kind that an export meets, trained a little: fresh weights prove nothing."""

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.hands import LABELS, draw_hands
from signs_export.config import Scaling
from signs_export.source.scaling import scale

SIDE = 32


def hands(train: int = 96, test: int = 24, *, side: int = SIDE, seed: int = 7) -> Dataset:
    """A small synthetic data set of pixels."""
    return Dataset(
        "hands",
        LABELS,
        Split(*draw_hands(train, size=side, seed=seed)),
        None,
        Split(*draw_hands(test, size=side, seed=seed, first=train)),
    )


def network(*, rescales: bool = True, last: str | None = "softmax", channels: int = 3) -> keras.Model:
    """Convolutions, batch norms, a depthwise convolution, a shortcut: 32x32 in, six classes out."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, channels))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image) if rescales else image
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = shortcut = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1)(shortcut)])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D()(x))
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(image, keras.layers.Dense(6, activation=last)(x))


def straight_network() -> keras.Model:
    """Four convolutions in a row, each with batch norm and ReLU."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for i in range(4):
        x = keras.layers.Conv2D(12, 3, strides=1 + i % 2, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))


def branched_network(*, side: int = SIDE, seed: int = 0) -> keras.Model:
    """Residual blocks behind a pool, then a branch that is halved and enlarged again; its layers' names are fixed."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    image = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.ReLU()(_convolved(x, 16))
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    for _ in range(2):
        shortcut = x
        x = _convolved(keras.layers.ReLU()(_convolved(x, 16)), 16)
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.ReLU()(_convolved(x, 24, strides=2))
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = keras.layers.ReLU()(_convolved(x, 24))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))


def _convolved(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def poison(model: keras.Model, norm: str, conv: str, channel: int) -> None:
    """Blow one channel up in a batch norm and take it back in the convolution behind: the answers stay, to the bit.

    Between them a scale that holds this channel leaves nothing of the others.
    """
    factor = 2.0**20
    gamma, beta, *rest = model.get_layer(norm).get_weights()
    gamma[channel] *= factor
    beta[channel] *= factor
    model.get_layer(norm).set_weights([gamma, beta, *rest])
    kernel, *bias = model.get_layer(conv).get_weights()
    kernel[:, :, channel] /= factor
    model.get_layer(conv).set_weights([kernel, *bias])


def mobile_network(*, side: int = SIDE, seed: int = 0) -> keras.Model:
    """Inverted residuals as in MobileNetV2: depthwise convolutions of few weights, ReLU6, linear bottlenecks."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = _normed(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x), 6)
    for filters, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        shortcut = x
        x = _normed(keras.layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x), 6)
        x = _normed(keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x), 6)
        x = _normed(keras.layers.Conv2D(filters, 1, use_bias=False)(x), None)
        if x.shape == shortcut.shape:
            x = keras.layers.Add()([x, shortcut])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))


def _normed(x: keras.KerasTensor, highest: int | None) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return x if highest is None else keras.layers.ReLU(max_value=highest)(x)


def train_a_little(model: keras.Model, dataset: Dataset, scaling: Scaling = "none", *, epochs: int = 4) -> keras.Model:
    """A few steps of Adam, so that batch norms have seen pictures and outputs differ."""
    keras.utils.set_random_seed(0)
    pixels: NDArray[np.uint8] = np.asarray(dataset.train.pictures)
    if model.input_shape[-1] == 1:
        pixels = pixels.mean(axis=3, keepdims=True).astype(np.uint8)
    from_logits = getattr(model.layers[-1], "activation", None) is keras.activations.linear
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(scale(pixels.astype(np.float32), scaling), dataset.train.labels, epochs=epochs, batch_size=16, verbose=0)
    return model
