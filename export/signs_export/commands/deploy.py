"""The commands `signs deploy ...`. Heavy modules are imported only when a command runs."""

import shlex
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
    """Prepare a bundle for a board, a container, a cluster, a web page or another language."""


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The folder to write, or a .tar file."
)


def system_options(config: BoardConfig | ContainerConfig) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Options for the target's platform and Python version."""
    platforms = [name for name in PLATFORMS if name.startswith("linux") or isinstance(config, BoardConfig)]

    def decorate(command: click.decorators.FC) -> click.decorators.FC:
        command = click.option(
            "--python", default=config.python, show_default=True, help=f"The target's Python: {', '.join(PYTHONS)}."
        )(command)
        return click.option(
            "--platform",
            default=config.platform,
            show_default=True,
            help=f"The target's platform: {', '.join(platforms)}.",
        )(command)

    return decorate


@deploy.command(cls=Command)
@bundle_argument
@system_options(BoardConfig())
@click.option(
    "--service",
    "program",
    type=click.Path(path_type=Path),
    help="Your Python program. Adds a systemd unit that verifies the bundle and starts your program at boot.",
)
@output_option
@json_option
def board(bundle: Path, platform: str, python: str, program: Path | None, output: Path, as_json: bool) -> None:
    """Write a folder or a .tar file that installs BUNDLE on a board without a network and proves it there.

    The folder holds the bundle, the runtime's wheel, pinned wheels of its dependencies, and install.sh.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.board import deploy_board

    files = deploy_board(bundle, output, BoardConfig(platform, python, program), progress=progress_bar)
    _show(output, files, platform, python, "copy it to the board and run in it: sh install.sh", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@system_options(ContainerConfig())
@output_option
@json_option
def container(bundle: Path, platform: str, python: str, output: Path, as_json: bool) -> None:
    """Write a folder from which Docker builds a container with BUNDLE.

    The build needs a network only for the base image. The container runs as an unprivileged user, on a read-only file
    system. Its health check verifies the bundle.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.container import deploy_container

    files = deploy_container(bundle, output, ContainerConfig(platform, python), progress=progress_bar)
    _show(output, files, platform, python, _in(output, "docker build --tag classifier ."), as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@click.option("--variant", help="The variant to use.  [default: int8 if the bundle has it, else the first]")
@click.option("--title", help="The page's title.")
@output_option
@json_option
def web(bundle: Path, variant: str | None, title: str | None, output: Path, as_json: bool) -> None:
    """Write a static web page that proves BUNDLE in the browser and labels pictures with it.

    Pictures come from files, the clipboard or the camera, and never leave the browser. Any web server can serve the
    page. Once loaded, it needs no network. Cameras need https or localhost.
    """
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.web import WebConfig, deploy_web

    config = WebConfig(variant, title or WebConfig.title)
    files = deploy_web(bundle, output, config, progress=progress_bar)
    _tell(output, files, _in(output, "python -m http.server"), as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@click.option("--variant", help="The variant to convert.  [default: int8 if the bundle has it, else the first]")
@click.option(
    "--processor",
    type=click.Choice(PROCESSORS),
    default=PROCESSORS[0],
    show_default=True,
    help="The target's processor.",
)
@output_option
@json_option
def small(bundle: Path, variant: str | None, processor: Processor, output: Path, as_json: bool) -> None:
    """Write BUNDLE's model in onnxruntime's ORT format, and the list of operators for a minimal onnxruntime build."""
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.deploy.small import deploy_small

    files = deploy_small(bundle, output, SmallConfig(variant, processor), progress=progress_bar)
    _tell(output, files, "build onnxruntime with the command in its README.md", as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@output_option
@json_option
def node(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a Node.js program that proves BUNDLE and labels pictures with it."""
    _program(bundle, output, "node", _in(output, "npm install && node classify.js --verify"), as_json=as_json)


@deploy.command(cls=Command)
@bundle_argument
@output_option
@json_option
def cpp(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a C++ program that proves BUNDLE and labels pictures with it."""
    _program(bundle, output, "cpp", "build it with the commands in its README.md", as_json=as_json)


@deploy.command("gpu-check", cls=Command)
@bundle_argument
@output_option
@json_option
def gpu_check(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a folder that proves, tunes and times BUNDLE on another machine's NVIDIA GPU, and writes a report there.

    Its script check_gpu.py installs onnxruntime for CUDA and TensorRT. Its option --train also trains one epoch with
    Keras on JAX.
    """
    from signs_export.deploy.gpu_check import deploy_gpu_check

    files = deploy_gpu_check(bundle, output)
    _tell(output, files, "copy it to that machine and run in it: python3 check_gpu.py", as_json=as_json)


@deploy.command("ray-serve", cls=Command)
@bundle_argument
@output_option
@json_option
def ray_serve(bundle: Path, output: Path, as_json: bool) -> None:
    """Write a folder that serves BUNDLE over HTTP on a Ray cluster, with replicas that follow the load.

    If you deploy another bundle later, each new replica starts before an old one stops, and no request is lost.
    """
    from signs_export.deploy.ray_serve import deploy_ray_serve

    files = deploy_ray_serve(bundle, output)
    _tell(output, files, "start it as its README.md says", as_json=as_json)


def _program(bundle: Path, output: Path, language: Language, follows: str, *, as_json: bool) -> None:
    from signs_export.deploy.program import deploy_program

    files = deploy_program(bundle, output, language)
    _tell(output, files, follows, as_json=as_json)


def _tell(output: Path, files: Sequence[Path], follows: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"output": str(output), "files": [each.as_posix() for each in files]})
        return
    click.echo(f"Wrote {output}: {len(files)} files, {_megabytes(output, files):.1f} MB.")
    click.echo(_next(output, follows))


def _next(output: Path, follows: str) -> str:
    return f"Next{', unpacked' if output.suffix == '.tar' else ''}: {follows}"


def _in(output: Path, command: str) -> str:
    """A command to run in the folder, which a .tar file unpacks to."""
    return f"cd {shlex.quote(str(output.with_suffix('') if output.suffix == '.tar' else output))} && {command}"


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
    click.echo(_next(output, follows))
