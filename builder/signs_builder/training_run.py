"""One training as commands run it: its options, its progress, its figures."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.recipe import DATA_PARALLEL, RECIPES, STRATEGIES, TrainConfig, choose_config
from signs_runtime.cli import gathered, print_table
from signs_runtime.errors import SignsError
from signs_runtime.input_spec import InputSpec

if TYPE_CHECKING:
    import keras

    from signs_builder.dataset import Dataset
    from signs_builder.evaluate import Figures
    from signs_builder.strategy import Spread
    from signs_builder.train import Training

MAX_CONFUSION = 12  # classes: a wider table cannot be read


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says about a training; None where it says nothing."""

    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    seed: int | None
    validate: bool
    patience: int | None
    init_weights: Path | None
    resume: bool
    cache: Path | None
    tensorboard: bool
    strategy: str | None
    mixed_precision: bool | None

    def given(self) -> list[str]:
        """The options that were used."""
        flags = {"validate", "resume", "tensorboard"}  # of which False says nothing
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        used = [name for name, value in named if value is not None and not (name in flags and not value)]
        return [f"--{name.replace('_', '-')}" for name in used]

    def config(self, labels: tuple[str, ...]) -> TrainConfig:
        """The recipe for pictures with these labels, with what the command line sets otherwise."""
        return choose_config(
            self.recipe,
            labels,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=self.seed,
            validate=self.validate or self.patience is not None or None,
            patience=self.patience,
        )


_OPTIONS = (
    click.option(
        "--recipe",
        type=click.Choice(list(RECIPES)),
        help="How to train.  [default: hands for pictures labelled 0 to 5, pictures for others]",
    ),
    click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]"),
    click.option("--batch-size", type=click.IntRange(min=1), help="[default: the recipe's]"),
    click.option(
        "--learning-rate",
        type=click.FloatRange(min=0, min_open=True, max=1),
        help="The highest.  [default: the recipe's]",
    ),
    click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="[default: the recipe's]"),
    click.option(
        "--validate", is_flag=True, help="Train without the validation pictures; keep the epoch that does best on them."
    ),
    click.option(
        "--patience",
        type=click.IntRange(min=1),
        help="Validate, and stop after so many epochs without a better one.",
    ),
    click.option(
        "--init-weights",
        type=click.Path(path_type=Path),
        help="Start from the layers of the same name in this .keras or .h5 file.",
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted training after its last complete epoch."),
    click.option(
        "--cache",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Keep the decoded pictures in this .npy file instead of memory; it is written anew.",
    ),
    click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs."),
    click.option(
        "--strategy",
        type=click.Choice(STRATEGIES),
        help="Spread over the GPUs of this host (TensorFlow), or over all devices of all hosts (JAX).",
    ),
    click.option(
        "--mixed-precision/--no-mixed-precision",
        default=None,
        help="Compute in bfloat16; the saved model is float32 all the same.  [default: where there is a GPU]",
    ),
)

training_options = gathered("training", TrainingOptions, _OPTIONS)  # how to train


@dataclass(frozen=True)
class Run:
    """A finished training: the model, how it was trained and how good it is; `forget` deletes what --resume needs."""

    model: "keras.Model"
    config: TrainConfig
    training: "Training"
    figures: "Figures"
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
    """Train ResNet-50 with a progress bar and a line an epoch, and measure it; the checkpoint is in `folder`.

    `check` gets the untrained network, to refuse early what would fail late.
    """
    import keras

    from signs_builder.checkpoint import Checkpoint
    from signs_builder.errors import DiskFullError, ModelError, StrategyError
    from signs_builder.evaluate import evaluate
    from signs_builder.init_weights import load_init_weights
    from signs_builder.model_file import bare_copy
    from signs_builder.progress import progress_bar
    from signs_builder.strategy import mixed_precision, spread
    from signs_builder.train import predict, train

    if options.cache is not None and options.cache.suffix != ".npy":
        raise click.UsageError(f"--cache {options.cache} must end in .npy; a file of that name is overwritten.")
    config = options.config(dataset.labels)
    with progress_bar("Looking at the test pictures", len(dataset.test)) as on_done:
        dataset.test.check(spec, on_done)  # before the training, not after it
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ModelError("--tensorboard needs the package tensorboard: pip install 'signs-edge[tensorboard]'.")
    if config.validate and options.strategy == DATA_PARALLEL:
        raise StrategyError(f"--strategy {DATA_PARALLEL} cannot validate: each process sees a part of the answers.")
    with spread(options.strategy) as over:
        with mixed_precision(options.mixed_precision):
            model = new_model(dataset, config, spec)
        check(model)
        checkpoint = Checkpoint(
            folder / "checkpoint.npz",
            {
                "data": dataset.sha256(),
                "input": asdict(spec),
                "network": model.name,
                "backend": keras.backend.backend(),
                "precision": model.dtype_policy.name,
                "devices": over.devices,
                **asdict(config),
            },
        )
        checkpoint.check(model, resume=options.resume)
        if options.resume and not checkpoint.path.exists():
            click.echo(f"{checkpoint.path} does not exist: nothing to resume, so this starts anew.", err=True)
        if options.init_weights:
            click.echo(
                f"{options.init_weights}: {load_init_weights(model, options.init_weights).describe()}.", err=True
            )
        try:
            training = train(
                model,
                dataset,
                config,
                spec,
                checkpoint=checkpoint,
                resume=options.resume,
                cache=options.cache,
                callbacks=[keras.callbacks.TensorBoard(folder / "tensorboard")] if options.tensorboard else [],
                spread=over,
                progress=progress_bar,
                on_epoch=lambda epoch: _show_epoch(epoch, config, err=as_json or over.process > 0),
            )
        except BaseException as error:
            if checkpoint.path.exists() and (isinstance(error, DiskFullError) or not isinstance(error, SignsError)):
                click.echo(f"{checkpoint.path} holds the last complete epoch: continue with --resume.", err=True)
            raise
    measured = bare_copy(model)
    figures = evaluate(
        lambda images: predict(measured, images), dataset.test, dataset.labels, spec, progress=progress_bar
    )
    return Run(measured, config, training, figures, folder, over, checkpoint.remove)


