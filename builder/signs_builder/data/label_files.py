"""Reads the labels of a model's outputs, in their order, from the usual kinds of label files."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from signs_builder.data.dataset import Dataset, Split, as_file_name
from signs_builder.disk import stand_in
from signs_builder.errors import DatasetError, list_first

BESIDE = "labels.txt"  # as Teachable Machine calls it
LARGEST = 2**20  # bytes
_NUMBERED = re.compile(r"(\d+)[ \t:,]+(\S.*)")


def find_labels(model: Path) -> Path | None:
    """The labels file in a model's folder: `<model's name>.labels.txt`, else `labels.txt`; None if neither exists."""
    own = model.absolute().with_name(f"{model.stem}.{BESIDE}")
    return next((path for path in (own, own.with_name(BESIDE)) if path.is_file()), None)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read labels: one a line, Teachable Machine's `0 name`, a JSON list, or Keras's `class_indices` in JSON.

    Raises DatasetError.
    """
    if not path.is_file():
        raise DatasetError(f"No labels at {path}: there is no such file.")
    if (found := stand_in(path)) is not None:
        raise DatasetError(f"{path} holds no labels: it {found}.")
    if path.stat().st_size > LARGEST:
        raise DatasetError(f"{path} is not a list of labels: it is larger than 1 MiB.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8 ({error}); save it as UTF-8.") from error
    labels = _of_json(path, text) if text.lstrip()[:1] in ("[", "{") else _of_lines(path, text)
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise DatasetError(f"{path} lists {', '.join(twice[:5])} more than once; list each label once.")
    if len(labels) < 2:
        raise DatasetError(f"{path} lists fewer than two labels; a classifier needs two or more.")
    return labels


def _of_lines(path: Path, text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [match for match in map(_NUMBERED.fullmatch, lines) if match]
    if sorted(int(match[1]) for match in numbered) == list(range(len(lines))):
        return tuple(match[2] for match in sorted(numbered, key=lambda match: int(match[1])))
    return tuple(lines)


def _of_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{path} looks like JSON but is not valid: {error}.") from error
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if isinstance(value, dict) and all(isinstance(each, int) for each in value.values()):
        return _in_order(path, value, len(value))
    if isinstance(value, dict) and all(key.isdigit() and isinstance(each, str) for key, each in value.items()):
        return _in_order(path, {each: int(key) for key, each in value.items()}, len(value))
    raise DatasetError(
        f"{path} must hold a JSON list of labels, or an object of labels and their numbers, like Keras's class_indices."
    )


def _in_order(path: Path, places: dict[str, int], count: int) -> tuple[str, ...]:
    if sorted(places.values()) != list(range(count)):
        raise DatasetError(f"{path} must number its {count} labels 0 to {count - 1}, each once.")
    return tuple(sorted(places, key=lambda label: places[label]))


def relabelled(dataset: Dataset, labels: tuple[str, ...], path: Path) -> Dataset:
    """Renumber a data set to the order of `labels`, which `path` lists; labels are matched by name.

    A folder's name may differ from the label in case, and in characters that a folder's name cannot contain. Raises
    DatasetError.
    """
    place = {_plain(label): i for i, label in enumerate(labels)}
    own = [_plain(label) for label in dataset.labels]
    unknown = [label for label, plain in zip(dataset.labels, own, strict=True) if plain not in place]
    missing = [label for label in labels if _plain(label) not in own]
    if unknown or missing or len(place) < len(labels) or len(set(own)) < len(own):
        parts = [
            f"{what}:{list_first(names)}"
            for what, names in ((f"Only in {dataset.name}", unknown), (f"Only in {path}", missing))
            if names
        ]
        raise DatasetError(
            f"The labels of {dataset.name} do not match the model's labels in {path}.\n"
            + "\n".join(parts)
            + "\nRename the pictures' folders after the model's labels, or pass the right labels with --labels FILE."
        )
    order = np.array([place[plain] for plain in own], np.int64)

    def renumbered(split: Split) -> Split:
        if split.is_multi_label:
            return Split(split.pictures, split.labels[:, np.argsort(order)])
        return Split(split.pictures, order[split.labels])

    validation = None if dataset.validation is None else renumbered(dataset.validation)
    return replace(
        dataset,
        labels=labels,
        train=renumbered(dataset.train),
        validation=validation,
        test=renumbered(dataset.test),
    )


def _plain(label: str) -> str:
    return as_file_name(label).strip().casefold()
