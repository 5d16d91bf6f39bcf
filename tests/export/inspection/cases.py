"""Small classifiers that were trained on pictures read in a known way, with labels in a known order."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.hands import LABELS, draw_hands
from signs_builder.data.sources import load_dataset
from signs_export.config import Scaling
from signs_export.source.reference import Reference, examine
from signs_export.source.scaling import scale
from signs_runtime.pictures.input_spec import InputSpec, Reading

SIDE = 24


@dataclass(frozen=True)
class Case:
    """How a classifier was trained, and the order of its outputs: `order[i]` is the place of output i's label."""

    scaling: Scaling = "unit"
    reading: Reading = Reading()  # noqa: RUF009  # frozen
    order: tuple[int, ...] = tuple(range(6))
    seed: int = 0

    def named(self) -> str:
        return f"{self.scaling} {self.reading.channels} {self.reading.fit} {self.reading.resize} {self.order}"


def wide_hands(folder: Path, train: int = 360, test: int = 120) -> Dataset:
    """Drawn hands in files that are twice as wide as high, so that fits differ: the hand near the middle.

    A folder that is there already is read as it is.
    """
    if not folder.exists():
        images, labels = draw_hands(train + test, size=64, seed=3)
        rng = np.random.default_rng(0)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            wide = np.full((64, 112, 3), image[0, 0], np.uint8)
            left = int(rng.integers(16, 33))
            wide[:, left : left + 64] = image
            path = folder / ("train" if i < train else "test") / LABELS[label] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(wide).save(path)
    return load_dataset(folder)


def square_hands(train: int = 360, test: int = 120) -> Dataset:
    """Drawn hands of the network's size."""
    images, labels = draw_hands(train + test, size=SIDE, seed=5)
    return Dataset("hands", LABELS, Split(images[:train], labels[:train]), None, Split(images[train:], labels[train:]))


@cache
def _trained(scaling: Scaling, reading: Reading, seed: int, folder: Path | None) -> keras.Model:
    """A network that has learnt its pictures: large pixels leave some seeds with rectifiers that never open."""
    dataset = square_hands() if folder is None else wide_hands(folder)
    pixels = scale(dataset.train.images(InputSpec.read_as(reading, SIDE, SIDE)).astype(np.float32), scaling)
    while True:
        model, right = _fitted(pixels, dataset.train.labels, len(dataset.labels), seed)
        if right > 0.8:
            return model
        seed += 1


def _fitted(
    pixels: NDArray[np.float32], labels: NDArray[np.int64], classes: int, seed: int
) -> tuple[keras.Model, float]:
    """A small network, trained, and the share of its pictures that it gets right."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3))
    x = image
    for filters in (16, 24, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dense(48, activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
    model.fit(pixels, labels, epochs=50, batch_size=32, verbose=0)
    return model, float((model.predict(pixels, verbose=0).argmax(axis=1) == labels).mean())


def made(case: Case, folder: Path | None = None) -> tuple[Reference, Dataset]:
    """The classifier as it would be opened by somebody who knows nothing of it, and the pictures.

    `folder` is for pictures of other proportions than the network's, or has pictures of any kind.
    """
    model = _trained(case.scaling, case.reading, case.seed, folder)
    dataset = square_hands() if folder is None else wide_hands(folder)
    permuted = keras.models.clone_model(model)
    *others, kernel, bias = model.get_weights()
    permuted.set_weights([*others, kernel[:, list(case.order)], bias[list(case.order)]])
    return replace(examine(permuted, scaling="none"), scaling="none"), dataset


def answers(truth: NDArray[np.int64], share: float, classes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Probabilities (n, classes) of a model that is right on this share, and says anything of the others."""
    said = np.where(rng.random(len(truth)) < share, truth, rng.integers(0, classes, len(truth)))
    given = rng.dirichlet(np.full(classes, 0.5), len(truth))
    given[np.arange(len(truth)), said] += 1
    return np.asarray(given / given.sum(axis=1, keepdims=True))
