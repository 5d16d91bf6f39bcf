"""Trains a Keras model on a data set: Keras's own fit, fed, watched, checkpointed and resumed epoch by epoch."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.allocator import freed_memory_kept
from signs_builder.batches import Batches, open_pictures, steps_per_epoch
from signs_builder.checkpoint import Checkpoint, State
from signs_builder.dataset import Dataset, Split
from signs_builder.errors import ModelError
from signs_builder.evaluate import BATCH, cross_entropy
from signs_builder.hands import draw_hands
from signs_builder.progress import Progress, no_progress
from signs_builder.recipe import HANDS, TrainConfig
from signs_builder.strategy import Spread, check_same_start
from signs_runtime.input_spec import InputSpec

DRAWN, DRAWN_SEED = 1080, 2  # hands to mix in; seeds 0 and 1 are the embedded data set's and the demo's


@dataclass(frozen=True)
class Epoch:
    """One line of a training: `number` counts from 1; losses and accuracies (0..1) are means over the epoch."""

    number: int
    loss: float
    accuracy: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Training:
    """How a training went: every epoch, and the one whose weights the model has now."""

    history: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool


def training_splits(dataset: Dataset, config: TrainConfig) -> tuple[Split, Split | None]:
    """What is trained on, and what the best epoch is chosen on: nothing, unless the recipe validates.

    A data set without validation pictures gives up a tenth of its training pictures to validate.
    """
    if not config.validate:
        return dataset.all_but_test, None
    if dataset.validation is not None:
        return dataset.train, dataset.validation
    return dataset.train.hold_out(f"{dataset.name} has no validation pictures and", np.random.default_rng(config.seed))


def train(
    model: keras.Model,
    dataset: Dataset,
    config: TrainConfig,
    spec: InputSpec,
    *,
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    cache: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    spread: Spread = Spread(),  # noqa: B008  # frozen
    title: str = "Training",
    progress: Progress = no_progress,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """Train `model`, which takes pixels as `spec` says and gives probabilities, and leave it with its best weights.

    With `checkpoint` each complete epoch is saved, and `resume` continues after the last one. `cache` is a file for
    pixels that do not fit into memory. `spread` says over what the model is spread, `title` what its progress is
    called. Raises ImageError for a picture that cannot be read, ModelError where the loss is no longer a number,
    DiskFullError where a checkpoint cannot be written.
    """
    training, validation = training_splits(dataset, config)
    read = open_pictures(training, spec, cache, progress=progress)
    read_validation = None if validation is None else open_pictures(validation, spec, progress=progress)
    steps = steps_per_epoch(len(training), config, spread)

    keras.utils.set_random_seed(config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = layer.momentum if config.batch_norm_momentum is None else config.batch_norm_momentum
            # On JAX a batch is one array over all devices anyway, and Keras refuses to be asked.
            layer.synchronized = spread.devices > 1 and keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer=keras.optimizers.Adam(_learning_rate(config, steps)),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice, 5 s of ResNet-50
    state = (checkpoint.restore(model) if checkpoint and resume else None) or State([])
    check_same_start(spread, len(state.epochs))
    history = [Epoch(**each) for each in state.epochs]
    for epoch in history:
        on_epoch(epoch)
    started = time.perf_counter()
    stopped = _ran_out_of_patience(history, state, config)

    def end_of_epoch(index: int, logs: dict[str, Any]) -> None:  # Any: Keras's own
        nonlocal started, stopped
        loss, accuracy = float(logs["loss"]), float(logs["accuracy"])
        if not np.isfinite(loss):
            raise ModelError(_no_number(f"The loss of epoch {index + 1} is {loss}", checkpoint))
        if not all(np.isfinite(weight).all() for weight in model.get_weights()):
            raise ModelError(_no_number(f"After epoch {index + 1} there are weights that are no numbers", checkpoint))
        measured: dict[str, float] = {}
        if validation is not None and read_validation is not None:
            starts = range(0, len(validation), BATCH)
            chunks = (range(start, min(start + BATCH, len(validation))) for start in starts)
            answers = [predict(model, np.stack([read_validation(i) for i in chunk])) for chunk in chunks]
            probabilities = np.concatenate(answers)
            measured["validation_loss"] = cross_entropy(probabilities, validation.labels)
            measured["validation_accuracy"] = float((probabilities.argmax(axis=1) == validation.labels).mean())
        epoch = Epoch(index + 1, loss, accuracy, time.perf_counter() - started, **measured)
        history.append(epoch)
        state.epochs.append(asdict(epoch))
        if validation is not None and epoch.number == _best(history):
            state.best_epoch, state.best_weights = epoch.number, model.get_weights()
        stopped = _ran_out_of_patience(history, state, config)
        model.stop_training = stopped
        if checkpoint and spread.process == 0:
            checkpoint.save(model, state)
        on_epoch(epoch)
        started = time.perf_counter()

    report = keras.callbacks.LambdaCallback(on_epoch_end=end_of_epoch)
    if len(history) < config.epochs and not stopped:
        batches = Batches(
            read,
            training.labels,
            len(dataset.labels),
            config,
            first_epoch=len(history) + 1,
            spread=spread,
            drawn=_drawn_hands(dataset, config, spec),
        )
        try:
            with freed_memory_kept(), progress(title, steps * config.epochs) as on_step:
                on_step(steps * len(history))
                step = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: on_step(1))
                # One endless source for all epochs: TensorFlow takes seconds to end each, see benchmarks/epoch_time.py.
                model.fit(
                    batches,
                    steps_per_epoch=steps,
                    epochs=config.epochs,
                    initial_epoch=len(history),
                    callbacks=[step, report, *callbacks],
                    shuffle=False,
                    verbose=0,
                )
        except Exception:
            if batches.error is not None:  # a picture's own, which Keras wraps in its words
                raise batches.error from None
            raise
        finally:
            batches.close()
    if state.best_weights is not None:
        model.set_weights(state.best_weights)
    return Training(tuple(history), state.best_epoch or len(history), stopped)


def predict(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a model that takes pixels says of one batch: uint8 (n, *spec.shape) in, float32 (n, classes) out."""
    answers: NDArray[np.float32] = model.predict_on_batch(images)
    return answers[: len(images)]  # a mirrored model answers once for each device


