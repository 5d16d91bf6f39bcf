"""Opens what the commands are given: a Keras model, as the options describe it, and the pictures with its labels."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from signs_export.config import SCALINGS, Scaling
from signs_runtime.commands.shared import gathered
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_builder.network.model_file import Opened
    from signs_export.source.reference import Reference
    from signs_runtime.labels import Thresholds


MEASURED: Literal["measured"] = "measured"  # in place of a scaling
TRIED_FIRST: Scaling = "unit"  # of a model of unknown scaling: with small numbers, whatever it computes is finite


@dataclass(frozen=True)
class ModelOptions:
    """What only the user knows of a model that was trained elsewhere."""

    scaling: Scaling | Literal["measured"] | None
    labels: Path | None
    logits: bool
    custom_objects: Path | None
    thresholds: str | None

    def given(self) -> list[str]:
        """The options that were given, as they are written."""
        named = {
            "--scaling": self.scaling,
            "--labels": self.labels,
            "--logits": self.logits or None,
            "--custom-objects": self.custom_objects,
            "--thresholds": self.thresholds,
        }
        return [name for name, value in named.items() if value is not None]


model_options = gathered(
    "about_model",
    ModelOptions,
    (
        click.option(
            "--scaling",
            type=click.Choice((*SCALINGS, MEASURED)),
            help="The numbers that the model was trained on: 0..255 (none), x / 255 (unit), or a mode of "
            "keras.applications. Required unless the model has a Rescaling layer. `measured` tries all of "
            "them on DATA and takes the best if it is beyond doubt.",
        ),
        click.option(
            "--labels",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The labels, in the order of the model's outputs: one a line, Teachable Machine's labels.txt, a "
            "JSON list or Keras's class_indices. [default: labels.txt in the model's folder, or the names of "
            "DATA's folders, sorted]",
        ),
        click.option("--logits", is_flag=True, help="The model's outputs are logits, although its file does not tell."),
        click.option(
            "--custom-objects",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Run this Python file, which defines layers and functions that the model needs.",
        ),
        click.option(
            "--thresholds",
            metavar="NUMBER|FILE",
            help="For a multi-label classifier (sigmoids, a .csv as DATA): the probability from which a label "
            "counts as found. A JSON file gives one for each label. [default: 0.5]",
        ),
    ),
)


def open_reference(
    path: Path,
    about: ModelOptions,
    *,
    image_size: tuple[int, int] | None,
    reading: Reading,
    multi_label: bool = False,
    is_settled: bool = False,
) -> "Reference":
    """A Keras model from its file; `is_settled`: the reading is measured, whoever made the model.

    Raises ModelError and ExportError.
    """
    from signs_builder.network.custom_objects import run_custom_objects
    from signs_builder.network.model_file import open_model
    from signs_export.source.reference import examine

    if about.scaling == MEASURED:
        raise click.UsageError(
            "--scaling measured is for an export; say the scaling that it took, which `signs info BUNDLE` shows."
        )
    own = run_custom_objects(about.custom_objects) if about.custom_objects else None
    opened = open_model(path, own)
    reading = reading if is_settled else _as_its_maker(opened, reading)
    return examine(
        opened,
        scaling=about.scaling,
        image_size=image_size,
        reading=reading,
        logits=about.logits,
        multi_label=multi_label,
    )


def _as_its_maker(opened: "Opened", reading: Reading) -> Reading:
    """How a model's maker reads pictures, where that is known and the user says nothing of it; it is told."""
    context = click.get_current_context()
    is_asked = context.get_parameter_source("fit") is not ParameterSource.DEFAULT
    if is_asked or opened.configuration is None or not opened.configuration.by_teachable_machine:
        return reading
    click.echo(
        "Note: this has the shape of Teachable Machine's models, which crop pictures about their centre: --fit crop. "
        "Say --fit stretch if this one does not.",
        err=True,
    )
    return replace(reading, fit="crop")


def open_data(data: str, model: Path, about: ModelOptions) -> "Dataset":
    """The pictures, with the model's labels in their order where a file tells them. Raises DatasetError."""
    from signs_builder.data.label_files import find_labels, read_labels, relabelled
    from signs_builder.data.label_table import is_label_table, load_label_table
    from signs_builder.data.sources import load_dataset

    labels = about.labels or find_labels(model)
    known = None if labels is None else read_labels(labels)
    load = load_label_table if is_label_table(data) else load_dataset
    dataset = load(data, model_given=True)
    return dataset if known is None or labels is None else relabelled(dataset, known, labels)


def with_thresholds(
    reference: "Reference", dataset: "Dataset", about: ModelOptions, exported: "Thresholds" = ()
) -> "Reference":
    """The classifier that decides as its data do: by the largest output, or by each one's threshold.

    An export's own thresholds are taken where the user gives none: the Keras model has none to compare them with.
    Raises ExportError where the outputs cannot.
    """
    from signs_export.errors import ExportError
    from signs_export.source.thresholds import read_thresholds
    from signs_runtime.labels import UNSURE

    if UNSURE in dataset.labels and dataset.test.is_multi_label:
        raise ExportError(f"A label is called {UNSURE!r}, as what is below all thresholds is; name it otherwise.")
    if not dataset.test.is_multi_label:
        if about.thresholds is not None:
            raise click.UsageError(
                f"--thresholds is for multi-label data, a .csv; {dataset.name} gives each picture one label."
            )
        return reference
    if not reference.has_sigmoids:
        raise ExportError(
            f"{dataset.name} is a table of pictures with any number of labels, and the model, whose outputs are no "
            "sigmoids, gives each picture one. Give a folder for each label as DATA."
        )
    if exported and about.thresholds is None:
        return replace(reference, thresholds=exported)
    return replace(reference, thresholds=read_thresholds(about.thresholds, dataset.labels))
