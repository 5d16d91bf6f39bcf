"""The options that the device's commands have in common, with one name, one default and one meaning each."""

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
    help="Device to run on. A device that you name is used, or the command fails and says why.",
)
variant_option = click.option("--variant", help="A variant of the bundle, as `signs info` lists them.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    show_default="as tuned, or what this process is allowed",
    help="Number of cores to use.",
)
batch_size_option = click.option(
    "--batch-size",
    "batch",
    type=click.IntRange(min=1),
    show_default="as tuned",
    help="The most pictures in one run of the model.",
)
