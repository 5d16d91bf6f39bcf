"""The command `build-and-export`, and `signs export` and `signs evaluate`. Heavy imports wait until a command runs."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands import DEFAULT_SIZE, describe_counts, start_keras
from signs_builder.errors import DatasetError
from signs_builder.recipe import SYNTHETIC
from signs_builder.training_run import TrainingOptions, run_training, show_figures, show_run, training_options
from signs_export.config import ExportConfig, Scaling
from signs_export.options import ExportOptions, export_options, scaling_option
from signs_runtime.cli import Command, json_option, print_json, print_table
from signs_runtime.commands import describe_memory, describe_speed
from signs_runtime.input_spec import InputSpec

if TYPE_CHECKING:
    import keras

    from signs_builder.dataset import Dataset
    from signs_export.reference import Reference


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", default=SYNTHETIC)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Start from this Keras classifier (.keras, .h5) instead of training.",
)
@scaling_option
@training_options
@export_options
@json_option
def build_and_export(
    data: str,
    model: Path | None,
    scaling: Scaling | None,
    training: TrainingOptions,
    options: ExportOptions,
    as_json: bool,
) -> None:
    """Train a classifier on DATA, export it to ONNX, prove it against Keras and seal it as a bundle.

    DATA is a folder of pictures, Coursera's HDF5 pair, or "synthetic" (the default). With --model nothing is trained,
    and DATA gives the labels and the pictures for the proof.

    Exit codes: 0 sealed, 1 an error that is explained, 2 wrong usage, 3 the export does not answer as Keras does.
    """
    if model is not None:
        if training.given():
            raise click.UsageError(f"{', '.join(training.given())}: nothing is trained with --model.")
        _export_file(model, data, scaling, options, as_json=as_json)
        return
    if scaling is not None:
        raise click.UsageError("--scaling is for a --model; one that is trained here rescales by itself.")
    start_keras()
    from signs_builder.model_file import check_output, save_model, weights_bytes
    from signs_builder.sources import load_dataset
    from signs_export.convert import check_backend
    from signs_export.reference import examine
    from signs_export.seal import check_destination

    check_backend()
    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    spec = InputSpec(*(options.image_size or DEFAULT_SIZE), resize=options.resize)
    output = options.output
    keras_file = output.with_name(f"{output.name}.keras")
    trained = output.with_name(f"{output.name}.trained.keras")  # until the bundle beside it is the same model's

    def check(network: "keras.Model") -> None:
        check_output(keras_file, network)
        check_destination(output, 5 * weights_bytes(network))  # the export's, and the saved model's

    folder = output.with_name(f"{output.name}.training")
    run = run_training(dataset, spec, training, folder, check=check, as_json=as_json)
    save_model(run.model, trained)
    show_run(run, dataset, spec, as_json=as_json)
    click.echo(f"Saved {trained}.", err=as_json)
    reference = examine(run.model, resize=options.resize)
    _seal(reference, dataset, output, options.config(run.config.seed), training=run.as_json(), as_json=as_json)
    trained.replace(keras_file)
    click.echo(f"Renamed it to {keras_file.name}, beside its bundle.", err=as_json)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", default=SYNTHETIC)
@scaling_option
@export_options
@json_option
def export(model: Path, data: str, scaling: Scaling | None, options: ExportOptions, as_json: bool) -> None:
    """Export MODEL (.keras, .h5) as a bundle, proved against Keras on DATA, which also gives the labels."""
    _export_file(model, data, scaling, options, as_json=as_json)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", default=SYNTHETIC)
@scaling_option
@click.option("--charts", type=click.Path(path_type=Path), help="Draw the confusion and the wrong pictures here.")
@json_option
def evaluate(model: Path, data: str, scaling: Scaling | None, charts: Path | None, as_json: bool) -> None:
    """Measure MODEL (.keras, .h5, .onnx or a bundle) on DATA's test pictures, and on the shift suite made of them."""
    from signs_runtime import Classifier
    from signs_runtime.bundle import is_model_file

    exported = model.is_dir() or is_model_file(model)
    if scaling is not None and exported:
        raise click.UsageError("--scaling is for a Keras model; an export scales by itself.")
    if not exported:
        start_keras()
    from signs_builder.charts import draw_confusion, draw_wrong
    from signs_builder.evaluate import evaluate as measure
    from signs_builder.progress import progress_bar
    from signs_builder.sources import load_dataset

    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    answering: Classifier | Reference
    if exported:
        answering = Classifier(model, device="cpu", cache=False)  # the first variant, as it was proved
        if answering.labels != dataset.labels:
            raise DatasetError(f"{model} has the labels {answering.labels}, {dataset.name} has {dataset.labels}.")
    else:
        from signs_builder.model_file import load_model
        from signs_export.reference import examine

        answering = examine(load_model(model), scaling=scaling)
        if answering.classes != len(dataset.labels):
            raise DatasetError(
                f"{model} tells {answering.classes} classes apart, and {dataset.name} has {len(dataset.labels)}."
            )
    spec = answering.input
    figures = measure(answering.probabilities, dataset.test, dataset.labels, spec, progress=progress_bar)
    if charts:
        draw_confusion(figures, charts / "confusion.png")
        draw_wrong(figures, dataset.test, spec, charts / "wrong.png")
    if as_json:
        print_json({"model": str(model), "data": dataset.name, **figures.as_json()})
    else:
        show_figures(figures)


