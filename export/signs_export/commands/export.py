"""The commands `build-and-export` and `signs export`. Heavy modules are imported only when a command runs."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands.shared import describe_counts, reading_options, spec_of_training, start_keras
from signs_builder.commands.training_run import TrainingOptions, run_training, show_run, training_options, write_run
from signs_builder.data.embedded import SYNTHETIC
from signs_export.commands.measuring import open_measured
from signs_export.commands.opening import ModelOptions, model_options, open_data, with_thresholds
from signs_export.commands.options import ExportOptions, data_for, data_of_model, export_options
from signs_runtime.commands.shared import (
    Command,
    describe_memory,
    describe_speed,
    json_option,
    print_json,
    print_table,
)
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    import keras

    from signs_export.export import Export
    from signs_export.gate.verdict import Verdict
    from signs_export.inspection.search import Inspection
    from signs_export.job import Job
    from signs_export.variants import LeftOut, Made
    from signs_runtime.bundle.manifest import Variant
    from signs_runtime.figures import Accuracy


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@data_of_model
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Start from this Keras classifier (.keras, .h5, a SavedModel) instead of training.",
)
@model_options()
@training_options
@reading_options
@export_options
@json_option
def build_and_export(
    data: str | None,
    model: Path | None,
    about_model: ModelOptions,
    training: TrainingOptions,
    reading: Reading,
    options: ExportOptions,
    as_json: bool,
) -> None:
    """Train a classifier on DATA, export it to ONNX, prove it against Keras and seal it as a bundle.

    DATA is a folder of pictures, Coursera's HDF5 pair, or "synthetic" (the default). With --model, nothing is trained
    and DATA is required: it gives the labels, and the pictures for the proof.

    Exit codes: 0 sealed, 1 an error with an explanation, 2 wrong usage, 3 not sealed, because the export differs from
    Keras or the pictures contradict the model.
    """
    if model is not None:
        if training.given():
            raise click.UsageError(f"{', '.join(training.given())}: leave this out with --model, which trains nothing.")
        _export_file(model, data_for(model, data), about_model, reading, options, as_json=as_json)
        return
    if about_model.given():
        raise click.UsageError(f"{', '.join(about_model.given())} needs --model; without it, a model is trained here.")
    _train_and_export(data or SYNTHETIC, training, reading, options, as_json=as_json)


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@data_of_model
@model_options()
@reading_options
@export_options
@json_option
def export(
    model: Path,
    data: str | None,
    about_model: ModelOptions,
    reading: Reading,
    options: ExportOptions,
    as_json: bool,
) -> None:
    """Export MODEL (.keras, .h5, a SavedModel) to ONNX, prove it against Keras on DATA and seal it as a bundle.

    MODEL is a file or folder that Keras 2 or 3 saved, under any name. DATA gives the pictures and the labels.

    Exit codes: 0 sealed, 1 an error with an explanation, 2 wrong usage, 3 not sealed, because the export differs from
    Keras or the pictures contradict the model.
    """
    _export_file(model, data_for(model, data), about_model, reading, options, as_json=as_json)


def _train_and_export(
    data: str, training: TrainingOptions, reading: Reading, options: ExportOptions, *, as_json: bool
) -> None:
    spec = spec_of_training(options.image_size, reading)
    start_keras()
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.data.sources import load_dataset
    from signs_builder.network.model_file import check_output, save_model, weights_bytes
    from signs_builder.training.train import training_splits
    from signs_export.commands.saved_models import check_ours, note_ours
    from signs_export.convert.convert import check_backend
    from signs_export.destination import check_destination
    from signs_export.job import Job
    from signs_export.source.reference import examine

    check_backend()
    output = options.output
    folder = output.with_name(f"{output.name}.training")
    keras_file = output.with_name(f"{output.name}.keras")
    trained = output.with_name(f"{output.name}.trained.keras")  # renamed to keras_file once its bundle is sealed
    check_destination(output, 0)
    for path in (keras_file, trained):
        check_ours(path, output, folder)
    dataset = load_dataset(data)
    _tell(describe_counts(dataset), err=as_json)

    def check(network: "keras.Model") -> None:
        check_output(keras_file, network)
        check_destination(output, 5 * weights_bytes(network))  # the export's, and the saved model's

    run = run_training(dataset, spec, training, folder, check=check, as_json=as_json)
    save_model(run.model, trained)
    note_ours(trained, folder)
    write_run(run, dataset, spec)
    with suppress(BrokenPipeError):  # the reader of the pipe may be gone
        show_run(run, err=as_json)
    _tell(f"Saved {trained}.", err=as_json)
    reference = examine(run.model, reading=reading)
    _, held_out = training_splits(dataset, run.config)
    job = Job(reference, dataset, options.config(run.config.seed), progress_bar, held_out=held_out)
    show = _export_job(job, output, training=run.as_json(), as_json=as_json)
    trained.replace(keras_file)
    show()
    click.echo(f"Renamed {trained.name} to {keras_file.name}, next to its bundle.", err=as_json)


def _export_file(
    path: Path, data: str, about: ModelOptions, reading: Reading, options: ExportOptions, *, as_json: bool
) -> None:
    start_keras()
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.destination import check_destination
    from signs_export.job import Job
    from signs_export.source.scaling import scaling_layer

    check_destination(options.output, 0)
    dataset = open_data(data, path, about)
    _tell(describe_counts(dataset), err=as_json)
    opened, dataset, inspection = open_measured(path, dataset, about, image_size=options.image_size, reading=reading)
    reference = with_thresholds(opened, dataset, about)
    own = scaling_layer(reference.model)
    if own is not None and reference.scaling != "none":
        _warn(
            f"the model's layer {own} already scales pixels, so --scaling {reference.scaling} scales them twice. "
            "Leave --scaling out unless the model was trained that way."
        )
    job = Job(reference, dataset, options.config(), progress_bar, held_out=dataset.validation)
    _export_job(job, options.output, inspection=inspection, as_json=as_json)()


def _export_job(
    job: "Job",
    output: Path,
    *,
    training: dict[str, Any] | None = None,  # Any: JSON
    inspection: "Inspection | None" = None,
    as_json: bool,
) -> Callable[[], None]:
    """Export, prove and seal. Returns a function that shows the result; call it when all work is done."""
    from signs_export.export import export_bundle
    from signs_export.gate.sense import SenseError
    from signs_export.gate.verdict import ParityError

    warnings: list[str] = []

    def note(text: str) -> None:
        warnings.append(text)
        _warn(text)

    try:
        result = export_bundle(replace(job, warn=note), output, training=training, inspection=inspection)
    except SenseError as error:
        if as_json:
            print_json(_document(job, error.keras, None, warnings, [], (), error.findings))
        raise
    except ParityError as error:
        if as_json:
            keras = error.verdict.evidence.accuracy(error.verdict.expected)
            print_json(_document(job, keras, None, warnings, [_variant(error.verdict)], ()))
        raise
    if not as_json:
        return lambda: _show(result, job.dataset.caveats, output)
    made, sealed = result.made, result.bundle.manifest.variants
    variants = [_variant(each.verdict, each, variant) for each, variant in zip(made, sealed, strict=True)]
    document = _document(job, result.keras_accuracy, output, warnings, variants, result.left_out, result.contradictions)
    fitted = {"calibrated": result.calibrated, "unsure": result.unsure}
    document |= {name: asdict(found) for name, found in fitted.items() if found is not None}
    return lambda: print_json(document)


def _warn(text: str) -> None:
    _tell(f"Warning: {text}", err=True)


def _tell(text: str, *, err: bool) -> None:
    """Print a line of progress, and keep working even if the reader of the pipe is gone."""
    with suppress(BrokenPipeError):
        click.echo(text, err=err)


def _document(
    job: "Job",
    keras: "Accuracy",
    output: Path | None,
    warnings: list[str],
    variants: list[dict[str, Any]],
    left_out: Sequence["LeftOut"],
    contradictions: Sequence[str] = (),
) -> dict[str, Any]:  # Any: JSON
    """The export's JSON; `output` is None unless it was sealed, `keras` is Keras's own accuracy."""
    return {
        "passed": output is not None,
        "bundle": None if output is None else str(output),
        "labels": job.dataset.labels,
        "keras_test_accuracy": asdict(keras),
        "caveats": job.dataset.caveats,
        "warnings": warnings,
        "contradictions": contradictions,
        "variants": variants,
        "left_out": [asdict(each) for each in left_out],
        "calibrated": None,
        "unsure": None,
    }


def _variant(
    verdict: "Verdict", made: "Made | None" = None, sealed: "Variant | None" = None
) -> dict[str, Any]:  # Any: JSON
    """A variant's JSON; fields that only a sealed variant has are otherwise null."""
    return {
        "name": verdict.variant,
        "file": None if sealed is None else asdict(sealed.file),
        "precision": verdict.precision,
        "tolerance": None if sealed is None else sealed.tolerance,
        "budget": asdict(verdict.budget),
        "parity": verdict.as_json(),
        "test_accuracy": asdict(verdict.accuracy),
        "test_pairs": asdict(verdict.paired),
        "in_float": None if sealed is None else sealed.in_float,
        "speed": None if made is None or made.speed is None else asdict(made.speed),
        "peak_memory": None if made is None else made.peak_memory,
    }


def _show(result: "Export", caveats: Sequence[str], output: Path) -> None:
    """Print the verdicts and a table that compares the variants."""
    from signs_export.bundle_files import REPORT

    for made in result.made:
        click.echo(made.verdict.describe())
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
    for found in (result.calibrated, result.unsure):
        if found is not None:
            click.echo(found.describe())
    for caveat in caveats:
        click.echo(f"Note: {caveat}")
    click.echo(f"Sealed {output}. Report: {output / REPORT}. Next: signs verify {shlex.quote(str(output))}")
