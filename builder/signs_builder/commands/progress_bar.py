"""Shows a library's progress as a bar on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from signs_runtime.commands.shared import stop_if_interrupted


@contextmanager
def progress_bar(step: str, total: int) -> Iterator[Callable[[int], None]]:
    """A Progress that shows a bar with elapsed and remaining time if stderr is a terminal; Ctrl-C ends it."""
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
        # a redirected stdout must not end up on stderr; stdout is None if the parent process closed it
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task(step, total=total or None)

        def advance(done: int) -> None:
            stop_if_interrupted()
            progress.advance(task, done)

        yield advance
