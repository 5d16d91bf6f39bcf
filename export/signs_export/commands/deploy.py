"""The commands `signs deploy ...`. Heavy imports wait until a command runs."""

from dataclasses import asdict
from pathlib import Path

import click

from signs_export.deploy.platforms import PLATFORMS, PYTHONS, BoardConfig
from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.shared import Command, json_option, print_json


@click.group()
def deploy() -> None:
    """Make what goes onto a device."""


@deploy.command(cls=Command)
@bundle_argument
@click.option(
    "--platform",
    default=BoardConfig.platform,
    show_default=True,
    help=f"The board's system: {', '.join(PLATFORMS)}.",
)
@click.option(
    "--python",
    default=BoardConfig.python,
    show_default=True,
    help=f"The board's Python: {', '.join(PYTHONS)}.",
)
@click.option(
    "--service",
    "program",
    type=click.Path(path_type=Path),
    help="A Python program of yours to start at boot, after a proof; adds a systemd unit.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write, or a file that ends in .tar.",
)
@json_option
def board(bundle: Path, platform: str, python: str, program: Path | None, output: Path, as_json: bool) -> None:
    """Write a folder that installs BUNDLE on a board without a network, and proves it there.

    It holds the bundle, the runtime's wheel, pinned wheels of its dependencies, and install.sh.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.board import deploy_board

    config = BoardConfig(platform, python, program)
    files = deploy_board(bundle, output, config, progress=progress_bar)
    if as_json:
        said = {**asdict(config), "program": None if program is None else str(program)}
        print_json({"output": str(output), "files": [each.as_posix() for each in files], **said})
        return
    click.echo(f"Wrote {output}: {len(files)} files for {platform} and Python {python}.")
    click.echo("Copy it to the board, and run there: sh install.sh")
