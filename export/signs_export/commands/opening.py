"""Opens the Keras model and the pictures that a command is called with, as its options describe them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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


MEASURED: Literal["measured"] = "measured"  # instead of a scaling's name
_TOLD = f"{__name__}.told"  # in a command's context: the note on a model's maker was shown
TRIED_FIRST: Scaling = "unit"  # if the scaling is unknown: small numbers keep all results finite


@dataclass(frozen=True)
class ModelOptions:
    """What only the user knows about a model that was trained elsewhere."""

    labels: Path | None
    logits: bool
    custom_objects: Path | None
    scaling: Scaling | Literal["measured"] | None = None
    thresholds: str | None = None

    def given(self) -> list[str]:
        """The names of the options that the user passed."""
        named = {
            "--scaling": self.scaling,
            "--labels": self.labels,
            "--logits": self.logits or None,
            "--custom-objects": self.custom_objects,
            "--thresholds": self.thresholds,
        }
        return [name for name, value in named.items() if value is not None]


def model_options(
    *, scalings: Sequence[str] = (*SCALINGS, MEASURED), thresholds: bool = True
) -> Callable[[Callable[..., Any]], Any]:  # Any: click's own
    """The options about a Keras model; `scalings` are those that the command takes, none for no --scaling."""
    measured = f" `{MEASURED}` tries all of them on DATA and takes the best if it is beyond doubt."
    scaling_option = click.option(
        "--scaling",
        type=click.Choice(scalings),
        help="The numbers that the model was trained on: 0..255 (none), x / 255 (unit), or a mode of "
        "keras.applications. Required unless the model has a Rescaling or Normalization layer."
        + (measured if MEASURED in scalings else ""),
    )
    thresholds_option = click.option(
        "--thresholds",
        metavar="NUMBER|FILE",
        help="For a multi-label classifier (sigmoids, a .csv as DATA): the probability from which a label counts as "
        "found. A JSON file gives one for each label. [default: 0.5]",
    )
    options = (
        *((scaling_option,) if scalings else ()),
        click.option(
            "--labels",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The labels, in the order of the model's outputs: one a line, Teachable Machine's labels.txt, a "
            "JSON list or Keras's class_indices. [default: labels.txt in the model's folder, or the names of "
            "DATA's folders, sorted]",
        ),
        click.option(
            "--logits",
            is_flag=True,
            help="Treat the model's outputs as logits, for a model that was not compiled with from_logits=True.",
        ),
        click.option(
            "--custom-objects",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Run this Python file, which defines the layers and functions that the model needs.",
        ),
        *((thresholds_option,) if thresholds else ()),
    )
    return gathered("about_model", ModelOptions, options)


def open_reference(
    path: Path,
    about: ModelOptions,
    *,
    image_size: tuple[int, int] | None,
    reading: Reading,
    multi_label: bool = False,
    is_settled: bool = False,
) -> "Reference":
    """Open and examine a Keras model file. `is_settled`: the reading was measured, so keep it.

    Raises ModelError and ExportError.
    """
    from signs_builder.network.custom_objects import run_custom_objects
    from signs_builder.network.model_file import open_model
    from signs_export.source.reference import examine

    assert about.scaling != MEASURED  # the caller has measured it
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
    """The reading for a model that looks like Teachable Machine's: cropped, unless the user passed --fit."""
    context = click.get_current_context()
    is_asked = context.get_parameter_source("fit") is not ParameterSource.DEFAULT
    if is_asked or opened.configuration is None or not opened.configuration.by_teachable_machine:
        return reading
    if not context.meta.setdefault(_TOLD, False):  # a model may be opened more than once, to try its scalings
        context.meta[_TOLD] = True
        click.echo(
            "Note: this looks like a Teachable Machine model. Those crop pictures around the centre, so --fit crop is "
            "set. Pass --fit stretch if this model does not crop.",
            err=True,
        )
    return replace(reading, fit="crop")


def open_data(data: str, model: Path, about: ModelOptions) -> "Dataset":
    """Load the pictures; a labels file, if there is one, sets the order of the labels. Raises DatasetError."""
    from signs_builder.data.label_files import find_labels, read_labels, relabelled
    from signs_builder.data.label_table import is_label_table, load_label_table
    from signs_builder.data.sources import load_dataset

    labels = about.labels or find_labels(model)
    known = None if labels is None else read_labels(labels)
    load = load_label_table if is_label_table(data) else load_dataset
    dataset = load(data, model_given=True)
    return dataset if known is None or labels is None else relabelled(dataset, known, labels)


def check_classes(path: Path, reference: "Reference", dataset: "Dataset") -> None:
    """Raise DatasetError unless the model has as many classes as the data has labels."""
    from signs_builder.errors import DatasetError

    if reference.classes != len(dataset.labels):
        raise DatasetError(
            f"{path} has {reference.classes} classes, but {dataset.name} has {len(dataset.labels)} labels. "
            "Use the pictures that the model was trained on."
        )


def with_thresholds(
    reference: "Reference", dataset: "Dataset", about: ModelOptions, exported: "Thresholds" = ()
) -> "Reference":
    """The reference with the decision rule that its data need: the largest output, or a threshold for each output.

    If the user gives no thresholds, those of the export (`exported`) are used; a Keras model has none of its own.
    Raises ExportError if the model's outputs do not fit the data.
    """
    from signs_export.errors import ExportError
    from signs_export.source.thresholds import read_thresholds
    from signs_runtime.labels import UNSURE

    if UNSURE in dataset.labels and dataset.test.is_multi_label:
        raise ExportError(
            f"A label is called {UNSURE!r}, a name reserved for pictures below all thresholds. Rename the label."
        )
    if not dataset.test.is_multi_label:
        if about.thresholds is not None:
            raise click.UsageError(
                f"--thresholds is for multi-label data (a .csv); {dataset.name} gives each picture one label."
            )
        return reference
    if not reference.has_sigmoids:
        raise ExportError(
            f"{dataset.name} is a table with several labels a picture, but the model gives only one: it has no sigmoid "
            "outputs. Pass pictures in a folder for each label as DATA."
        )
    if exported and about.thresholds is None:
        return replace(reference, thresholds=exported)
    return replace(reference, thresholds=read_thresholds(about.thresholds, dataset.labels))
