"""The parity gate: the runtime reads the picture files, Keras reads them too, and the answers are held together."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_builder.dataset import Dataset, Split
from signs_builder.progress import Progress, no_progress
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.reference import Reference
from signs_runtime import AnswerError, Classifier
from signs_runtime.cli import finite
from signs_runtime.manifest import Accuracy, Parity

WORST = 5  # pictures that a failed gate shows


@dataclass(frozen=True)
class Evidence:
    """The pictures of a proof and Keras's answers to them, made once for all variants."""

    files: tuple[Path, ...]
    images: NDArray[np.uint8]  # (n, h, w, c), as Keras saw them
    truth: NDArray[np.int64]  # (n,)
    is_test: NDArray[np.bool_]  # (n,)
    expected: NDArray[np.float32]  # (n, labels)

    def accuracy(self, probabilities: NDArray[np.float32]) -> Accuracy:
        """How many test pictures these probabilities label right."""
        right = probabilities.argmax(axis=1) == self.truth
        return Accuracy(int(right[self.is_test].sum()), int(self.is_test.sum()))


@dataclass(frozen=True)
class ParityReport:
    """One variant beside Keras: `given` holds, for each picture, its answer at the batch size where it differs most."""

    variant: str
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    expected: NDArray[np.float32]  # (n, labels)
    given: NDArray[np.float32]  # (n, labels)
    flipped: NDArray[np.bool_]  # (n,): another label than Keras's at some batch size
    mean_difference: float
    batch_sizes: tuple[int, ...]
    tolerance: float

    @property
    def differences(self) -> NDArray[np.float32]:
        """The largest |probability difference| of each picture (n,); infinite where an answer is not a number."""
        differences: NDArray[np.float32] = np.abs(self.given - self.expected).max(axis=1)
        return np.nan_to_num(differences, nan=np.inf)

    @property
    def max_difference(self) -> float:
        return float(self.differences.max())

    @property
    def same_label(self) -> int:
        return len(self.files) - int(self.flipped.sum())

    @property
    def passed(self) -> bool:
        """Every label is Keras's, and no probability is further from Keras's than the tolerance."""
        return not self.flipped.any() and self.max_difference <= self.tolerance

    @property
    def summary(self) -> Parity:
        return Parity(len(self.files), self.batch_sizes, self.max_difference, self.mean_difference, self.same_label)

    def describe(self) -> str:
        """The numbers in a line; where the gate failed, the worst pictures below it."""
        lines = [
            f"{self.variant}: parity {'passed' if self.passed else 'FAILED'} on {len(self.files):,} pictures at batch "
            f"sizes {', '.join(map(str, self.batch_sizes))}: max |probability difference| {self.max_difference:.1e} "
            f"(tolerance {self.tolerance:.0e}), mean {self.mean_difference:.1e}, "
            f"the same label on {self.same_label:,} of {len(self.files):,}"
        ]
        if not self.passed:
            lines.append("The worst pictures:")
            lines += [
                f"  {file}: Keras {self._label(self.expected[i])}, exported {self._label(self.given[i])}, "
                f"difference {self.differences[i]:.1e}"
                for i, file in self.worst()
            ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The numbers and the worst pictures; an answer that is not a number is null."""
        return {
            "variant": self.variant,
            "passed": self.passed,
            "tolerance": self.tolerance,
            "pictures": len(self.files),
            "batch_sizes": self.batch_sizes,
            "max_difference": finite(self.max_difference),
            "mean_difference": finite(self.mean_difference),
            "same_label": self.same_label,
            "worst": [
                {
                    "picture": str(file),
                    "keras": dict(zip(self.labels, map(finite, self.expected[i].tolist()), strict=True)),
                    "exported": dict(zip(self.labels, map(finite, self.given[i].tolist()), strict=True)),
                    "flipped": bool(self.flipped[i]),
                }
                for i, file in self.worst()
            ],
        }

    def worst(self, count: int = WORST) -> list[tuple[int, Path]]:
        """The pictures that differ most, flipped ones first, with their positions."""
        order = np.lexsort((-self.differences, ~self.flipped))[:count]
        return [(int(i), self.files[i]) for i in order]

    def _label(self, probabilities: NDArray[np.float32]) -> str:
        index = int(probabilities.argmax())
        return f"{self.labels[index]} ({probabilities[index]:.4f})"


def prove(
    classifiers: Mapping[str, Classifier],
    reference: Reference,
    dataset: Dataset,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> tuple[Evidence, tuple[ParityReport, ...]]:
    """Hold each variant, by name, beside Keras on the pictures of a data set; a miss is a report that has not passed.

    Raises ExportError where the labels differ, and ImageError for a picture that cannot be read.
    """
    for name, classifier in classifiers.items():
        if classifier.labels != dataset.labels:
            raise ExportError(
                f"{name} has the labels {classifier.labels} and the data {dataset.labels}, in this order; "
                "give the data that the model was trained on."
            )
    with tempfile.TemporaryDirectory() as folder:
        evidence = _collect(reference, dataset, config, Path(folder), progress)
        reports = []
        for name, classifier in classifiers.items():
            with progress(f"Proving {name}", len(evidence.files) * len(config.batch_sizes)) as on_done:
                reports.append(_compare(classifier, name, evidence, config, on_done))
    return evidence, tuple(reports)


def _collect(
    reference: Reference, dataset: Dataset, config: ExportConfig, folder: Path, progress: Progress
) -> Evidence:
    """Ask Keras about the test pictures and as many others as the limit allows, evenly chosen.

    Pictures that are not in files (HDF5, synthetic) are written to `folder`, so that the runtime reads files.
    """
    test = _thin(dataset.test, config.parity_pictures)
    others = _thin(dataset.all_but_test, config.parity_pictures - len(test))
    files = test.files(folder / "test", dataset.labels) + others.files(folder / "train", dataset.labels)
    chosen = Split(files, np.concatenate([test.labels, others.labels]))
    images = chosen.images(reference.input)
    with progress("Asking Keras", len(images)) as on_done:
        expected = reference.probabilities(images, on_done)
    return Evidence(tuple(files), images, chosen.labels, np.arange(len(chosen)) < len(test), expected)


def _compare(
    classifier: Classifier, variant: str, evidence: Evidence, config: ExportConfig, on_done: Callable[[int], None]
) -> ParityReport:
    """Label every file through the runtime at each batch size and keep, per picture, what is furthest from Keras."""
    n = len(evidence.files)
    worst = evidence.expected.copy()
    worst_difference = np.full(n, -1.0)
    flipped = np.zeros(n, bool)
    total = 0.0
    for batch_size in config.batch_sizes:
        for start in range(0, n, batch_size):
            batch = slice(start, start + batch_size)
            expected = evidence.expected[batch]
            try:
                given = np.stack([each.probabilities for each in classifier.predict_batch(evidence.files[batch])])
            except AnswerError:  # a miss like any other
                given = np.full_like(expected, np.nan)
            difference = np.nan_to_num(np.abs(given - expected), nan=np.inf)
            flipped[batch] |= given.argmax(axis=1) != expected.argmax(axis=1)
            furthest = difference.max(axis=1)
            further = furthest > worst_difference[batch]
            worst[batch][further] = given[further]
            worst_difference[batch][further] = furthest[further]
            total += float(difference.sum())
            on_done(len(expected))
    mean = total / (len(config.batch_sizes) * evidence.expected.size)
    return ParityReport(
        variant,
        classifier.labels,
        evidence.files,
        evidence.expected,
        worst,
        flipped,
        mean,
        config.batch_sizes,
        config.tolerance,
    )


def _thin(split: Split, limit: int) -> Split:
    """At most `limit` pictures of a split, evenly spaced."""
    if len(split) <= limit:
        return split
    kept = np.linspace(0, len(split) - 1, max(limit, 0)).round().astype(int)
    if isinstance(split.pictures, np.ndarray):
        return Split(split.pictures[kept], split.labels[kept])
    pictures: Sequence[Path] = [split.pictures[i] for i in kept]
    return Split(pictures, split.labels[kept])
