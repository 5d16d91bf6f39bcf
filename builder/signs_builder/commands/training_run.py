"""Runs one training for a command: its options, its progress, and the files in its folder."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands.figures import show_figures
from signs_builder.training.recipe import DATA_PARALLEL, RECIPES, STRATEGIES, TAUGHT, TrainConfig, choose_config
from signs_runtime.bundle.strict_json import as_json
from signs_runtime.commands.shared import gathered
from signs_runtime.errors import SignsError
from signs_runtime.pictures.input_spec import InputSpec

if TYPE_CHECKING:
    import keras

    from signs_builder.data.dataset import Dataset
    from signs_builder.evaluation.evaluate import Figures
    from signs_builder.training.checkpoint import Checkpoint
    from signs_builder.training.state import Epoch, Training
    from signs_builder.training.strategy import Spread


@dataclass(frozen=True)
class TrainingOptions:
    """The training options of a command line; None for an option that was not used."""

    recipe: str | None
    width: float | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    seed: int | None
    teacher: Path | None = None
    validate: bool = False
    patience: int | None = None
    init_weights: Path | None = None
    resume: bool = False
    decode_to: Path | None = None
    tensorboard: bool = False
    strategy: str | None = None
    mixed_precision: bool | None = None

    def given(self) -> list[str]:
        """The options that were used, as written on the command line."""
        flags = {"validate", "resume", "tensorboard"}  # False: not used
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        used = [name for name, value in named if value is not None and not (name in flags and not value)]
        return [f"--{name.replace('_', '-')}" for name in used]

    def config(self, labels: tuple[str, ...]) -> TrainConfig:
        """The recipe for pictures with these labels, with the command line's changes."""
        return choose_config(
            self.recipe,
            labels,
            width=self.width,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
            validate=self.validate or self.patience is not None or None,
            patience=self.patience,
        )


_OF_EVERY_TRAINING = (
    click.option(
        "--recipe",
        type=click.Choice(list(RECIPES)),
        show_default="hands for the labels 0 to 5, otherwise pictures",
        help="Training recipe.",
    ),
    click.option(
        "--width",
        type=click.FloatRange(min=0, min_open=True, max=1),
        show_default="1: all filters",
        help="Share of ResNet-50's filters; 0.375 is several times as fast.",
    ),
    click.option("--epochs", type=click.IntRange(min=1), show_default="the recipe's", help="Number of epochs."),
    click.option("--batch-size", type=click.IntRange(min=1), show_default="the recipe's", help="Pictures per step."),
    click.option(
        "--learning-rate",
        type=click.FloatRange(min=0, min_open=True, max=1),
        show_default="the recipe's",
        help="The highest learning rate of the schedule.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0, max=2**32 - 1), show_default="the recipe's", help="Seed of all randomness."
    ),
)
_OF_ONE_TRAINING = (
    click.option(
        "--teacher",
        type=click.Path(path_type=Path),
        help="Keras model whose answers are learned as well; it must take the same pictures and know the same labels.",
    ),
    click.option(
        "--validate",
        is_flag=True,
        help="Train without the validation pictures, and keep the epoch that does best on them.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(min=1),
        help="Validate, and stop after this many epochs without improvement.",
    ),
    click.option(
        "--init-weights",
        type=click.Path(path_type=Path),
        help="Start from the weights in this .keras or .h5 file, for all layers with the same name.",
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted training after its last complete epoch."),
    click.option(
        "--decode-to",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Keep decoded pictures in this .npy file instead of in memory. An earlier training's file is replaced.",
    ),
    click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs."),
    click.option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        help="Train on all GPUs of this host (mirrored; TensorFlow) or all devices of all hosts (data-parallel; JAX).",
    ),
    click.option(
        "--mixed-precision/--no-mixed-precision",
        default=None,
        show_default="on if there is a GPU",
        help="Compute in bfloat16. The saved model is float32 either way.",
    ),
)

training_options = gathered("training", TrainingOptions, (*_OF_EVERY_TRAINING, *_OF_ONE_TRAINING))
fold_options = gathered("training", TrainingOptions, _OF_EVERY_TRAINING)  # for cross-validation


@dataclass(frozen=True)
class Run:
    """A finished training: the model, how it was trained and how good it is. `forget` deletes the checkpoint."""

    model: "keras.Model"
    config: TrainConfig
    training: "Training"
    figures: "Figures"
    caveats: tuple[str, ...]  # of the data set, on the figures
    folder: Path
    spread: "Spread"
    forget: Callable[[], None]

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """For machines."""
        return {
            "config": asdict(self.config),
            "history": [asdict(epoch) for epoch in self.training.history],
            "kept_epoch": self.training.kept_epoch,
            "stopped_early": self.training.stopped_early,
            "test": self.figures.as_json(),
            "caveats": list(self.caveats),
        }


