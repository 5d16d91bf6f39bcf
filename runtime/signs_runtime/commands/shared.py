"""What all commands of the project share: the error handler, subcommands from other wheels, tables, JSON."""

import errno
import functools
import io
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from signs_runtime.errors import SignsError

if TYPE_CHECKING:
    from signs_runtime.bundle.manifest import Speed

PLUGINS = "signs.commands"  # the entry-point group in which other distributions add subcommands

# Errors of the user's disk and permissions, not of our code: shown without a traceback.
_ENVIRONMENT_ERRNOS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some disk space or choose another path"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a path that you can write to"),
    **dict.fromkeys((errno.EBUSY, errno.EXDEV, errno.ENAMETOOLONG), "choose another path"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "choose another path"),
}

_ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_INTERRUPTS = "signs_runtime.interrupts"  # key in click's context: the signals received so far

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")


class Command(click.Command):
    """A command that exits with 1 on a SignsError, 3 on a failed gate or proof, 130 on Ctrl-C, 143 on SIGTERM.

    Any other exception is a bug and shows its traceback. click itself exits with 2 on wrong usage.
    """

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's own
        warnings.filterwarnings(
            "ignore", "Image size .* exceeds limit"
        )  # such pictures are refused with our own message
        _let_all_be_printed()
        with _noting_interrupts() as interrupts:
            ctx.meta[_INTERRUPTS] = interrupts
            try:
                return super().invoke(ctx)
            except (Exception, KeyboardInterrupt) as error:
                # Native code may turn Ctrl-C into its own exception, as TensorFlow does, so the signal decides.
                if interrupts or isinstance(error, KeyboardInterrupt):
                    click.echo("Interrupted. No half-written files were left behind.", err=True)
                    sys.exit(128 + (interrupts or [signal.SIGINT])[0])  # a shell's convention
                if isinstance(error, SignsError):
                    click.echo(f"Error: {error}", err=True)
                    sys.exit(error.exit_code)
                if isinstance(error, OSError) and error.errno in _ENVIRONMENT_ERRNOS:
                    click.echo(f"Error: {error}; {_ENVIRONMENT_ERRNOS[error.errno]}.", err=True)
                    sys.exit(SignsError.exit_code)
                raise


def _let_all_be_printed() -> None:
    """Escape what an output cannot encode: file names that are not valid text, labels that a code page lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the parent process closed it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the process's life
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on Ctrl-C, SIGTERM and SIGHUP, so that all three clean up, and note which it was."""
    noted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    before = {number: signal.signal(number, interrupt) for number in _ENDING_SIGNALS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt again if it was swallowed, as happens to a Ctrl-C while libraries load.

    Long work calls this at each step of its progress.
    """
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_INTERRUPTS):
        raise KeyboardInterrupt


class PluggedGroup(click.Group):
    """A group that also finds subcommands of other installed distributions, and imports only the one that runs."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(plugin.name for plugin in _plugins())})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        own = super().get_command(ctx, name)
        if own is not None:
            return own
        for plugin in _plugins():
            if plugin.name == name:
                command: click.Command = plugin.load()
                return command
        return None


def _plugins() -> Sequence[EntryPoint]:
    return tuple(entry_points(group=PLUGINS))


def gathered(name: str, kind: type[Any], options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A decorator that adds click options and passes their values as one argument `name`, the dataclass `kind`.

    The options' parameters are named like the dataclass's fields; fields without an option keep their defaults.
    """

    def decorate(command: Callable[..., Any]) -> Any:  # Any: click's own
        @functools.wraps(command)
        def gather(**values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in fields(kind) if field.name in values}
            return command(**{name: kind(**own)}, **values)

        decorated: Any = gather
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def print_json(document: Any) -> None:  # Any: JSON
    """Print a result for machines on stdout, as strict JSON in ASCII; error messages go to stderr."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), *, err: bool = False) -> None:
    """Print aligned columns on stdout (or stderr), with an underlined header."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if header:
        lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(text, file=sys.stderr if err else sys.stdout)  # named, because click would turn ASCII into UTF-8


def describe_memory(peak: int | None) -> str:
    """The memory of a process with a variant, for a table."""
    return "not measured" if peak is None else f"{peak / 1e6:.0f} MB"


def describe_speed(speed: "Speed | None") -> str:
    """A variant's speed relative to fp32's, for a table."""
    if speed is None:
        return "not compared"
    return f"{speed.speedup:.2f} times fp32's" + (", size only" if speed.size_only else "")
