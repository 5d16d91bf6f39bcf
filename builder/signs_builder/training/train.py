"""Trains a Keras model on a data set with Keras's own fit, with a checkpoint after each epoch to resume from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hands
from signs_builder.errors import ModelError
from signs_builder.progress import Progress, no_progress
from signs_builder.training.allocator import freed_memory_kept
from signs_builder.training.batches import Batches, Teach, open_pictures, steps_per_epoch
from signs_builder.training.checkpoint import Checkpoint
from signs_builder.training.faster_layers import faster_layers
from signs_builder.training.recipe import TrainConfig
from signs_builder.training.state import Epoch, State, Training
from signs_builder.training.strategy import Spread, check_same_start
from signs_builder.training.validation import Validation
from signs_runtime.pictures.input_spec import InputSpec

DRAWN, DRAWN_SEED = 1080, 2  # hands to mix in; the embedded data set has seed 0, the demo seed 1


@dataclass(frozen=True)
class Setup:
    """How a training runs on this machine. What it learns is up to the recipe."""

    checkpoint: Checkpoint | None = None  # where each complete epoch is saved
    resume: bool = False  # continue after the last epoch that the checkpoint holds
    decode_to: Path | None = None  # a file for pixels that do not fit into memory
    callbacks: Sequence[keras.callbacks.Callback] = ()
    spread: Spread = Spread()  # noqa: RUF009  # frozen; the devices of the model
    teach: Teach | None = None  # a teacher's answers, if the recipe uses them

    def start(self, model: keras.Model) -> State:
        """Restore the checkpoint's last epoch into a compiled model, or start before the first epoch."""
        resumed = self.checkpoint.restore(model) if self.checkpoint and self.resume else None
        state = resumed or State([])
        check_same_start(self.spread, len(state.epochs))
        return state


def training_splits(dataset: Dataset, config: TrainConfig) -> tuple[Split, Split | None]:
    """The pictures to train on, and those to choose the best epoch on (None unless the recipe validates).

    If a data set has no validation pictures, a tenth of its training pictures is held out for it.
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
    setup: Setup = Setup(),  # frozen
    *,
    title: str = "Training",
    progress: Progress = no_progress,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """Train `model`, which maps pixels as in `spec` to probabilities; at the end it has its best weights.

    `title` names the training in its progress. `on_epoch` also gets the earlier epochs of a resumed training. Raises
    ImageError if a picture cannot be read, ModelError if the loss or a weight becomes NaN or infinite, DiskFullError if
    a checkpoint cannot be written.
    """
    training, apart = training_splits(dataset, config)
    read = open_pictures(training, spec, setup.decode_to, progress=progress)
    validation = None if apart is None else Validation(open_pictures(apart, spec, progress=progress), apart.labels)
    _compile(model, config, steps_per_epoch(len(training), config, setup.spread), setup.spread)
    state = setup.start(model)
    for epoch in state.epochs:
        on_epoch(epoch)
    watch = _Watch(model, config, setup, validation, state, on_epoch)
    if len(state.epochs) < config.epochs and not watch.is_over:
        batches = Batches(
            read,
            training.labels,
            len(dataset.labels),
            config,
            first_epoch=len(state.epochs) + 1,
            spread=setup.spread,
            drawn=_drawn_hands(dataset, config, spec),
            teach=setup.teach,
        )
        with progress(title, batches.steps_per_epoch * config.epochs) as on_step:
            _fit(model, batches, watch, on_step)
    if state.best_weights is not None:
        model.set_weights(state.best_weights)
    return Training(tuple(state.epochs), state.best_epoch or len(state.epochs), watch.is_over)


class _Watch:
    """Runs after each epoch: extends `state`, saves and reports it, and may end the training."""

    def __init__(
        self,
        model: keras.Model,
        config: TrainConfig,
        setup: Setup,
        validation: Validation | None,
        state: State,
        on_epoch: Callable[[Epoch], None],
    ) -> None:
        self.model = model
        self.config = config
        self.setup = setup
        self.validation = validation
        self.state = state
        self.on_epoch = on_epoch
        self.started = time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether patience has ended the training."""
        return self.state.is_out_of_patience(self.config.patience)

    def end_of_epoch(self, index: int, logs: dict[str, Any]) -> None:  # Any: Keras's own
        """Keras's on_epoch_end. Raises ModelError if the loss or a weight is NaN or infinite."""
        number, loss, accuracy = index + 1, float(logs["loss"]), float(logs["accuracy"])
        if not np.isfinite(loss):
            raise self._no_number(f"The loss of epoch {number} is {loss}")
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise self._no_number(f"After epoch {number}, some weights are NaN or infinite")
        measured = (None, None) if self.validation is None else self.validation.measure(self.model)
        epoch = Epoch(number, loss, accuracy, time.perf_counter() - self.started, *measured)
        self.state.epochs.append(epoch)
        if self.state.last_is_best:
            self.state.best_epoch, self.state.best_weights = number, self.model.get_weights()
        self.model.stop_training = self.is_over
        if self.setup.checkpoint and self.setup.spread.process == 0:
            self.setup.checkpoint.save(self.model, self.state)
        self.on_epoch(epoch)
        self.started = time.perf_counter()

    def _no_number(self, what: str) -> ModelError:
        checkpoint = self.setup.checkpoint
        kept = (
            f" First delete {checkpoint.path}, which holds the epoch before."
            if checkpoint and checkpoint.path.exists()
            else ""
        )
        return ModelError(f"{what}; train again with a smaller --learning-rate.{kept}")


