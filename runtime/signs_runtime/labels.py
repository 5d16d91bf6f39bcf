"""Labels as people see them: which of them cannot be told apart; and from which probability on one is found."""

import unicodedata
from collections.abc import Sequence

UNSURE = "unsure"  # the label of a prediction below the threshold
Thresholds = tuple[float, ...]  # of a multi-label classifier, for each label; (): a picture has one label
MIN_THRESHOLD, MAX_THRESHOLD = 1e-6, 1 - 1e-6  # beyond them, float32 finds a label always or never


def find_lookalikes(labels: Sequence[str]) -> tuple[str, str] | None:
    """The first two labels that look the same, or None; one that shows nothing looks like an empty one.

    Marks without ink of their own (zero-width spaces, directions, variation selectors) do not count, nor do spaces at
    the ends or in a row, nor how an accent is written.
    """
    seen = {"": ""}
    for label in labels:
        shown = _as_shown(label)
        if shown in seen:
            return seen[shown], label
        seen[shown] = label
    return None


# Without ink, though of other categories (Unicode's Default_Ignorable_Code_Point): variation selectors, fillers.
_WITHOUT_INK = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
_BRAILLE_BLANK = "\u2800"  # a space to the eye


def _as_shown(label: str) -> str:
    inked = "".join(each for each in label if unicodedata.category(each) != "Cf" and each not in _WITHOUT_INK).replace(
        _BRAILLE_BLANK, " "
    )
    return " ".join(unicodedata.normalize("NFC", inked).split())
