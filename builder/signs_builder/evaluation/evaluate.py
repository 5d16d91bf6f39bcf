"""Measures a classifier: accuracy, also per class, confusion, wrong pictures and the shift suite."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_builder.errors import ModelError
from signs_builder.evaluation.shift_suite import shifted, shifts_of
from signs_builder.progress import Progress, no_progress
from signs_runtime.errors import ImageError
from signs_runtime.figures import Accuracy
from signs_runtime.pictures.input_spec import InputSpec

SUITE_PICTURES = 500  # at most, evenly spaced, go through the shift suite
CHUNK = 512  # pictures in memory at once
BATCH = 64  # pictures through the classifier at once

# uint8 (n, *spec.shape) -> probabilities float32 (n, classes)
Probabilities = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class WrongPicture:
    """A picture that got a wrong label; `place` is its index in the split."""

    place: int
    picture: str  # the file's name, or its number
    label: str
    said: str  # the predicted label
    probability: float  # of `said`, 0..1


@dataclass(frozen=True)
class Figures:
    """A classifier's results on one split; `confusion` (classes, classes): rows are true, columns are predicted."""

    labels: tuple[str, ...]
    loss: float  # cross-entropy
    accuracy: Accuracy
    confusion: tuple[tuple[int, ...], ...]
    wrong: tuple[WrongPicture, ...]  # the most confident first
    shifts: dict[str, Accuracy]  # of the pictures that a shift changes; a cast does not change a grey one

    @property
    def per_class(self) -> dict[str, Accuracy]:
        """The accuracy of each class that has pictures."""
        rows = zip(self.labels, self.confusion, strict=True)
        return {label: Accuracy(row[i], sum(row)) for i, (label, row) in enumerate(rows) if sum(row)}

    @property
    def mean_of_shifts(self) -> float | None:
        """Mean accuracy over the shifts, 0..1; None if none was measured."""
        return sum(each.share for each in self.shifts.values()) / len(self.shifts) if self.shifts else None

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "loss": self.loss,
            **self.accuracy.as_json(),
            "per_class": {label: each.as_json() for label, each in self.per_class.items()},
            "confusion": self.confusion,
            "wrong": [vars(each) for each in self.wrong],
            "shift_suite": {
                "mean_accuracy": self.mean_of_shifts,
                "shifts": {name: each.as_json() for name, each in self.shifts.items()},
            },
        }


def evaluate(
    probabilities: Probabilities,
    split: Split,
    labels: Sequence[str],
    spec: InputSpec,
    *,
    suite: bool = True,
    progress: Progress = no_progress,
) -> Figures:
    """Measure a classifier on a split and, with `suite`, on the shift suite made from it, in bounded memory.

    Raises ImageError that names all pictures that cannot be read, and ModelError if answers are NaN or infinite.
    """
    with progress("Measuring", len(split)) as on_done:
        given = []
        for start in range(0, len(split), CHUNK):
            part = split.part(np.arange(start, min(start + CHUNK, len(split))))
            given.append(_in_batches(probabilities, _images(part, spec, split)))
            on_done(len(part))
    answers = np.concatenate(given)
    if not np.isfinite(answers).all():
        raise ModelError("The model answers with NaN or infinite numbers; train with a smaller --learning-rate.")
    said = answers.argmax(axis=1)
    wrong = [
        WrongPicture(int(i), _name(split, int(i)), labels[split.labels[i]], labels[said[i]], float(answers[i].max()))
        for i in np.flatnonzero(said != split.labels)
    ]
    return Figures(
        labels=tuple(labels),
        loss=cross_entropy(answers, split.labels),
        accuracy=Accuracy(int((said == split.labels).sum()), len(split)),
        confusion=tuple(map(tuple, count_confusion(split.labels, said, len(labels)).tolist())),
        wrong=tuple(sorted(wrong, key=lambda each: -each.probability)),
        shifts=_measure_shifts(probabilities, split, labels, spec, progress) if suite else {},
    )


def _images(part: Split, spec: InputSpec, whole: Split) -> NDArray[np.uint8]:
    try:
        return part.images(spec)
    except ImageError:
        whole.check(spec)  # names the unreadable pictures of the other parts as well
        raise


def count_confusion(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count pairs of true and predicted labels, both (n,): (classes, classes), rows are true, columns predicted."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, said), 1)
    return counts


def cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean of -log of the probability of each picture's true label."""
    own = probabilities[np.arange(len(labels)), labels]
    return -float(np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())


def _measure_shifts(
    probabilities: Probabilities, split: Split, labels: Sequence[str], spec: InputSpec, progress: Progress
) -> dict[str, Accuracy]:
    some = split.part(np.unique(np.linspace(0, len(split) - 1, min(len(split), SUITE_PICTURES)).round().astype(int)))
    images = some.images(spec)
    measured = {}
    names = shifts_of(labels)
    with progress("Measuring the shift suite", len(names)) as on_done:
        for name in names:
            pictures = shifted(images, name)
            changed = (pictures != images).any(axis=(1, 2, 3))
            if changed.any():
                said = _in_batches(probabilities, pictures[changed]).argmax(axis=1)
                measured[name] = Accuracy(int((said == some.labels[changed]).sum()), int(changed.sum()))
            on_done(1)
    return measured


def _in_batches(probabilities: Probabilities, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([probabilities(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])


def _name(split: Split, i: int) -> str:
    picture = split.pictures[i]
    return picture.name if isinstance(picture, Path) else f"#{i}"
