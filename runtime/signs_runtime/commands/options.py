"""Options that several of the device's commands share, each with one name, one default and one meaning."""

from pathlib import Path

import click

from signs_runtime.engine.session import PROVIDERS
from signs_runtime.placement.choices import AUTO

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
device_option = click.option(
    "--device",
    type=click.Choice([AUTO, *PROVIDERS]),
    default=AUTO,
    show_default=True,
    help="Device to run on. If you name one that is unavailable, the command fails.",
)
variant_option = click.option("--variant", help="Variant of the bundle, one of those that `signs info` lists.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    show_default="as tuned, or all cores that this process may use",
    help="Number of cores to use.",
)
batch_size_option = click.option(
    "--batch-size",
    "batch",
    type=click.IntRange(min=1),
    show_default="as tuned",
    help="Maximum number of pictures in one run of the model.",
)
