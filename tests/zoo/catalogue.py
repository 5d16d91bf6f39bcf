"""Who is in the zoo: each classifier's name, its pictures, and how it is had, trained here or made by others."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from keras import applications

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.hands import LABELS, draw_hands
from signs_builder.data.sources import load_dataset
from signs_builder.network.model_file import Opened, load_model, open_model, save_model
from signs_export.config import Scaling
from signs_export.source.reference import Reference, examine
from signs_export.source.scaling import scale

from .small_networks import BODIES, SIDE, small_network

Group = Literal["layers", "families", "trained", "real"]
_FAMILY_SIDE, _TRAINED_SIDE = 96, 64
REAL = "SIGNS_REAL"  # the variable that names the folder of other people's models and pictures


@dataclass(frozen=True)
class Training:
    """On how many drawn hands, for how long, an architecture is trained."""

    side: int
    pictures: int
    tested: int
    epochs: int
    rate: float = 1e-3
    decays: bool = False  # the rate, to nothing


@dataclass(frozen=True)
class Animal:
    """One classifier of the zoo; `make` gives it untrained, or as other people trained it."""

    name: str
    group: Group
    make: Callable[[], keras.Model | Opened]
    training: Training | None = None
    data: Path | None = None  # pictures, where others trained it
    scaling: Scaling | None = None

    def load(self, seed: int, models: Path) -> tuple[Reference, Dataset]:
        """The classifier and its pictures; what is trained here is kept in `models` for the next time."""
        if self.training is None:
            reference = examine(self.make(), scaling=self.scaling)
            return reference, _first_classes(load_dataset(str(self.data)), reference.classes)
        dataset = drawn(self.training, seed)
        file = models / f"{self.group}_{self.name}_{seed}.keras"
        if not file.exists():
            models.mkdir(parents=True, exist_ok=True)
            model = train(self.make, self.training, dataset, self.scaling or "none", seed)
            save_model(model, file)
        return examine(load_model(file), scaling=self.scaling), dataset


def drawn(training: Training, seed: int) -> Dataset:
    """Hands drawn for this training: pixels."""
    train = draw_hands(training.pictures, size=training.side, seed=seed)
    test = draw_hands(training.tested, size=training.side, seed=seed, first=training.pictures)
    return Dataset("hands", LABELS, Split(*train), None, Split(*test))


def _first_classes(dataset: Dataset, count: int) -> Dataset:
    """The data set of the first labels alone."""

    def kept(split: Split) -> Split:
        return split.part(np.flatnonzero(split.labels < count))

    validation = None if dataset.validation is None else kept(dataset.validation)
    return replace(
        dataset,
        labels=dataset.labels[:count],
        train=kept(dataset.train),
        validation=validation,
        test=kept(dataset.test),
    )


def train(
    make: Callable[[], keras.Model], training: Training, dataset: Dataset, scaling: Scaling, seed: int
) -> keras.Model:
    """Train a new model of this make."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = make()
    for layer in model._flatten_layers() if training.decays else ():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # Keras's families have 0.99 and 0.999, for trainings of many thousand steps
    steps = training.epochs * -(-training.pictures // 32)
    rate = keras.optimizers.schedules.CosineDecay(training.rate, steps) if training.decays else training.rate
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    images = scale(np.asarray(dataset.train.pictures).astype("float32"), scaling)
    model.fit(images, dataset.train.labels, epochs=training.epochs, batch_size=32, verbose=0)
    return model


# Keras's name, and what its pictures are scaled by before it; None: it scales them itself.
_FAMILIES: dict[str, Scaling | None] = {
    "Xception": "tf",
    "VGG16": "caffe",
    "VGG19": "caffe",
    "ResNet50": "caffe",
    "ResNet50V2": "tf",
    "InceptionV3": "tf",
    "InceptionResNetV2": "tf",
    "MobileNet": "tf",
    "MobileNetV2": "tf",
    "MobileNetV3Small": None,
    "DenseNet121": "torch",
    "NASNetMobile": "tf",
    "EfficientNetB0": None,
    "EfficientNetV2B0": None,
    "ConvNeXtTiny": None,
}
# Those that int8 is judged by, and how Keras's families are made for them.
_TRAINED: dict[str, dict[str, object]] = {
    "MobileNet": {"alpha": 0.5},
    "MobileNetV2": {"alpha": 0.5},
    "MobileNetV3Small": {},
    "EfficientNetB0": {},
}
_TRAINED_SMALL = ("plain_stack", "branches")
# Other people's classifiers: their pictures, and the scaling of their training.
_REAL: dict[str, tuple[str, Scaling | None]] = {
    "animals_2024.keras": ("animals", None),
    "cifar_2019.h5": ("cifar", "unit"),
    "fashion_rank3_2024.h5": ("fashion", "unit"),
    "flowers_2025.keras": ("flowers", "unit"),
    "gestures_2018.h5": ("gestures", "none"),
    "leaves_2023.keras": ("leaves", None),
    "leaves_savedmodel": ("leaves", None),
    "mini_xception_2017.hdf5": ("digits", "tf"),
    "mnist_2019.h5": ("digits", "none"),
    "mnist_flat784_2024.h5": ("digits", "unit"),
    "mobilenet_sigmoid_2018.h5": ("pets", "tf"),
    "pets_sigmoid_2018.h5": ("pets", "unit"),
    "pets_softmax_2020.h5": ("pets", "unit"),
    "squeeze_excite_2024.hdf5": ("digits", "unit"),
    "teachable_digits.h5": ("digits", "tf"),
    "teachable_fruit.h5": ("fruit", "tf"),
    "tomato_batch32_2025.keras": ("tomato", None),
    "traffic_signs_2023.h5": ("traffic_signs", "none"),
}
# Trained three times, to tell an architecture's doing from one training's.
THRICE = (
    "separable_normed",
    "squeeze_excite",
    "vision_transformer",
    "convnext_blocks",
    "preactivated",
    "inverted_residuals",
    "dense_blocks",
    "branches",
    "group_normed",
    "activation_swish",
    "plain_stack",
    "shared_layers",
)
_SMALL = Training(SIDE, pictures=900, tested=120, epochs=20, rate=3e-3)
_LIGHTLY = Training(_FAMILY_SIDE, pictures=300, tested=100, epochs=3)
_PROPERLY = Training(_TRAINED_SIDE, pictures=4800, tested=600, epochs=30, rate=3e-3, decays=True)


def catalogue() -> list[Animal]:
    """All classifiers of the zoo; other people's where `SIGNS_REAL` names their folder."""
    return [
        *(Animal(name, "layers", partial(small_network, name), _SMALL) for name in BODIES),
        *(
            Animal(name, "families", partial(_family, name, _FAMILY_SIDE), _LIGHTLY, scaling=scaling)
            for name, scaling in _FAMILIES.items()
        ),
        *(
            Animal(
                name, "trained", partial(_family, name, _TRAINED_SIDE, **options), _PROPERLY, scaling=_FAMILIES[name]
            )
            for name, options in _TRAINED.items()
        ),
        *(Animal(name, "trained", partial(small_network, name, _TRAINED_SIDE), _PROPERLY) for name in _TRAINED_SMALL),
        *(_real_ones(Path(os.environ[REAL])) if REAL in os.environ else ()),
    ]


def _family(name: str, side: int, **options: object) -> keras.Model:
    make = getattr(applications, name)
    model: keras.Model = make(weights=None, input_shape=(side, side, 3), classes=len(LABELS), **options)
    return model


def _real_ones(folder: Path) -> list[Animal]:
    return [
        Animal(
            Path(name).stem,
            "real",
            partial(open_model, folder / "models" / name),
            None,
            folder / "pictures" / pictures,
            scaling,
        )
        for name, (pictures, scaling) in _REAL.items()
    ]
