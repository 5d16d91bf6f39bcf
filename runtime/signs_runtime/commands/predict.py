"""The command `signs predict`: pictures in; a table, CSV, JSON or Parquet files out."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.predict_options import JobOptions, ModelOptions, bar, job_options, model_options
from signs_runtime.commands.shared import Command, json_option
from signs_runtime.errors import SignsError

FEW = 10  # unsure pictures, the first ones, that get a closer look: it takes 18 predictions


@click.command(cls=Command)
@bundle_argument
@click.argument("pictures", nargs=-1, required=True)
@model_options
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of labels to show, the most probable first.",
)
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be labelled.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line per picture, as soon as it is labelled.")
@json_option
@job_options
def predict(
    bundle: Path,
    pictures: tuple[str, ...],
    model: ModelOptions,
    job: JobOptions,
    top_k: int,
    strict: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Label PICTURES (files or folders) with BUNDLE (a bundle folder or one of its .onnx files).

    With -o, any number of pictures: PICTURES may also be lists (.txt, an address per line), Parquet files with a column
    of pictures, and addresses on s3://, gs:// and hf://. If such a job ends early, --resume continues it. --json then
    prints a summary.

    A picture that cannot be read is reported, and the others are still labelled. The exit code is then 1.
    """
    from signs_runtime.engine.import_check import check_import

    if model.threshold != model.threshold:
        raise click.UsageError("--threshold nan is not a probability; choose a number from 0 to 1.")
    if as_csv and (as_json or job.output):
        raise click.UsageError(f"--csv and {'--json' if as_json else '-o'} cannot be combined; choose one.")
    check_import()
    if job.output is not None:
        from signs_runtime.commands.predict_job import run_job

        job.check(model.threads)
        run_job(bundle, pictures, model, job, top_k, strict=strict, as_json=as_json)
        return
    if job != JobOptions():
        raise click.UsageError("Options of jobs that write Parquet files need an output; add -o FOLDER.")
    if any("://" in each for each in pictures):
        raise click.UsageError("Remote pictures can only be read by a job that writes Parquet files; add -o FOLDER.")
    _print(bundle, [Path(each) for each in pictures], model, top_k, strict=strict, as_csv=as_csv, as_json=as_json)


def _print(
    bundle: Path,
    pictures: Sequence[Path],
    model: ModelOptions,
    top_k: int,
    *,
    strict: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print predictions, in the order of the pictures."""
    from signs_runtime.classifier import Prediction
    from signs_runtime.commands.closer_look import advise, is_unsure
    from signs_runtime.commands.predictions import CsvTable, JsonDocument, TextTable
    from signs_runtime.pictures.find import find_pictures

    classifier = model.open(bundle)
    found = find_pictures(pictures)
    if found.others:
        click.echo(f"Other files, which do not have a picture's suffix, were skipped: {found.others:,}.", err=True)
    form = CsvTable if as_csv else JsonDocument if as_json else TextTable
    written = form(classifier.labels, min(top_k, len(classifier.labels)), multi_label=bool(classifier.thresholds))
    failed = bool(found.errors)
    unsure: list[tuple[Path, Prediction]] = []
    for path, error in found.errors:
        if strict:
            raise error
        written.add_error(path, error)
    with bar(len(found.pictures)) as progress:
        for outcome in classifier.stream(found.pictures, batch=model.batch):
            progress.update(1)
            if outcome.error is None:
                written.add(outcome.picture, outcome.prediction)
                if form is TextTable and len(unsure) < FEW and is_unsure(classifier, outcome.prediction):
                    unsure.append((outcome.picture, outcome.prediction))
                continue
            if strict:
                written.end()
                raise outcome.error
            failed = True
            written.add_error(outcome.picture, outcome.error)
    written.end()
    for picture, prediction in unsure:
        if advice := advise(classifier, picture, prediction):
            click.echo(f"Note: {advice}", err=True)
    if failed:
        sys.exit(SignsError.exit_code)
