"""The command `build-and-export`, and `signs export` and `signs parity`. Heavy imports wait until a command runs."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_builder.commands import DEFAULT_SIZE, describe_counts, image_size_option, start_keras
from signs_builder.errors import DatasetError
from signs_builder.recipe import SYNTHETIC
from signs_builder.training_run import TrainingOptions, run_training, show_figures, show_run, training_options
from signs_export.config import SCALINGS, ExportConfig, Scaling
from signs_runtime.cli import Command, json_option, print_json
from signs_runtime.input_spec import RESIZE_FILTERS, InputSpec, ResizeFilter

if TYPE_CHECKING:
    import keras

    from signs_builder.dataset import Dataset
    from signs_export.reference import Reference

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, resolve_path=True),
    default="bundle",
    show_default=True,
    help="The bundle's folder; a bundle that is there is replaced once the new one has passed.",
)
scaling_option = click.option(
    "--scaling",
    type=click.Choice(SCALINGS),
    help="What a --model was trained on: 0..255, x / 255, or a mode of keras.applications; needed unless it rescales.",
)
pictures_option = click.option(
    "--parity-pictures",
    type=click.IntRange(min=1),
    default=ExportConfig.parity_pictures,
    show_default=True,
    help="Compare at most this many pictures: the test split's first, then others, evenly chosen.",
)
resize_option = click.option(
    "--resize",
    type=click.Choice(RESIZE_FILTERS),
    default=InputSpec.resize,
    show_default=True,
    help="The filter that brings pictures to the model's size.",
)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", default=SYNTHETIC)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Start from this Keras classifier (.keras, .h5) instead of training.",
)
@scaling_option
@training_options
@image_size_option
@resize_option
@pictures_option
@output_option
@json_option
def build_and_export(
    data: str,
    model: Path | None,
    scaling: Scaling | None,
    options: TrainingOptions,
    image_size: tuple[int, int] | None,
    resize: ResizeFilter,
    parity_pictures: int,
    output: Path,
    as_json: bool,
) -> None:
    """Train a classifier on DATA, export it to ONNX, prove it against Keras and seal it as a bundle.

    DATA is a folder of pictures, Coursera's HDF5 pair, or "synthetic" (the default). With --model nothing is trained,
    and DATA gives the labels and the pictures for the proof.

    Exit codes: 0 sealed, 1 an error that is explained, 2 wrong usage, 3 the export does not answer as Keras does.
    """
    if model is not None:
        if options.given():
            raise click.UsageError(f"{', '.join(options.given())}: nothing is trained with --model.")
        _export_file(model, data, scaling, image_size, resize, parity_pictures, output, as_json=as_json)
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
    spec = InputSpec(*(image_size or DEFAULT_SIZE), resize=resize)
    keras_file = output.with_name(f"{output.name}.keras")
    trained = output.with_name(f"{output.name}.trained.keras")  # until the bundle beside it is the same model's

    def check(network: "keras.Model") -> None:
        check_output(keras_file, network)
        check_destination(output, 5 * weights_bytes(network))  # the export's, and the saved model's

    folder = output.with_name(f"{output.name}.training")
    run = run_training(dataset, spec, options, folder, check=check, as_json=as_json)
    save_model(run.model, trained)
    show_run(run, dataset, spec, as_json=as_json)
    click.echo(f"Saved {trained}.", err=as_json)
    _seal(
        examine(run.model, resize=resize),
        dataset,
        output,
        _export_config(parity_pictures, run.config.seed),
        as_json=as_json,
    )
    trained.replace(keras_file)
    click.echo(f"Renamed it to {keras_file.name}, beside its bundle.", err=as_json)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", default=SYNTHETIC)
@scaling_option
@image_size_option
@resize_option
@pictures_option
@output_option
@json_option
def export(
    model: Path,
    data: str,
    scaling: Scaling | None,
    image_size: tuple[int, int] | None,
    resize: ResizeFilter,
    parity_pictures: int,
    output: Path,
    as_json: bool,
) -> None:
    """Export MODEL (.keras, .h5) as a bundle, proved against Keras on DATA, which also gives the labels."""
    _export_file(model, data, scaling, image_size, resize, parity_pictures, output, as_json=as_json)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data", default=SYNTHETIC, show_default=True, help="The pictures to compare on; as for build-and-export."
)
@scaling_option
@pictures_option
@json_option
def parity(model: Path, bundle: Path, data: str, scaling: Scaling | None, parity_pictures: int, as_json: bool) -> None:
    """Compare every variant of BUNDLE (or one .onnx file) with the Keras MODEL, picture files in, through the runtime.

    Exit codes: 0 the same answers, 1 an error that is explained, 2 wrong usage, 3 other answers.
    """
    start_keras()
    from signs_builder.model_file import load_model
    from signs_builder.progress import progress_bar
    from signs_builder.sources import load_dataset
    from signs_export.errors import ParityError
    from signs_export.parity import prove
    from signs_export.reference import examine
    from signs_runtime import Classifier
    from signs_runtime.bundle import is_model_file, open_bundle

    if is_model_file(bundle):
        classifiers = {bundle.stem: Classifier(bundle)}
    else:
        names = [variant.name for variant in open_bundle(bundle).manifest.variants]
        classifiers = {name: Classifier(bundle, variant=name) for name in names}
    spec = next(iter(classifiers.values())).input
    dataset = load_dataset(data)
    reference = examine(load_model(model), scaling=scaling, image_size=(spec.height, spec.width), resize=spec.resize)
    _, reports = prove(
        classifiers, reference, dataset, ExportConfig(parity_pictures=parity_pictures), progress=progress_bar
    )
    failed = [report for report in reports if not report.passed]
    if as_json:
        print_json({"passed": not failed, "variants": [report.as_json() for report in reports]})
    else:
        for report in reports:
            if report.passed:
                click.echo(report.describe())
    if failed:
        raise ParityError(failed[0], f"{bundle} is not an export of {model}, or was damaged; export the model again.")


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
        answering = Classifier(model)
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


def _export_file(
    path: Path,
    data: str,
    scaling: Scaling | None,
    image_size: tuple[int, int] | None,
    resize: ResizeFilter,
    parity_pictures: int,
    output: Path,
    *,
    as_json: bool,
) -> None:
    start_keras()
    from signs_builder.model_file import load_model
    from signs_builder.sources import load_dataset
    from signs_export.reference import examine
    from signs_export.scaling import scaling_layer
    from signs_export.seal import check_destination

    check_destination(output, 0)
    dataset = load_dataset(data)
    click.echo(describe_counts(dataset), err=as_json)
    model = load_model(path)
    reference = examine(model, scaling=scaling, image_size=image_size, resize=resize)
    own = scaling_layer(model)
    if own is not None and reference.scaling != "none":
        click.echo(
            f"Warning: the model already scales pixels in its layer {own}, and --scaling {reference.scaling} does so "
            "before it. Leave --scaling out unless it was trained that way.",
            err=True,
        )
    _seal(reference, dataset, output, _export_config(parity_pictures), as_json=as_json)


def _export_config(parity_pictures: int, seed: int | None = None) -> ExportConfig:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return ExportConfig(parity_pictures=parity_pictures, seed=seed, command=command)


def _seal(reference: "Reference", dataset: "Dataset", output: Path, config: ExportConfig, *, as_json: bool) -> None:
    """Export, prove, seal, and show what came of it."""
    from signs_builder.progress import progress_bar
    from signs_export.errors import ParityError
    from signs_export.export import export_bundle

    try:
        result = export_bundle(reference, dataset, output, config, progress=progress_bar)
    except ParityError as error:
        if as_json:
            print_json({"passed": False, "bundle": None, "variants": [error.report.as_json()]})
        raise
    manifest = result.bundle.manifest
    if as_json:
        print_json(
            {
                "passed": True,
                "bundle": str(output),
                "labels": manifest.labels,
                "keras_test_accuracy": asdict(result.keras_accuracy),
                "variants": [
                    {**asdict(variant), "parity": report.as_json()}
                    for variant, report in zip(manifest.variants, result.reports, strict=True)
                ],
            }
        )
        return
    for report in result.reports:
        click.echo(report.describe())
    keras, first = result.keras_accuracy, manifest.variants[0]
    click.echo(
        f"Test pictures right: Keras {keras.correct} of {keras.total}, "
        f"{first.name} {first.test_accuracy.correct} of {first.test_accuracy.total}"
    )
    click.echo(f"Sealed {output} ({first.file.bytes / 1e6:.1f} MB). Next: signs verify {shlex.quote(str(output))}")
