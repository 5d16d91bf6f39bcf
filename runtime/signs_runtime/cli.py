"""What every command of the project shares: one error handler, found subcommands, tables, JSON."""

import errno
import json
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
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
        try:
            return super().invoke(ctx)
        except SignsError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing was written.", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except OSError as error:
            if error.errno not in _ENVIRONMENT_ERRNOS:
                raise
            click.echo(f"Error: {error}; free some space or choose another place. Nothing was written.", err=True)
            sys.exit(SignsError.exit_code)


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
