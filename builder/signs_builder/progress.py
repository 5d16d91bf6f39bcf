"""How long work reports how far it is: a callback that the library calls and a command turns into a bar."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# Called with a step's name and how much there is to do (0: not known), it gives a context. The context's value is
# called with what was done since the last call.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def ignore_progress(done: int) -> None:
    """The default report: none."""


def no_progress(step: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The default Progress: silence."""
    return nullcontext(ignore_progress)
