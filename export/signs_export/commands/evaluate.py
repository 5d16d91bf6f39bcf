"""The command `signs evaluate`: measures a Keras model or an export on the test pictures."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from signs_builder.commands.figures import show_figures
from signs_builder.commands.shared import describe_counts, reading_options, start_keras
from signs_builder.errors import DatasetError
from signs_export.commands.opening import ModelOptions, check_classes, model_options, open_data, open_reference
from signs_export.commands.options import data_for, data_of_model
from signs_export.config import SCALINGS
from signs_runtime.commands.shared import Command, json_option, print_json
from signs_runtime.pictures.input_spec import Reading

SAVED_MODEL = "saved_model.pb"  # in a SavedModel folder
_NOT_MEASURED = (
    "{name} is multi-label; `signs evaluate` measures only classifiers with one label a picture. The report of a "
    "multi-label export measures each label, and `signs parity` compares the export with Keras."
)

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_export.source.reference import Reference
    from signs_runtime import Classifier


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@data_of_model
@model_options(scalings=SCALINGS, thresholds=False)
@reading_options
@click.option(
    "--charts",
    type=click.Path(path_type=Path),
    help="Write the confusion matrix and the wrongly labelled pictures to this folder.",
)
@json_option
def evaluate(
    model: Path,
    data: str | None,
    about_model: ModelOptions,
    reading: Reading,
    charts: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL on DATA's test pictures, and on altered copies of them (the shift suite).

    MODEL is a Keras model (.keras, .h5, a SavedModel), a bundle or an .onnx file.
    """
    from signs_runtime.bundle.folder import is_model_file

    data = data_for(model, data)
    exported = is_model_file(model) or (model.is_dir() and not (model / SAVED_MODEL).exists())
    if about_model.given() and exported:
        raise click.UsageError(
            f"{', '.join(about_model.given())} is for a Keras model; leave it out for an export, which contains it."
        )
    source = click.get_current_context().get_parameter_source
    asked = [f"--{each.name}" for each in fields(reading) if source(each.name) is not ParameterSource.DEFAULT]
    if asked and exported:
        raise click.UsageError(
            f"{', '.join(asked)} is for a Keras model; leave it out for an export, which contains it."
        )
    if not exported:
        start_keras()
    from signs_builder.charts import draw_confusion, draw_wrong
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.data.label_table import is_label_table
    from signs_builder.data.sources import load_dataset
    from signs_builder.evaluation.evaluate import evaluate as measure

    answering: Classifier | Reference
    if is_label_table(data):
        raise DatasetError(_NOT_MEASURED.format(name=data))
    if exported:
        dataset = load_dataset(data, model_given=True)
        answering, dataset = _open_export(model, dataset)
    else:
        dataset = open_data(data, model, about_model)
        answering = _open_keras(model, dataset, about_model, reading)
    click.echo(describe_counts(dataset), err=as_json)
    spec = answering.input
    figures = measure(answering.probabilities, dataset.test, dataset.labels, spec, progress=progress_bar)
    if charts:
        draw_confusion(figures, charts / "confusion.png")
        draw_wrong(figures, dataset.test, spec, charts / "wrong.png")
    if as_json:
        print_json({"model": str(model), "data": dataset.name, **figures.as_json(), "caveats": dataset.caveats})
    else:
        show_figures(figures, dataset.caveats)


def _open_export(path: Path, dataset: "Dataset") -> tuple["Classifier", "Dataset"]:
    """Open a bundle's first variant or a single .onnx file, and put the data's labels into the export's order."""
    from signs_builder.data.label_files import relabelled
    from signs_runtime import Classifier

    classifier = Classifier(path, device="cpu", cache=False)
    if classifier.thresholds:
        raise DatasetError(_NOT_MEASURED.format(name=path))
    if classifier.labels == dataset.labels:
        return classifier, dataset
    return classifier, relabelled(dataset, classifier.labels, path)


def _open_keras(path: Path, dataset: "Dataset", about: ModelOptions, reading: Reading) -> "Reference":
    """Open a Keras model. Raises DatasetError unless it has as many classes as the data has labels."""
    reference = open_reference(path, about, image_size=None, reading=reading)
    check_classes(path, reference, dataset)
    return reference
