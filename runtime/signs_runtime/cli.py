"""What every command of the project shares: one error handler, found subcommands, tables, JSON."""

import errno
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Any

import click

from signs_runtime.errors import SignsError

PLUGINS = "signs.commands"  # the entry-point group in which another distribution adds its subcommands
EXIT_PARITY = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell has it

# The user's disk and rights, not our code: shown without a traceback.
_ENVIRONMENT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")


class Command(click.Command):
    """A command that ends with 1 on an error of ours, 3 on a failed parity gate, 130 on Ctrl-C.

    Anything else is a bug and shows its traceback. click itself ends with 2 on wrong usage.
    """

    def invoke(self, ctx: click.Context) -> Any:  # Any: click's own
        with _noting_interrupts() as interrupts:
            try:
                return super().invoke(ctx)
            except (Exception, KeyboardInterrupt) as error:
                # Native code may turn a Ctrl-C into an error of its own (TensorFlow does), so the signal decides.
                if interrupts or isinstance(error, KeyboardInterrupt):
                    click.echo("Interrupted: nothing is left half-written.", err=True)
                    sys.exit(EXIT_INTERRUPTED)
                if isinstance(error, SignsError):
                    click.echo(f"Error: {error}", err=True)
                    sys.exit(error.exit_code)
                if isinstance(error, OSError) and error.errno in _ENVIRONMENT_ERRNOS:
                    click.echo(f"Error: {error}; free some space or choose another place.", err=True)
                    sys.exit(SignsError.exit_code)
                raise


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on Ctrl-C, as Python does, and note that it was."""
    noted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread has signals
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


class PluggedGroup(click.Group):
    """A group that also finds the subcommands of other installed distributions, and imports only the one it runs."""

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


def print_json(document: Any) -> None:  # Any: JSON
    """Print a result for machines on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print aligned columns on stdout, the header underlined."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if header:
        lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
