"""The command `signs summary`: prints a network's layers. Imports Keras only when it runs."""

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_builder.commands.shared import DEFAULT_SIZE, image_size_option, start_keras
from signs_builder.data.embedded import HANDS
from signs_runtime.commands.shared import Command, json_option, print_json

if TYPE_CHECKING:
    import keras

PLOT_SUFFIXES = (".svg", ".pdf", ".png")
TABLE_WIDTH = 116  # characters; fits the longest layer name and its connections


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@image_size_option()
@click.option("--classes", type=click.IntRange(min=2), show_default=str(len(HANDS)), help="Number of classes.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw the architecture to this file (.svg, .pdf, .png); needs graphviz.",
)
@json_option
def summary(
    model: Path | None, image_size: tuple[int, int] | None, classes: int | None, plot: Path | None, as_json: bool
) -> None:
    """Print the layer table of MODEL (.keras or .h5), or of the ResNet-50 that `signs train` would build."""
    if plot is not None and plot.suffix not in PLOT_SUFFIXES:
        raise click.UsageError(f"--plot {plot} must end in {', '.join(PLOT_SUFFIXES)}.")
    if model is not None and (image_size or classes):
        raise click.UsageError("--image-size and --classes describe a new network; MODEL has its own.")
    start_keras()
    from signs_builder.network.model_file import load_model
    from signs_builder.network.resnet import resnet50

    network = load_model(model) if model else resnet50((*(image_size or DEFAULT_SIZE), 3), classes or len(HANDS))
    if plot is not None:
        _plot(network, plot)
    if not as_json:
        # rich cuts Keras's table at the width in COLUMNS, so set it wide enough for the whole table.
        os.environ["COLUMNS"] = str(max(TABLE_WIDTH, shutil.get_terminal_size().columns))
        network.summary(line_length=TABLE_WIDTH, print_fn=click.echo)
        return
    trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    print_json(
        {
            "name": network.name,
            "layers": [
                {
                    "name": layer.name,
                    "type": type(layer).__name__,
                    "output_shape": list(layer.output.shape),
                    "parameters": layer.count_params(),
                }
                for layer in network.layers
            ],
            "parameters": {
                "total": network.count_params(),
                "trainable": trainable,
                "non_trainable": network.count_params() - trainable,
            },
        }
    )


def _plot(network: "keras.Model", path: Path) -> None:
    """Draw the layers with their shapes, by Keras's own function."""
    import keras

    from signs_builder.errors import ModelError

    if shutil.which("dot") is None:
        raise ModelError("--plot needs graphviz's program `dot`: apt install graphviz, or brew install graphviz.")
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.plot_model(network, str(path), show_shapes=True, show_layer_names=True, dpi=96)
    click.echo(f"Drew {path}.", err=True)
