"""What the builder refuses: data and models that cannot be what the user meant."""

from collections.abc import Sequence

from signs_runtime.errors import SignsError

MOST_LISTED = 20  # lines of a message that names what is wrong


class DatasetError(SignsError, ValueError):
    """The pictures are missing, malformed or too few to learn from."""


class ModelError(SignsError, ValueError):
    """The Keras model cannot be built, or its file cannot be loaded."""


class DiskFullError(SignsError, OSError):
    """There is no room for what is about to be made."""


class StrategyError(SignsError, RuntimeError):
    """A training cannot be spread as asked, with the devices and the back end that there are."""


def list_first(lines: Sequence[str]) -> str:
    """The first lines, one below the other and indented, and how many more there are: the end of a message."""
    more = [f"and {len(lines) - MOST_LISTED:,} more"] if len(lines) > MOST_LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:MOST_LISTED], *more])
