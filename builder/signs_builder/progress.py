"""How long work reports how far it is, and the bar on stderr that commands make of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from signs_runtime.cli import stop_if_interrupted

# Given a step's name and how much there is to do (0: not known), a context; its value is called with what was done
# since the last call.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def ignore_progress(done: int) -> None:
    """The default report: none."""


def no_progress(step: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The default Progress: silence."""
    return nullcontext(ignore_progress)


@contextmanager
def progress_bar(step: str, total: int) -> Iterator[Callable[[int], None]]:
    """A Progress that shows a bar with the time passed and left, where somebody watches stderr; Ctrl-C ends it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *((MofNCompleteColumn(),) if total else ()),
        TimeElapsedColumn(),
        *((TextColumn("left"), TimeRemainingColumn()) if total else ()),
    )
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # a stdout that goes elsewhere must not end up on stderr
    ) as progress:
        task = progress.add_task(step, total=total or None)

        def advance(done: int) -> None:
            stop_if_interrupted()
            progress.advance(task, done)

        yield advance
