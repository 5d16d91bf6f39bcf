"""Labels as people see them: which of them cannot be told apart."""

import unicodedata
from collections.abc import Sequence


def find_lookalikes(labels: Sequence[str]) -> tuple[str, str] | None:
    """The first two labels that look the same, or None; one that shows nothing looks like an empty one.

    Marks without ink of their own (Unicode's category Cf: zero-width spaces, directions) do not count, nor do spaces at
    the ends or in a row, nor how an accent is written.
    """
    seen = {"": ""}
    for label in labels:
        shown = _as_shown(label)
        if shown in seen:
            return seen[shown], label
        seen[shown] = label
    return None


def _as_shown(label: str) -> str:
    inked = "".join(each for each in label if unicodedata.category(each) != "Cf")
    return " ".join(unicodedata.normalize("NFC", inked).split())