def run_training(
    dataset: "Dataset",
    spec: InputSpec,
    options: TrainingOptions,
    folder: Path,
    *,
    check: Callable[["keras.Model"], None],
    as_json: bool,
) -> Run:
    """Train ResNet-50 and measure it, with a progress bar and one line per epoch; the checkpoint is in `folder`.

    `check` gets the untrained network before the training starts, so that it can raise errors early.
    """
    import keras

    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.evaluation.evaluate import evaluate
    from signs_builder.network.model_file import bare_copy
    from signs_builder.training.checkpoint import Checkpoint
    from signs_builder.training.strategy import mixed_precision, spread
    from signs_builder.training.teacher import open_teacher
    from signs_builder.training.train import Setup, train
    from signs_builder.training.validation import predict

    config = options.config(dataset.labels)
    _refuse_early(dataset, config, spec, options)
    teacher = None if options.teacher is None else open_teacher(options.teacher, dataset, spec)
    if teacher is not None:
        config = replace(config, taught=TAUGHT, teacher=teacher.sha256)
    with spread(options.strategy) as over:
        with mixed_precision(options.mixed_precision):
            model = new_model(dataset, config, spec)
        check(model)
        checkpoint = Checkpoint(folder / "checkpoint.npz", _identity(model, dataset, config, spec, over))
        _check_start(checkpoint, model, options)
        logs = [keras.callbacks.TensorBoard(folder / "tensorboard")] if options.tensorboard else []
        with _saying_how_to_go_on(checkpoint):
            training = train(
                model,
                dataset,
                config,
                spec,
                Setup(checkpoint, options.resume, options.decode_to, logs, over, teacher),
                progress=progress_bar,
                on_epoch=lambda epoch: _show_epoch(epoch, config, err=as_json or over.process > 0),
            )
    measured = bare_copy(model)
    figures = evaluate(
        lambda images: predict(measured, images), dataset.test, dataset.labels, spec, progress=progress_bar
    )
    return Run(measured, config, training, figures, dataset.caveats, folder, over, checkpoint.remove)


def _refuse_early(dataset: "Dataset", config: TrainConfig, spec: InputSpec, options: TrainingOptions) -> None:
    """Raise errors before the training that would otherwise come up during it or at its end."""
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.errors import ModelError, StrategyError
    from signs_builder.training.batches import check_decode_to

    if options.decode_to is not None:
        if options.decode_to.suffix != ".npy":
            raise click.UsageError(f"--decode-to {options.decode_to} must end in .npy.")
        check_decode_to(options.decode_to)
    with progress_bar("Checking the pictures", sum(dataset.counts.values())) as on_done:
        dataset.check(spec, on_done)
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ModelError("--tensorboard needs the package tensorboard: pip install tensorboard.")
    if options.teacher is not None and options.strategy == DATA_PARALLEL:
        raise StrategyError(f"--strategy {DATA_PARALLEL} does not work with --teacher; leave one of them out.")
    if config.validate and options.strategy == DATA_PARALLEL:
        raise StrategyError(f"--strategy {DATA_PARALLEL} cannot validate; leave out --validate and --patience.")


def _identity(
    model: "keras.Model", dataset: "Dataset", config: TrainConfig, spec: InputSpec, over: "Spread"
) -> dict[str, Any]:  # Any: JSON
    """The settings that a checkpoint must share with the training that resumes from it."""
    import keras

    return {
        "data": dataset.sha256(),
        "input": as_json(spec),
        "network": model.name,
        "backend": keras.backend.backend(),
        "precision": model.dtype_policy.name,
        "devices": over.devices,
        **asdict(config),
    }


def _check_start(checkpoint: "Checkpoint", model: "keras.Model", options: TrainingOptions) -> None:
    """Check the checkpoint, and load the initial weights if there are any."""
    from signs_builder.network.init_weights import load_init_weights

    checkpoint.check(model, resume=options.resume)
    if options.resume and not checkpoint.path.exists():
        click.echo(f"There is no checkpoint at {checkpoint.path}; starting from the first epoch.", err=True)
    if options.init_weights:
        click.echo(f"{options.init_weights}: {load_init_weights(model, options.init_weights).describe()}.", err=True)


@contextmanager
def _saying_how_to_go_on(checkpoint: "Checkpoint") -> Iterator[None]:
    """If a training breaks off inside this context, print that --resume continues it, if it can."""
    from signs_builder.errors import DiskFullError

    try:
        yield
    except BaseException as error:
        if checkpoint.path.exists() and (isinstance(error, DiskFullError) or not isinstance(error, SignsError)):
            click.echo(f"{checkpoint.path} holds the last complete epoch; continue with --resume.", err=True)
        raise


def new_model(dataset: "Dataset", config: TrainConfig, spec: InputSpec) -> "keras.Model":
    """Build an untrained ResNet-50 for these pictures."""
    import keras

    from signs_builder.network.resnet import resnet50, start_independently

    keras.utils.set_random_seed(config.seed)
    model = resnet50(spec.shape, len(dataset.labels), width=config.width)
    if config.independent_start:
        start_independently(model, config.seed)
    return model


def write_run(run: Run, dataset: "Dataset", spec: InputSpec) -> None:
    """Write figures and charts to the run's folder, then delete the checkpoint, which is no longer needed."""
    from signs_builder.charts import draw_confusion, draw_curves, draw_wrong

    run.folder.mkdir(parents=True, exist_ok=True)
    # json escapes to ASCII, because a picture's name may not be valid text.
    (run.folder / "training.json").write_text(f"{json.dumps(run.as_json(), indent=2)}\n", encoding="utf-8")
    draw_curves(run.training, run.folder / "curves.png")
    draw_confusion(run.figures, run.folder / "confusion.png")
    draw_wrong(run.figures, dataset.test, spec, run.folder / "wrong.png")
    run.forget()


def show_run(run: Run, *, err: bool) -> None:
    """Print a run's figures. Call it after saving: printing fails if nobody reads the output any more."""
    show_figures(run.figures, run.caveats, err=err)
    click.echo(f"Charts and figures of the training: {run.folder}/", err=err)


def _show_epoch(epoch: "Epoch", config: TrainConfig, *, err: bool) -> None:
    validation = ""
    if epoch.validation_loss is not None:
        validation = f"  validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.4f}"
    with suppress(BrokenPipeError):  # the training continues even if nobody reads its output any more
        # print, not click.echo: rich moves what goes through sys.stdout and sys.stderr above the bar.
        print(
            f"Epoch {epoch.number}/{config.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}{validation}  "
            f"({epoch.seconds:.0f} s)",
            file=sys.stderr if err else sys.stdout,
            flush=True,
        )
