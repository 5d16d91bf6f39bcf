"""The parity gate: the runtime reads the picture files, Keras reads them too, and the answers are held together."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from signs_runtime.manifest import Accuracy, Budget, Paired, Parity

WORST = 5  # pictures that a failed gate shows


@dataclass(frozen=True)
class Evidence:
    """The pictures of a proof and Keras's answers to them, made once for all variants."""

    labels: tuple[str, ...]
    files: tuple[Path, ...]
    images: NDArray[np.uint8]  # (n, h, w, c), as Keras saw them
    truth: NDArray[np.int64]  # (n,)
    is_test: NDArray[np.bool_]  # (n,)
    expected: NDArray[np.float32]  # (n, labels)

    def accuracy(self, probabilities: NDArray[np.float32]) -> Accuracy:
        """How many test pictures these probabilities label right."""
        return Accuracy(int(self._right(probabilities).sum()), int(self.is_test.sum()))

    def paired(self, probabilities: NDArray[np.float32]) -> Paired:
        """Keras's labels beside these on the test pictures."""
        keras, other = self._right(self.expected), self._right(probabilities)
        return Paired(len(keras), int((keras & ~other).sum()), int((other & ~keras).sum()))

    def _right(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = (probabilities.argmax(axis=1) == self.truth)[self.is_test]
        return right


@dataclass(frozen=True)
class ParityReport:
    """One variant beside Keras: `given` holds, for each picture, its answer at the batch size where it differs most."""

    variant: str
    evidence: Evidence
    given: NDArray[np.float32]  # (n, labels)
    flipped: NDArray[np.bool_]  # (n,): another label than Keras's at some batch size
    mean_difference: float
    batch_sizes: tuple[int, ...]
    budget: Budget

    @property
    def pictures(self) -> int:
        return len(self.evidence.files)

    @property
    def differences(self) -> NDArray[np.float32]:
        """The largest |probability difference| of each picture (n,); infinite where an answer is not a number."""
        differences: NDArray[np.float32] = np.abs(self.given - self.evidence.expected).max(axis=1)
        return np.nan_to_num(differences, nan=np.inf)

    @property
    def max_difference(self) -> float:
        return float(self.differences.max())

    @property
    def p99_difference(self) -> float:
        """99 of 100 pictures differ by no more."""
        return float(np.percentile(self.differences, 99, method="higher"))  # a picture's own: no mean with infinity

    @property
    def same_label(self) -> int:
        return self.pictures - int(self.flipped.sum())

    @property
    def accuracy(self) -> Accuracy:
        """Test pictures that the variant labels right."""
        return self.evidence.accuracy(self.given)

    @property
    def paired(self) -> Paired:
        """The test pictures that Keras or the variant alone labels right."""
        return self.evidence.paired(self.given)

    @property
    def misses(self) -> tuple[str, ...]:
        """What breaks the budget, each with its number and its limit; none where the gate is passed."""
        budget, paired, misses = self.budget, self.paired, []
        if self.same_label < budget.agreement * self.pictures:
            misses.append(f"Keras's label on {self.same_label / self.pictures:.2%}, at least {budget.agreement:.2%}")
        if budget.max_difference is not None and not self.max_difference <= budget.max_difference:
            misses.append(f"max difference {self.max_difference:.1e}, at most {budget.max_difference:.0e}")
        if budget.mean_difference is not None and not self.mean_difference <= budget.mean_difference:
            misses.append(f"mean difference {self.mean_difference:.1e}, at most {budget.mean_difference:.0e}")
        if paired.is_worse:
            misses.append(
                f"{paired.only_keras} test pictures right in Keras alone, {paired.only_variant} in the variant alone: "
                f"McNemar's p {paired.p_value:.2g}, at least 0.05"
            )
        return tuple(misses)

    @property
    def passed(self) -> bool:
        """The variant answers as Keras does, within its budget."""
        return not self.misses

    @property
    def summary(self) -> Parity:
        return Parity(
            pictures=self.pictures,
            batch_sizes=self.batch_sizes,
            max_difference=self.max_difference,
            p99_difference=self.p99_difference,
            mean_difference=self.mean_difference,
            same_label=self.same_label,
        )

    def describe(self) -> str:
        """The numbers in a line; where the gate failed, the reasons and the worst pictures below it."""
        n = self.pictures
        lines = [
            f"{self.variant}: parity {'passed' if self.passed else 'FAILED'} on {n:,} pictures at batch "
            f"sizes {', '.join(map(str, self.batch_sizes))}: the same label on {self.same_label:,} of {n:,}; "
            f"|probability difference| at most {self.max_difference:.1e}, on average {self.mean_difference:.1e}"
        ]
        if not self.passed:
            lines += [f"  {miss}" for miss in self.misses]
            lines.append("The worst pictures:")
            lines += [
                f"  {file}: Keras {self.label(self.evidence.expected[i])}, exported {self.label(self.given[i])}, "
                f"difference {self.differences[i]:.1e}"
                for i, file in self.worst()
            ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The numbers and the worst pictures; an answer that is not a number is null."""
        paired = self.paired
        return {
            "variant": self.variant,
            "passed": self.passed,
            "misses": self.misses,
            "budget": asdict(self.budget),
            "pictures": self.pictures,
            "batch_sizes": self.batch_sizes,
            "max_difference": finite(self.max_difference),
            "p99_difference": finite(self.p99_difference),
            "mean_difference": finite(self.mean_difference),
            "same_label": self.same_label,
            "test_accuracy": self.accuracy.as_json(),
            "test_pairs": {
                **asdict(paired),
                "p_value": paired.p_value,
                "drop": paired.drop,
                "drop_interval_95": paired.drop_interval,
            },
            "worst": [
                {
                    "picture": str(file),
                    "keras": self._named(self.evidence.expected[i]),
                    "exported": self._named(self.given[i]),
                    "flipped": bool(self.flipped[i]),
                }
                for i, file in self.worst()
            ],
        }

    def worst(self, count: int = WORST) -> list[tuple[int, Path]]:
        """The pictures that differ most, flipped ones first, with their positions."""
        order = np.lexsort((-self.differences, ~self.flipped))[:count]
        return [(int(i), self.evidence.files[i]) for i in order]

    def label(self, probabilities: NDArray[np.float32]) -> str:
        """The label of the largest of these probabilities (labels,), with it."""
        index = int(probabilities.argmax())
        return f"{self.evidence.labels[index]} ({probabilities[index]:.4f})"

    def _named(self, probabilities: NDArray[np.float32]) -> dict[str, float | None]:
        return dict(zip(self.evidence.labels, map(finite, probabilities.tolist()), strict=True))


def report_at_once(variant: str, evidence: Evidence, given: NDArray[np.float32], budget: Budget) -> ParityReport:
    """A report on answers (n, labels) that were given to all of the evidence's pixels at once."""
    flipped = given.argmax(axis=1) != evidence.expected.argmax(axis=1)
    mean = float(np.nan_to_num(np.abs(given - evidence.expected), nan=np.inf).mean())
    return ParityReport(variant, evidence, given, flipped, mean, (len(given),), budget)


@contextmanager
def collected(
    reference: Reference, dataset: Dataset, config: ExportConfig, *, progress: Progress = no_progress
) -> Iterator[Evidence]:
    """Ask Keras about the test pictures and as many others as the limit allows, evenly chosen.

    Pictures that are not in files (HDF5, synthetic) are in files meanwhile, so that the runtime reads files. Raises
    ImageError for a picture that cannot be read.
    """
    test = _thin(dataset.test, config.parity_pictures)
    others = _thin(dataset.all_but_test, config.parity_pictures - len(test))
    with tempfile.TemporaryDirectory() as folder:
        files = test.files(Path(folder, "test"), dataset.labels) + others.files(Path(folder, "train"), dataset.labels)
        chosen = Split(files, np.concatenate([test.labels, others.labels]))
        images = chosen.images(reference.input)
        with progress("Asking Keras", len(images)) as on_done:
            expected = reference.probabilities(images, on_done)
        is_test = np.arange(len(chosen)) < len(test)
        yield Evidence(dataset.labels, tuple(files), images, chosen.labels, is_test, expected)


def compare(
    classifier: Classifier,
    variant: str,
    evidence: Evidence,
    budget: Budget,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> ParityReport:
    """Label every file through the runtime at each batch size and keep, per picture, what is furthest from Keras.

    A miss is a report that has not passed. Raises ExportError where the labels differ.
    """
    if classifier.labels != evidence.labels:
        raise ExportError(
            f"{variant} has the labels {classifier.labels} and the data {evidence.labels}, in this order; "
            "give the data that the model was trained on."
        )
    n = len(evidence.files)
    worst = evidence.expected.copy()
    worst_difference = np.full(n, -1.0)
    flipped = np.zeros(n, bool)
    total = 0.0
    with progress(f"Proving {variant}", n * len(config.batch_sizes)) as on_done:
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
    return ParityReport(variant, evidence, worst, flipped, mean, config.batch_sizes, budget)


def _thin(split: Split, limit: int) -> Split:
    """At most `limit` pictures of a split, evenly spaced."""
    if len(split) <= limit:
        return split
    kept = np.linspace(0, len(split) - 1, max(limit, 0)).round().astype(int)
    if isinstance(split.pictures, np.ndarray):
        return Split(split.pictures[kept], split.labels[kept])
    pictures: Sequence[Path] = [split.pictures[i] for i in kept]
    return Split(pictures, split.labels[kept])
