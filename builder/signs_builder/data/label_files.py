"""Reads what a model's outputs are called, in their order, from the files that people keep beside models."""

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
    """The labels file beside a model, where there is one: the model's own, `<its name>.labels.txt`, or `labels.txt`."""
    own = model.absolute().with_name(f"{model.stem}.{BESIDE}")
    return next((path for path in (own, own.with_name(BESIDE)) if path.is_file()), None)


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a file: one a line, Teachable Machine's `0 name`, a JSON list, or Keras's `class_indices` in JSON.

    Raises DatasetError.
    """
    if not path.is_file():
        raise DatasetError(f"No labels at {path}: there is no such file.")
    if (found := stand_in(path)) is not None:
        raise DatasetError(f"{path} holds no labels: it {found}.")
    if path.stat().st_size > LARGEST:
        raise DatasetError(f"{path} is no list of labels: it is larger than a megabyte.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8 ({error}); save it in that encoding.") from error
    labels = _of_json(path, text) if text.lstrip()[:1] in ("[", "{") else _of_lines(path, text)
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise DatasetError(f"{path} lists {', '.join(twice[:5])} more than once; each label is one class.")
    if len(labels) < 2:
        raise DatasetError(f"{path} lists {len(labels)} labels; a classifier tells two or more apart.")
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
        raise DatasetError(f"{path} begins as JSON and is none: {error}.") from error
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if isinstance(value, dict) and all(isinstance(each, int) for each in value.values()):
        return _in_order(path, value, len(value))
    if isinstance(value, dict) and all(key.isdigit() and isinstance(each, str) for key, each in value.items()):
        return _in_order(path, {each: int(key) for key, each in value.items()}, len(value))
    raise DatasetError(
        f"{path} must hold a JSON list of labels, or an object of labels and their places, as Keras's class_indices."
    )


def _in_order(path: Path, places: dict[str, int], count: int) -> tuple[str, ...]:
    if sorted(places.values()) != list(range(count)):
        raise DatasetError(f"{path} must number its {count} labels 0 to {count - 1}, each once.")
    return tuple(sorted(places, key=lambda label: places[label]))


def relabelled(dataset: Dataset, labels: tuple[str, ...], path: Path) -> Dataset:
    """The data set with these labels, in their order, which `path` lists; its own are matched to them by name.

    A folder's name may be a label's without what a folder cannot hold, and in other capitals. Raises DatasetError.
    """
    place = {_plain(label): i for i, label in enumerate(labels)}
    own = [_plain(label) for label in dataset.labels]
    unknown = [label for label, plain in zip(dataset.labels, own, strict=True) if plain not in place]
    missing = [label for label in labels if _plain(label) not in own]
    if unknown or missing or len(place) < len(labels) or len(set(own)) < len(own):
        parts = [
            f"{what}:{list_first(names)}"
            for what, names in ((f"{dataset.name} alone has", unknown), (f"{path} alone has", missing))
            if names
        ]
        raise DatasetError(
            f"The labels of {dataset.name} and those that {path} lists for the model do not match.\n"
            + "\n".join(parts)
            + "\nName the pictures' folders as the model's labels, or give the model's labels by --labels FILE."
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
