"""The commands `signs summary` and `signs draw`, and what all commands that start Keras share."""

import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_runtime.cli import Command, json_option, print_json

if TYPE_CHECKING:
    import keras

    from signs_builder.dataset import Dataset

PLOT_SUFFIXES = (".svg", ".pdf", ".png")
TABLE_WIDTH = 116  # characters; the longest layer name and what it is connected to fit
DEFAULT_SIZE = (64, 64)  # height and width in pixels, as in SIGNS


class ImageSize(click.ParamType[tuple[int, int]]):
    """`96` or `96x128` (height x width) in pixels."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:  # Any: click's
        if isinstance(value, tuple):
            return value
        sides = str(value).lower().split("x")
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
            self.fail(f"{value!r} is not a size such as 96 or 96x128 (height x width).", param, ctx)
        return int(sides[0]), int(sides[-1])


image_size_option = click.option(
    "--image-size", type=ImageSize(), help=f"Height x width of the model's input.  [default: {DEFAULT_SIZE[0]}]"
)


def start_keras() -> None:
    """Import Keras and its back end, holding back their notices unless the user has set TensorFlow's log level."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # silences what comes after the import
    if sys.stderr.isatty():
        click.echo("Starting Keras ...", err=True)
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import keras  # noqa: F401  # the import is the point
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def describe_counts(dataset: "Dataset") -> str:
    """`SIGNS: 1,080 train (864 and 216 validation) and 120 test pictures, labels 0, 1`."""
    counts = dataset.counts
    held = f" ({counts['train']:,} and {counts['validation']:,} validation)" if "validation" in counts else ""
    return (
        f"{dataset.name}: {len(dataset.all_but_test):,} train{held} and {counts['test']:,} test pictures, "
        f"labels {', '.join(dataset.labels)}"
        + (f"; {dataset.skipped:,} other files skipped" if dataset.skipped else "")
    )


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@image_size_option
@click.option("--classes", type=click.IntRange(min=2), help="[default: 6]")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the architecture here (.svg, .pdf, .png); needs graphviz.",
)
@json_option
def summary(
    model: Path | None, image_size: tuple[int, int] | None, classes: int | None, plot: Path | None, as_json: bool
) -> None:
    """Print the layer table of MODEL (.keras or .h5), or of the ResNet-50 that `signs train` would build."""
    if plot is not None and plot.suffix not in PLOT_SUFFIXES:
        raise click.UsageError(f"--plot {plot} must end in {', '.join(PLOT_SUFFIXES)}.")
    if model is not None and (image_size or classes):
        raise click.UsageError("--image-size and --classes are for a new network; MODEL has its own.")
    start_keras()
    from signs_builder.model_file import load_model
    from signs_builder.resnet import resnet50

    network = load_model(model) if model else resnet50((*(image_size or DEFAULT_SIZE), 3), classes or 6)
    if plot is not None:
        _plot(network, plot)
    if not as_json:
        # Keras's table is cut off at the width that rich believes in: have it whole, wherever it goes.
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
    """Keras's own drawing of the layers, with their shapes."""
    import keras

    from signs_builder.errors import ModelError

    if shutil.which("dot") is None:
        raise ModelError("The drawing needs graphviz's program `dot`: apt install graphviz, or brew install graphviz.")
    path.parent.mkdir(parents=True, exist_ok=True)
    keras.utils.plot_model(network, str(path), show_shapes=True, show_layer_names=True, dpi=96)
    click.echo(f"Drew {path}.", err=True)


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), help="Draw this many, without splits.  [default: all 1,080 + 120]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
def draw(folder: Path, count: int | None, seed: int, as_json: bool) -> None:
    """Draw the synthetic hands as picture files in FOLDER: to look at, or in CS230's layout as DATA.

    Seed 0 draws the embedded data set itself.
    """
    from signs_builder.dataset import Split
    from signs_builder.errors import DatasetError
    from signs_builder.hands import LABELS, draw_hands
    from signs_builder.sources import SYNTHETIC_TEST, SYNTHETIC_TRAIN

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(f"{folder} is not an empty folder; choose another, so that nothing is mixed up.")
    if count is not None:
        files = Split(*draw_hands(count, seed=seed)).files(folder, LABELS)
    else:
        train = Split(*draw_hands(SYNTHETIC_TRAIN, seed=seed))
        test = Split(*draw_hands(SYNTHETIC_TEST, seed=seed, first=SYNTHETIC_TRAIN))
        files = train.files(folder / "train_signs", LABELS) + test.files(folder / "test_signs", LABELS)
    if as_json:
        print_json({"pictures": [str(file) for file in files]})
    else:
        click.echo(f"Drew {len(files):,} hands in {folder}.")
