"""The commands `signs train` and `signs cross-validate`. Heavy imports happen only when a command runs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands.shared import (
    data_argument,
    describe_counts,
    image_size_option,
    spec_of_training,
    start_keras,
    training_reading_options,
)
from signs_builder.commands.training_run import (
    TrainingOptions,
    fold_options,
    new_model,
    run_training,
    show_run,
    training_options,
    write_run,
)
from signs_builder.training.recipe import TrainConfig
from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.pictures.input_spec import InputSpec, Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset


@click.command(cls=Command)
@data_argument
@training_options
@image_size_option()
@training_reading_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("model.keras"),
    show_default=True,
    help="Where to save the model. Figures and the checkpoint go to <output without .keras>.training/.",
)
@click.option(
    "--diagnose",
    type=click.Choice(["gradients"]),
    help="Instead of training, plot each stage's gradient norm over the first steps, with and without shortcuts.",
)
@json_option
def train(
    data: str,
    training: TrainingOptions,
    image_size: tuple[int, int] | None,
    reading: Reading,
    output: Path,
    diagnose: str | None,
    as_json: bool,
) -> None:
    """Train ResNet-50 on DATA: a folder of pictures, Coursera's HDF5 pair, or "synthetic" (the default)."""
    if output.suffix != ".keras":
        raise click.UsageError(f"--output {output} must end in .keras.")
    start_keras()
    from signs_builder.data.sources import load_dataset
    from signs_builder.network.model_file import check_output, save_model

    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    spec = spec_of_training(image_size, reading)
    folder = output.with_suffix(".training")
    if diagnose:
        _diagnose_gradients(dataset, training.config(dataset.labels), spec, folder, as_json=as_json)
        return
    run = run_training(
        dataset, spec, training, folder, check=lambda model: check_output(output, model), as_json=as_json
    )
    if run.spread.process > 0:  # one process saves for all
        return
    save_model(run.model, output)
    write_run(run, dataset, spec)
    show_run(run, err=as_json)
    if as_json:
        print_json({"model": str(output), "folder": str(folder), "data": _describe(dataset), **run.as_json()})
    else:
        click.echo(f"Saved {output}.")


def _describe(dataset: "Dataset") -> dict[str, Any]:  # Any: JSON
    return {
        "name": dataset.name,
        "labels": dataset.labels,
        "pictures": dataset.counts,
        "skipped": dataset.skipped,
        "passed_over": dataset.passed_over,
    }


def _diagnose_gradients(
    dataset: "Dataset", config: TrainConfig, spec: InputSpec, folder: Path, *, as_json: bool
) -> None:
    from signs_builder.charts import draw_gradients
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.training.gradients import STEPS, measure_gradients

    with progress_bar("Measuring gradients", 2 * STEPS) as on_step:
        norms = measure_gradients(dataset, config, spec, on_step=on_step)
    path = folder / "gradients.png"
    draw_gradients(norms, path)
    if as_json:
        print_json({"gradient_norms": norms, "picture": str(path)})
        return
    stages = next(iter(norms.values()))
    rows = [[stage, *(f"{stages_[stage][0]:.2e}" for stages_ in norms.values())] for stage in stages]
    print_table(rows, ("gradient at step 1", *norms))
    click.echo(f"Drew all {STEPS} steps in {path}.")


@click.command("cross-validate", cls=Command)
@data_argument
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Number of folds.")
@fold_options
@image_size_option()
@training_reading_options
@json_option
def cross_validate(
    data: str,
    folds: int,
    training: TrainingOptions,
    image_size: tuple[int, int] | None,
    reading: Reading,
    as_json: bool,
) -> None:
    """Split DATA's training pictures into folds; for each fold, train on the others and measure on it."""
    start_keras()
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.data.sources import load_dataset
    from signs_builder.training.cross_validation import cross_validated
    from signs_runtime.figures import Accuracy

    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    config = training.config(dataset.labels)
    spec = spec_of_training(image_size, reading)
    with progress_bar("Checking the pictures", len(dataset.all_but_test)) as on_done:
        dataset.all_but_test.check(spec, on_done)
    measured: list[Accuracy] = []
    for accuracy in cross_validated(
        dataset, folds, config, spec, lambda: new_model(dataset, config, spec), progress=progress_bar
    ):
        measured.append(accuracy)
        click.echo(f"Fold {len(measured)} of {folds}: {accuracy}", err=as_json)
    overall = Accuracy(sum(each.correct for each in measured), sum(each.total for each in measured))
    caveats = _fold_caveats(dataset)
    if as_json:
        print_json(
            {
                "data": _describe(dataset),
                "config": asdict(config),
                "folds": [each.as_json() for each in measured],
                **overall.as_json(),
                "caveats": caveats,
            }
        )
        return
    click.echo(f"All {folds} folds, {config.epochs} epochs each: {overall}")
    for caveat in caveats:
        click.echo(f"Note: {caveat}")


def _fold_caveats(dataset: "Dataset") -> list[str]:
    """Caveats on the folds' accuracy. Those on the test split do not apply: folds do not use it."""
    if not dataset.repeated:
        return []
    total = len(dataset.all_but_test)
    return [
        f"{dataset.repeated:,} of the {total:,} training pictures occur more than once, "
        "so a fold may be measured on copies of pictures that were trained on."
    ]
