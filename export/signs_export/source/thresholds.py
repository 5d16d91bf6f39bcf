"""Reads the thresholds of a multi-label classifier: the probability from which it finds a label."""

from pathlib import Path
from typing import Any

from signs_export.errors import ExportError
from signs_runtime.bundle.strict_json import parse_json
from signs_runtime.errors import BundleFormatError
from signs_runtime.labels import MAX_THRESHOLD, MIN_THRESHOLD, Thresholds

DEFAULT = 0.5


def read_thresholds(given: str | None, labels: tuple[str, ...]) -> Thresholds:
    """A threshold for each label: one number for all, or a JSON object of labels and numbers. Raises ExportError."""
    if given is None:
        return (DEFAULT,) * len(labels)
    try:
        values: list[Any] = [float(given)] * len(labels)
    except ValueError:
        values = _of_file(Path(given), labels)
    if wrong := [
        value for value in values if not (isinstance(value, int | float) and MIN_THRESHOLD <= value <= MAX_THRESHOLD)
    ]:
        raise ExportError(
            f"--thresholds {given}: {wrong[0]!r:.40} is not a probability from {MIN_THRESHOLD} to {MAX_THRESHOLD}."
        )
    return tuple(map(float, values))


def _of_file(path: Path, labels: tuple[str, ...]) -> list[Any]:
    try:
        values = parse_json(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, ValueError, BundleFormatError) as error:
        raise ExportError(f"--thresholds {path} is neither a number nor a file with JSON ({error}).") from error
    if not isinstance(values, dict) or values.keys() != set(labels):
        raise ExportError(
            f"--thresholds {path} must hold a JSON object with a number for each label: {', '.join(labels[:12])}."
        )
    return [values[label] for label in labels]
