"""How long work reports its progress: the library calls a callback, which a command shows as a bar."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# Called with a step's name and its amount of work (0: unknown). Returns a context manager, whose value is called with
# the amount done since the last call.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def ignore_progress(done: int) -> None:
    """The default callback: does nothing."""


def no_progress(step: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The default Progress: shows nothing."""
    return nullcontext(ignore_progress)