def _fit(model: keras.Model, batches: Batches, watch: _Watch, on_step: Callable[[int], None]) -> None:
    """Run Keras's fit from the first epoch of `batches` on; raise a picture's error unchanged."""
    steps, done = batches.steps_per_epoch, batches.first_epoch - 1
    try:
        on_step(steps * done)
        with freed_memory_kept(), faster_layers(model):
            # One endless source for all epochs: ending a source takes seconds (benchmarks/training/epoch_time.py).
            model.fit(
                batches,
                steps_per_epoch=steps,
                epochs=watch.config.epochs,
                initial_epoch=done,
                callbacks=[
                    keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: on_step(1)),
                    keras.callbacks.LambdaCallback(on_epoch_end=watch.end_of_epoch),
                    *watch.setup.callbacks,
                ],
                shuffle=False,
                verbose=0,
            )
    except Exception:
        if batches.error is not None:  # the error of a picture, which Keras wraps
            raise batches.error from None
        raise
    finally:
        batches.close()


def _compile(model: keras.Model, config: TrainConfig, steps: int, spread: Spread) -> None:
    """Seed Keras, and compile the model for the recipe, to be trained or restored."""
    keras.utils.set_random_seed(config.seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = layer.momentum if config.batch_norm_momentum is None else config.batch_norm_momentum
            # On JAX, a batch is one array over all devices anyway, and Keras refuses this setting.
            layer.synchronized = spread.devices > 1 and keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer=keras.optimizers.Adam(_learning_rate(config, steps)),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)  # otherwise TensorFlow traces the step twice: 5 s for ResNet-50


def _learning_rate(config: TrainConfig, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The highest rate, or a linear rise to it and a cosine down from it (https://arxiv.org/abs/1608.03983)."""
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


def _drawn_hands(
    dataset: Dataset, config: TrainConfig, spec: InputSpec
) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """The hands to mix in, unless new ones are drawn each time. Raises ModelError for other labels than 0 to 5."""
    if (config.drawn_hands or config.folded) and dataset.labels != HANDS:
        raise ModelError(
            f"This recipe draws hands or folds their fingers, and needs the labels {', '.join(HANDS)}, but "
            f"{dataset.name} has the labels {', '.join(dataset.labels[:6])}. Choose --recipe pictures."
        )
    if config.all_ways or not config.drawn_hands:
        return None
    drawn = Split(*draw_hands(DRAWN, size=max(spec.height, spec.width), seed=DRAWN_SEED))
    return drawn.images(spec), drawn.labels
