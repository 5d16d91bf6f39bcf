"""Trains a Keras model on a data set, and measures it on the pictures that it has not seen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.dataset import Dataset
from signs_builder.errors import ModelError
from signs_builder.progress import ignore_progress
from signs_builder.recipe import TrainConfig
from signs_runtime.input_spec import InputSpec


@dataclass(frozen=True)
class Epoch:
    """One line of a training: `number` counts from 1; loss and accuracy (0..1) are means over the epoch."""

    number: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """How a training went and what came of it on the test split."""

    history: tuple[Epoch, ...]
    test_loss: float
    test_accuracy: float  # 0..1


def steps_in(dataset: Dataset, config: TrainConfig) -> int:
    """How many batches a training takes: what `on_step` will have counted at its end."""
    return -(-len(dataset.all_but_test) // config.batch_size) * config.epochs


def train(
    model: keras.Model,
    dataset: Dataset,
    config: TrainConfig,
    spec: InputSpec,
    *,
    on_step: Callable[[int], None] = ignore_progress,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """Train `model`, which takes pixels as `spec` says and gives probabilities, on every picture not for testing.

    Raises ImageError for a picture that cannot be read, before the first step, and ModelError where the loss is no
    longer a number.
    """
    training = dataset.all_but_test
    images, test_images = training.images(spec), dataset.test.images(spec)
    targets, test_targets = _one_hot(training.labels, dataset), _one_hot(dataset.test.labels, dataset)

    keras.utils.set_random_seed(config.seed)
    model.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    history: list[Epoch] = []
    model.fit(
        images,
        targets,
        epochs=config.epochs,
        batch_size=config.batch_size,
        callbacks=[_report(history, on_step, on_epoch)],
        verbose=0,
    )
    loss, accuracy = model.evaluate(test_images, test_targets, verbose=0)
    if not np.isfinite(loss):
        raise ModelError(f"The loss on the test split is {loss}; train with a smaller learning rate.")
    return Training(tuple(history), float(loss), float(accuracy))


def _one_hot(labels: NDArray[np.int64], dataset: Dataset) -> NDArray[np.float32]:
    return np.eye(len(dataset.labels), dtype=np.float32)[labels]


def _report(
    history: list[Epoch], on_step: Callable[[int], None], on_epoch: Callable[[Epoch], None]
) -> keras.callbacks.Callback:
    started = time.perf_counter()

    def end_of_epoch(index: int, logs: dict[str, Any]) -> None:  # Any: Keras's own
        nonlocal started
        now = time.perf_counter()
        epoch = Epoch(index + 1, float(logs["loss"]), float(logs["accuracy"]), now - started)
        started = now
        if not np.isfinite(epoch.loss):
            raise ModelError(f"The loss of epoch {epoch.number} is {epoch.loss}; train with a smaller learning rate.")
        history.append(epoch)
        on_epoch(epoch)

    return keras.callbacks.LambdaCallback(on_epoch_end=end_of_epoch, on_train_batch_end=lambda batch, logs: on_step(1))
