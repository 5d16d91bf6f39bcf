"""Opens what the commands are given: a Keras model, as the options describe it, and the pictures with its labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_export.config import SCALINGS, Scaling
from signs_runtime.commands.shared import gathered
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_export.source.reference import Reference


@dataclass(frozen=True)
class ModelOptions:
    """What only the user knows of a model that was trained elsewhere."""

    scaling: Scaling | None
    labels: Path | None
    logits: bool
    custom_objects: Path | None

    def given(self) -> list[str]:
        """The options that were given, as they are written."""
        named = {
            "--scaling": self.scaling,
            "--labels": self.labels,
            "--logits": self.logits or None,
            "--custom-objects": self.custom_objects,
        }
        return [name for name, value in named.items() if value is not None]


model_options = gathered(
    "about_model",
    ModelOptions,
    (
        click.option(
            "--scaling",
            type=click.Choice(SCALINGS),
            help="What the model was trained on: 0..255, x / 255, or a mode of keras.applications; needed unless it "
            "rescales.",
        ),
        click.option(
            "--labels",
            type=click.Path(path_type=Path, dir_okay=False),
            help="What the model's outputs are called, in their order: a label a line, Teachable Machine's labels.txt, "
            "a JSON list or class_indices. A labels.txt beside the model is found; else the folders' names, sorted.",
        ),
        click.option("--logits", is_flag=True, help="The model's outputs are logits; its file does not tell."),
        click.option(
            "--custom-objects",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Run this Python file for the layers and functions that the model needs and its file does not hold.",
        ),
    ),
)


def open_reference(
    path: Path, about: ModelOptions, *, image_size: tuple[int, int] | None, reading: Reading
) -> "Reference":
    """A Keras model from its file. Raises ModelError and ExportError."""
    from signs_builder.network.custom_objects import run_custom_objects
    from signs_builder.network.model_file import open_model
    from signs_export.source.reference import examine

    own = run_custom_objects(about.custom_objects) if about.custom_objects else None
    opened = open_model(path, own)
    return examine(opened, scaling=about.scaling, image_size=image_size, reading=reading, logits=about.logits)


def open_data(data: str, model: Path, about: ModelOptions) -> "Dataset":
    """The pictures, with the model's labels in their order where a file tells them. Raises DatasetError."""
    from signs_builder.data.label_files import find_labels, read_labels, relabelled
    from signs_builder.data.sources import load_dataset

    labels = about.labels or find_labels(model)
    known = None if labels is None else read_labels(labels)
    dataset = load_dataset(data, model_given=True)
    return dataset if known is None or labels is None else relabelled(dataset, known, labels)
