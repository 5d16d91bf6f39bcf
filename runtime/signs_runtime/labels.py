"""Finds labels that people cannot tell apart, and defines the thresholds from which a label counts as found."""

import unicodedata
from collections.abc import Sequence

UNSURE = "unsure"  # the label of a prediction below the threshold
Thresholds = tuple[float, ...]  # one for each label of a multi-label classifier; (): a picture has one label
MIN_THRESHOLD, MAX_THRESHOLD = 1e-6, 1 - 1e-6  # beyond these, float32 always or never finds a label


def find_lookalikes(labels: Sequence[str]) -> tuple[str, str] | None:
    """Find the first two labels that look the same; None if all differ. A label without ink looks like an empty one.

    Invisible characters (zero-width spaces, direction marks, variation selectors) are ignored, and so are leading,
    trailing and repeated spaces and the encoding of accents.
    """
    seen = {"": ""}
    for label in labels:
        shown = _as_shown(label)
        if shown in seen:
            return seen[shown], label
        seen[shown] = label
    return None


# Invisible characters of other categories than Cf (Unicode's Default_Ignorable_Code_Point): variation selectors,
# fillers.
_WITHOUT_INK = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, *range(0xFE00, 0xFE10), 0xFFA0))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
_BRAILLE_BLANK = "\u2800"  # looks like a space


def _as_shown(label: str) -> str:
    inked = "".join(each for each in label if unicodedata.category(each) != "Cf" and each not in _WITHOUT_INK).replace(
        _BRAILLE_BLANK, " "
    )
    return " ".join(unicodedata.normalize("NFC", inked).split())