def new_model(dataset: "Dataset", config: TrainConfig, spec: InputSpec) -> "keras.Model":
    """An untrained ResNet-50 for these pictures."""
    import keras

    from signs_builder.resnet import resnet50, start_independently

    keras.utils.set_random_seed(config.seed)
    model = resnet50(spec.shape, len(dataset.labels))
    if config.independent_start:
        start_independently(model, config.seed)
    return model


def show_run(run: Run, dataset: "Dataset", spec: InputSpec, *, as_json: bool) -> None:
    """Write figures and pictures to the run's folder, and show the figures, on stderr where stdout is a machine's.

    Then nothing is left to resume: what the checkpoint held is deleted.
    """
    from signs_builder.charts import draw_confusion, draw_curves, draw_wrong

    run.folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(run.as_json(), indent=2, ensure_ascii=False)
    (run.folder / "training.json").write_text(f"{document}\n", encoding="utf-8")
    draw_curves(run.training, run.folder / "curves.png")
    draw_confusion(run.figures, run.folder / "confusion.png")
    draw_wrong(run.figures, dataset.test, spec, run.folder / "wrong.png")
    run.forget()
    show_figures(run.figures, err=as_json)
    click.echo(f"Pictures and figures of the training: {run.folder}/", err=as_json)


def show_figures(figures: "Figures", *, err: bool = False) -> None:
    """Accuracy, per class with confusion, and the shift suite."""
    click.echo(f"Test loss = {figures.loss:.4f}\nTest accuracy = {figures.accuracy.share:.4f}", err=err)
    click.echo(f"Test pictures right: {figures.accuracy}\n", err=err)
    if len(figures.labels) <= MAX_CONFUSION:
        rows = [
            [label, *("." if not count else str(count) for count in row), _percent(figures.per_class.get(label))]
            for label, row in zip(figures.labels, figures.confusion, strict=True)
        ]
        print_table(rows, ("shown \\ said", *figures.labels, "right"), err=err)
    else:
        worst = sorted(figures.per_class.items(), key=lambda each: each[1].share)[:MAX_CONFUSION]
        print_table([[label, str(each)] for label, each in worst], ("worst classes", "right"), err=err)
    if figures.mean_of_shifts is not None:
        click.echo(err=err)
        rows = [[name, _percent(each)] for name, each in figures.shifts.items()]
        print_table([*rows, ["mean", f"{figures.mean_of_shifts:.1%}"]], ("shift suite", "right"), err=err)


def _percent(accuracy: Any) -> str:  # Any: Accuracy or None
    return "-" if accuracy is None else f"{accuracy.share:.1%}"


def _show_epoch(epoch: Any, config: TrainConfig, *, err: bool) -> None:  # Any: train.Epoch
    validation = ""
    if epoch.validation_loss is not None:
        validation = f"  validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.4f}"
    # Not click.echo, which would write into the bar: rich moves what goes to sys.stdout and sys.stderr above it.
    print(
        f"Epoch {epoch.number}/{config.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}{validation}  "
        f"({epoch.seconds:.0f} s)",
        file=sys.stderr if err else sys.stdout,
        flush=True,
    )
