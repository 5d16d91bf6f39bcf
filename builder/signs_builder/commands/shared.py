"""What several commands share: options for reading pictures, the start of Keras, the description of a data set."""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from signs_builder.data.embedded import SYNTHETIC
from signs_runtime.commands.shared import gathered
from signs_runtime.pictures.input_spec import CHANNELS, EXIFS, FITS, RESIZE_FILTERS, InputSpec, Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset

MAX_FOLDERS = 5  # named in a message
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


data_argument = click.argument("data", default=SYNTHETIC)


def image_size_option(default: str = str(DEFAULT_SIZE[0])) -> Callable[[Callable[..., Any]], Any]:  # Any: click's own
    """The option --image-size; `default` says in its help what applies without it."""
    return click.option(
        "--image-size", type=ImageSize(), show_default=default, help="Height x width of the model's input."
    )


_READING = {
    "resize": click.option(
        "--resize",
        type=click.Choice(RESIZE_FILTERS),
        default=Reading.resize,
        show_default=True,
        help="Filter that resizes pictures to the model's size. nearest to lanczos are Pillow's "
        "(keras.utils.load_img: nearest), tf-* TensorFlow's (image_dataset_from_directory: tf-bilinear), "
        "cv2-* OpenCV's (cv2.resize: cv2-linear).",
    ),
    "fit": click.option(
        "--fit",
        type=click.Choice(FITS),
        default=Reading.fit,
        show_default=True,
        help="How to fit pictures of other proportions: stretch them, crop them around the centre (as Teachable "
        "Machine does), or pad them with black.",
    ),
    "channels": click.option(
        "--channels",
        type=click.Choice(CHANNELS),
        default=Reading.channels,
        show_default=True,
        help="Order of the colours; OpenCV's is BGR.",
    ),
    "exif": click.option(
        "--exif",
        type=click.Choice(EXIFS),
        default=Reading.exif,
        show_default=True,
        help="Whether to rotate pictures by their EXIF orientation. keras.utils.load_img and TensorFlow ignore it.",
    ),
}
reading_options = gathered("reading", Reading, tuple(_READING.values()))
training_reading_options = gathered("reading", Reading, tuple(_READING[name] for name in ("resize", "fit", "exif")))


def spec_of_training(image_size: tuple[int, int] | None, reading: Reading) -> InputSpec:
    """How pictures are read for training. Raises click.UsageError for any order of colours but RGB."""
    if reading.channels != "RGB":
        raise click.UsageError(
            f"--channels {reading.channels} is not available for training; models are trained on RGB."
        )
    return InputSpec.read_as(reading, *(image_size or DEFAULT_SIZE))


def start_keras() -> None:
    """Import Keras and its back end; hide their notices unless the user has set TensorFlow's log level."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or sys.stderr is None:  # None: the parent process closed it
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # hides notices after the import
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
    """`SIGNS: 1,080 train (864 and 216 validation) and 120 test pictures, labels 0, 1`, then a line for each caveat."""
    counts = dataset.counts
    held = f" ({counts['train']:,} and {counts['validation']:,} validation)" if "validation" in counts else ""
    line = (
        f"{dataset.name}: {len(dataset.all_but_test):,} train{held} and {counts['test']:,} test pictures, "
        f"labels {', '.join(dataset.labels)}"
        + (f"; {dataset.skipped:,} other files skipped" if dataset.skipped else "")
        + (f"; not read: {_name_folders(dataset.passed_over)}" if dataset.passed_over else "")
    )
    return "\n".join([line, *(f"Note: {caveat}" for caveat in dataset.caveats)])


def _name_folders(names: Sequence[str]) -> str:
    more = [f"and {len(names) - MAX_FOLDERS:,} more"] if len(names) > MAX_FOLDERS else []
    return ", ".join([*(f"{name}/" for name in names[:MAX_FOLDERS]), *more])
