"""The commands `signs deploy ...`. Heavy imports wait until a command runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from signs_export.deploy.platforms import (
    PLATFORMS,
    PROCESSORS,
    PYTHONS,
    BoardConfig,
    ContainerConfig,
    Language,
    Processor,
    SmallConfig,
)
from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.shared import Command, json_option, print_json


@click.group()
def deploy() -> None:
    """Make what goes onto a device."""


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write, or a .tar file."
)


def system_options(config: BoardConfig | ContainerConfig) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Where it will run."""

    def decorate(command: click.decorators.FC) -> click.decorators.FC:
        command = click.option(
            "--python", default=config.python, show_default=True, help=f"Its Python: {', '.join(PYTHONS)}."
        )(command)
        return click.option(
            "--platform", default=config.platform, show_default=True, help=f"Its system: {', '.join(PLATFORMS)}."
        )(command)

    return decorate


@deploy.command(cls=Command)
@bundle_argument
@system_options(BoardConfig())
@click.option(
    "--service",
    "program",
    type=click.Path(path_type=Path),
    help="Your Python program. Adds a systemd unit that verifies the bundle and starts it at boot.",
)
@output_option
@json_option
def board(bundle: Path, platform: str, python: str, program: Path | None, output: Path, as_json: bool) -> None:
    """Write a folder, or a .tar file, that installs BUNDLE on a board without a network, and proves it there.

    It holds the bundle, the runtime's wheel, pinned wheels of its dependencies, and install.sh.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.board import deploy_board

    files = deploy_board(bundle, output, BoardConfig(platform, python, program), progress=progress_bar)
    _show(output, files, platform, python, "Copy it to the board, and run there: sh install.sh", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@system_options(ContainerConfig())
@output_option
@json_option
def container(bundle: Path, platform: str, python: str, output: Path, as_json: bool) -> None:
    """Write a folder to build a container with BUNDLE from. Its Dockerfile needs a network for the base image only.

    The container runs as nobody, on a read-only file system, and its health check verifies the bundle.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.container import deploy_container

    files = deploy_container(bundle, output, ContainerConfig(platform, python), progress=progress_bar)
    _show(output, files, platform, python, "Next, in there: docker build --tag classifier .", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@click.option("--variant", help="The variant to use.  [default: int8 if there is one, else the first]")
@click.option("--title", help="The page's headline.")
@output_option
@json_option
def web(bundle: Path, variant: str | None, title: str | None, output: Path, as_json: bool) -> None:
    """Write a static site that labels pictures with BUNDLE in the browser, and proves it there first.

    Pictures come from files, the clipboard or the camera, and stay in the browser. Any web server will do, without a
    network once the page was loaded; cameras need https or localhost.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.web import WebConfig, deploy_web

    config = WebConfig(variant, title or WebConfig.title)
    files = deploy_web(bundle, output, config, progress=progress_bar)
    _tell(output, files, f"To look at it: python -m http.server --directory {output}", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@click.option("--variant", help="The variant to convert.  [default: int8 if there is one, else the first]")
@click.option(
    "--processor",
    type=click.Choice(PROCESSORS),
    default=PROCESSORS[0],
    show_default=True,
    help="The processor that it will run on.",
)
@output_option
@json_option
def small(bundle: Path, variant: str | None, processor: Processor, output: Path, as_json: bool) -> None:
    """Write BUNDLE's model in onnxruntime's own format, and the operators that a build of onnxruntime for it needs."""
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.small import deploy_small

    files = deploy_small(bundle, output, SmallConfig(variant, processor), progress=progress_bar)
    _tell(output, files, "Its README.md has the command that builds onnxruntime.", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@output_option
@json_option
def node(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a small program for Node.js that proves BUNDLE and labels pictures with it."""
    _program(bundle, output, "node", "npm install && node classify.js --verify", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@output_option
@json_option
def cpp(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a small program in C++ that proves BUNDLE and labels pictures with it."""
    _program(bundle, output, "cpp", "see README.md for the commands that build it", as_json=as_json)


@deploy.command("gpu-check", cls=Command)
@bundle_argument
@output_option
@json_option
def gpu_check(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a folder that proves, tunes and times BUNDLE on another machine's NVIDIA GPU, and reports back.

    There it installs onnxruntime for CUDA and TensorRT, and with --train also trains an epoch on JAX.
    """
    from signs_export.deploy.gpu_check import deploy_gpu_check

    files = deploy_gpu_check(bundle, output)
    _tell(output, files, "Copy it to that machine, and run there: python3 check_gpu.py", as_json=as_json)


def _program(bundle: Path, output: Path, language: Language, follows: str, *, as_json: bool) -> None:
    from signs_export.deploy.program import deploy_program

    files = deploy_program(bundle, output, language)
    _tell(output, files, f"Next, in there: {follows}", as_json=as_json)


def _tell(output: Path, files: Sequence[Path], follows: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"output": str(output), "files": [each.as_posix() for each in files]})
        return
    click.echo(f"Wrote {output}: {len(files)} files, {_megabytes(output, files):.1f} MB. {follows}")


def _megabytes(output: Path, files: Sequence[Path]) -> float:
    whole = [output] if output.is_file() else [output / each for each in files]
    return sum(each.stat().st_size for each in whole) / 1e6


def _show(output: Path, files: Sequence[Path], platform: str, python: str, follows: str, *, as_json: bool) -> None:
    if as_json:
        names = [each.as_posix() for each in files]
        print_json({"output": str(output), "files": names, "platform": platform, "python": python})
        return
    size = f"{len(files)} files, {_megabytes(output, files):.1f} MB"
    click.echo(f"Wrote {output}: {size}, for {platform} and Python {python}.")
    click.echo(follows)
