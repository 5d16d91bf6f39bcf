"""Small Keras classifiers of every kind that an export meets, trained a little: fresh weights prove nothing."""

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.dataset import Dataset, Split
from signs_builder.hands import LABELS, draw_hands
from signs_export.config import Scaling
from signs_export.scaling import scale

SIDE = 32


def hands(train: int = 96, test: int = 24) -> Dataset:
    """A small synthetic data set of pixels."""
    return Dataset(
        "hands",
        LABELS,
        Split(*draw_hands(train, size=SIDE, seed=7)),
        None,
        Split(*draw_hands(test, size=SIDE, seed=7, first=train)),
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


def train_a_little(model: keras.Model, dataset: Dataset, scaling: Scaling = "none") -> keras.Model:
    """A few steps of Adam, so that batch norms have seen pictures and outputs differ."""
    keras.utils.set_random_seed(0)
    pixels: NDArray[np.uint8] = np.asarray(dataset.train.pictures)
    if model.input_shape[-1] == 1:
        pixels = pixels.mean(axis=3, keepdims=True).astype(np.uint8)
    from_logits = getattr(model.layers[-1], "activation", None) is keras.activations.linear
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(scale(pixels.astype(np.float32), scaling), dataset.train.labels, epochs=4, batch_size=16, verbose=0)
    return model
