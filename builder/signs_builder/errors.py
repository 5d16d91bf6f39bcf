"""The builder's errors: data, models and devices that cannot be used."""

from collections.abc import Sequence

from signs_runtime.errors import SignsError

MOST_LISTED = 20  # lines of a list in a message
MOST_QUOTED = 200  # characters of an error of another library


class DatasetError(SignsError, ValueError):
    """The pictures are missing, malformed or too few to learn from."""


class ModelError(SignsError, ValueError):
    """The Keras model cannot be built, or its file cannot be loaded."""


class DiskFullError(SignsError, OSError):
    """The disk has too little space for the files to be written."""


class StrategyError(SignsError, RuntimeError):
    """A training cannot be spread as asked with these devices and this back end."""


def list_first(lines: Sequence[str]) -> str:
    """Format the first lines as an indented list, with the number of those left out, for the end of a message."""
    more = [f"and {len(lines) - MOST_LISTED:,} more"] if len(lines) > MOST_LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:MOST_LISTED], *more])


def end_of(reason: str) -> str:
    """The last words of another library's error, which may be pages long."""
    words = " ".join(reason.split())
    return words if len(words) <= MOST_QUOTED else f"... {words[-MOST_QUOTED:].split(' ', 1)[-1]}"