def _no_number(what: str, checkpoint: Checkpoint | None) -> str:
    kept = (
        f" {checkpoint.path} holds the epoch before; delete it first."
        if checkpoint and checkpoint.path.exists()
        else ""
    )
    return f"{what}; train again with a smaller --learning-rate.{kept}"


def _drawn_hands(
    dataset: Dataset, config: TrainConfig, spec: InputSpec
) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    if not config.drawn_hands:
        return None
    if dataset.labels != HANDS:
        raise ModelError(
            f"This recipe mixes drawn hands in, which show {', '.join(HANDS)}; {dataset.name} shows "
            f"{', '.join(dataset.labels[:6])}. Choose --recipe pictures."
        )
    drawn = Split(*draw_hands(DRAWN, size=max(spec.height, spec.width), seed=DRAWN_SEED))
    return drawn.images(spec), drawn.labels


def _learning_rate(config: TrainConfig, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The highest rate, or a straight line up to it and a cosine down from it (https://arxiv.org/abs/1608.03983)."""
    if config.last_learning_rate is None:
        return config.learning_rate
    warmup = min(config.warmup_epochs, config.epochs - 1) * steps
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        config.epochs * steps - warmup,
        alpha=config.last_learning_rate / config.learning_rate,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _best(history: Sequence[Epoch]) -> int:
    """The epoch with the most validation pictures right; of several, the one with the smallest loss."""
    return max(history, key=lambda each: (each.validation_accuracy or 0.0, -_known(each.validation_loss))).number


def _known(loss: float | None) -> float:
    return math.inf if loss is None else loss


def _ran_out_of_patience(history: Sequence[Epoch], state: State, config: TrainConfig) -> bool:
    if config.patience is None or state.best_epoch is None:
        return False
    return len(history) - state.best_epoch >= config.patience