def _export_file(path: Path, data: str, scaling: Scaling | None, options: ExportOptions, *, as_json: bool) -> None:
    start_keras()
    from signs_builder.model_file import load_model
    from signs_builder.sources import load_dataset
    from signs_export.reference import examine
    from signs_export.scaling import scaling_layer
    from signs_export.seal import check_destination

    check_destination(options.output, 0)
    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    model = load_model(path)
    reference = examine(model, scaling=scaling, image_size=options.image_size, resize=options.resize)
    own = scaling_layer(model)
    if own is not None and reference.scaling != "none":
        click.echo(
            f"Warning: the model already scales pixels in its layer {own}, and --scaling {reference.scaling} does so "
            "before it. Leave --scaling out unless it was trained that way.",
            err=True,
        )
    _seal(reference, dataset, options.output, options.config(), as_json=as_json)


def _seal(
    reference: "Reference",
    dataset: "Dataset",
    output: Path,
    config: ExportConfig,
    *,
    training: dict[str, Any] | None = None,  # Any: JSON
    as_json: bool,
) -> None:
    """Export, prove, seal, and show what came of it."""
    from signs_builder.progress import progress_bar
    from signs_export.errors import ParityError
    from signs_export.export import export_bundle
    from signs_export.seal import REPORT

    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        click.echo(f"Warning: {text}", err=True)

    try:
        result = export_bundle(reference, dataset, output, config, training=training, progress=progress_bar, warn=warn)
    except ParityError as error:
        if as_json:
            document = {"passed": False, "bundle": None, "warnings": warnings, "variants": [error.report.as_json()]}
            print_json(document)
        raise
    if as_json:
        print_json(
            {
                "passed": True,
                "bundle": str(output),
                "labels": dataset.labels,
                "keras_test_accuracy": asdict(result.keras_accuracy),
                "warnings": warnings,
                "variants": [
                    {
                        **asdict(variant),
                        "parity": made.report.as_json(),
                        "speed": None if made.speed is None else asdict(made.speed),
                        "peak_memory": made.peak_memory,
                    }
                    for variant, made in zip(result.bundle.manifest.variants, result.made, strict=True)
                ],
            }
        )
        return
    for made in result.made:
        click.echo(made.report.describe())
    click.echo()
    keras = result.keras_accuracy
    rows = [("Keras", "", "", "", f"{keras.correct}/{keras.total}", "")]
    rows += [
        (
            variant.name,
            f"{variant.file.bytes / 1e6:.1f} MB",
            describe_memory(made.peak_memory),
            describe_speed(made.speed),
            f"{variant.test_accuracy.correct}/{variant.test_accuracy.total}",
            ", ".join(variant.in_float) or "none" if variant.precision == "int8" else "",
        )
        for variant, made in zip(result.bundle.manifest.variants, result.made, strict=True)
    ]
    print_table(rows, header=("variant", "size", "memory", "speed", "test right", "layers in float"))
    click.echo(f"Sealed {output}; {output / REPORT} shows it. Next: signs verify {shlex.quote(str(output))}")
