"""The parity gate: the runtime reads the picture files, Keras read them too, and the answers are held together."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.checks import (
    PICTURES,
    Check,
    check_batches,
    check_labels,
    check_layers,
    check_pixels,
    check_ranges,
    check_sums,
    check_weights,
    read_differently,
)
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.evidence import Evidence
from signs_export.graph import precision_of
from signs_export.trace import Stage, walk_layers
from signs_runtime import AnswerError, Classifier
from signs_runtime.classifier import OUTPUT
from signs_runtime.cli import finite
from signs_runtime.manifest import Accuracy, Budget, Paired, Parity, Precision

WORST = 5  # pictures that a failed gate shows


@dataclass(frozen=True)
class ParityReport:
    """One variant beside Keras: `given` holds, for each picture, its answer at the batch size where it differs most."""

    variant: str
    evidence: Evidence
    given: NDArray[np.float32]  # (n, labels)
    flipped: NDArray[np.bool_]  # (n,): another label than Keras's at some batch size
    mean_difference: float
    batch_sizes: tuple[int, ...]
    precision: Precision
    budget: Budget
    other_checks: tuple[Check, ...] = ()  # of what is not the answers
    stages: tuple[Stage, ...] = ()  # of the model beside Keras's; before them those of a picture that is read otherwise

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
    def checks(self) -> tuple[Check, ...]:
        """All that the gate looked at: the answers, and what tells where they go wrong or would on another device."""
        budget, paired, share = self.budget, self.paired, self.same_label / self.pictures
        answers = [
            (
                "agreement",
                share >= budget.agreement,
                f"Keras's label on {share:.2%} of {self.pictures:,} pictures, at least {budget.agreement:.2%}",
            )
        ]
        if budget.max_difference is not None:
            within = self.max_difference <= budget.max_difference
            says = f"probabilities differ by at most {self.max_difference:.1e}, allowed {budget.max_difference:.1e}"
            answers.append(("max difference", within, says))
        if budget.mean_difference is not None:
            within = self.mean_difference <= budget.mean_difference
            says = (
                f"probabilities differ by {self.mean_difference:.1e} on average, allowed {budget.mean_difference:.1e}"
            )
            answers.append(("mean difference", within, says))
        says = (
            f"{self.accuracy} of the test pictures right; {paired.only_keras} in Keras alone, {paired.only_variant} in "
            f"the variant alone: McNemar's p {paired.p_value:.2g}"
        )
        answers.append(("accuracy", not paired.is_worse, says))
        return (
            *(Check(name, passed, says, None if passed else OUTPUT) for name, passed, says in answers),
            *self.other_checks,
        )

    @property
    def misses(self) -> tuple[Check, ...]:
        """The checks that are not passed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """The variant answers as Keras does, within its budget, and would on other devices."""
        return not self.misses

    @property
    def stage(self) -> str | None:
        """Where on a picture's way the variant first goes wrong, as far as the checks can tell."""
        accused = [check.stage for check in self.misses if check.stage]
        return next((stage for stage in accused if stage != OUTPUT), accused[0] if accused else None)

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
            lines += [f"  {check.name}: {check.says}" for check in self.misses]
            lines.append(f"It goes wrong at: {self.stage}")
            answers_differ = any(check.stage == OUTPUT for check in self.misses)
            lines += ["The worst pictures:"] if answers_differ else []
            lines += [
                f"  {file}: Keras {self.label(self.evidence.expected[i])}, exported {self.label(self.given[i])}, "
                f"difference {self.differences[i]:.1e}"
                for i, file in (self.worst() if answers_differ else ())
            ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The numbers and the worst pictures; an answer that is not a number is null."""
        paired = self.paired
        return {
            "variant": self.variant,
            "passed": self.passed,
            "stage": self.stage,
            "checks": [asdict(check) for check in self.checks],
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
            "flipped": [self._picture(int(i)) for i in np.flatnonzero(self.flipped)],
            "worst": [self._picture(i) for i, _ in self.worst()],
        }

    def worst(self, count: int = WORST) -> list[tuple[int, Path]]:
        """The pictures that differ most, flipped ones first, with their positions."""
        order = np.lexsort((-self.differences, ~self.flipped))[:count]
        return [(int(i), self.evidence.files[i]) for i in order]

    def label(self, probabilities: NDArray[np.float32]) -> str:
        """The label of the largest of these probabilities (labels,), with it."""
        index = int(probabilities.argmax())
        return f"{self.evidence.labels[index]} ({probabilities[index]:.4f})"

    def _picture(self, i: int) -> dict[str, Any]:
        top = np.sort(self.evidence.expected[i])
        return {
            "picture": str(self.evidence.files[i]),
            "keras": self._named(self.evidence.expected[i]),
            "exported": self._named(self.given[i]),
            "keras_margin": float(top[-1] - top[-2]),
            "flipped": bool(self.flipped[i]),
        }

    def _named(self, probabilities: NDArray[np.float32]) -> dict[str, float | None]:
        return dict(zip(self.evidence.labels, map(finite, probabilities.tolist()), strict=True))


def report_at_once(
    variant: str, evidence: Evidence, given: NDArray[np.float32], precision: Precision, budget: Budget
) -> ParityReport:
    """A report on answers (n, labels) that were given to all of the evidence's pixels at once."""
    return _report(variant, evidence, {len(given): given}, precision, budget)


def compare(
    classifier: Classifier,
    file: Path,
    variant: str,
    evidence: Evidence,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> ParityReport:
    """Label every picture file through the runtime at each batch size, and look at all that a good export has right.

    `file` is the .onnx file that the classifier runs. A miss is a report that has not passed. Raises ExportError where
    the number of labels, or the input's size, leaves nothing to compare.
    """
    if len(classifier.labels) != len(evidence.labels) or classifier.input.shape != evidence.input.shape:
        raise ExportError(
            f"{variant} has {len(classifier.labels)} labels and takes {classifier.input.shape}; the Keras model and "
            f"the data have {len(evidence.labels)} and {evidence.input.shape}. Give the model that it was made "
            "of, and the data that this was trained on."
        )
    model = onnx.load(file)
    precision = precision_of(model)
    budget = config.budget(precision, evidence.floor.tolerance)
    answers: dict[int, NDArray[np.float32]] = {}
    misnamed = 0
    with progress(f"Proving {variant}", len(evidence.files) * len(config.batch_sizes)) as on_done:
        for batch_size in config.batch_sizes:
            given = np.full_like(evidence.expected, np.nan)
            for start in range(0, len(given), batch_size):
                batch = slice(start, start + batch_size)
                try:
                    predictions = classifier.predict_batch(evidence.files[batch])
                except AnswerError:  # a miss like any other
                    predictions = []
                for i, prediction in enumerate(predictions, start):
                    given[i] = prediction.probabilities
                    misnamed += prediction.label != classifier.labels[int(given[i].argmax())]
                on_done(len(given[batch]))
            answers[batch_size] = given
    difference = read_differently(classifier, evidence)
    layers = walk_layers(evidence.stages, model, precision)
    closeness = budget.max_difference if budget.max_difference is not None else budget.mean_difference
    checks = [
        check_labels(classifier.labels, misnamed, evidence),
        check_pixels(classifier, evidence, difference),
        check_layers(layers, evidence),
    ]
    if precision == "int8":
        some = evidence.images[:: -(-len(evidence.images) // PICTURES)]
        checks += [check_ranges(model, evidence, some), check_sums(model, some)]
    checks += [check_weights(model, evidence), check_batches(answers, closeness or 0.0)]
    return _report(
        variant, evidence, answers, precision, budget, tuple(checks), (*(difference[1] if difference else ()), *layers)
    )


def _report(
    variant: str,
    evidence: Evidence,
    answers: dict[int, NDArray[np.float32]],
    precision: Precision,
    budget: Budget,
    checks: tuple[Check, ...] = (),
    stages: tuple[Stage, ...] = (),
) -> ParityReport:
    """A report on answers (n, labels) by batch size."""
    together = np.stack(list(answers.values()))  # (batch sizes, n, labels)
    differences = np.nan_to_num(np.abs(together - evidence.expected), nan=np.inf)
    other = together.argmax(axis=2) != evidence.expected.argmax(axis=1)
    furthest = differences.max(axis=2).argmax(axis=0)  # (n,)
    return ParityReport(
        variant=variant,
        evidence=evidence,
        given=together[furthest, np.arange(len(furthest))],
        flipped=(other | ~np.isfinite(differences).all(axis=2)).any(axis=0),
        mean_difference=float(differences.mean(dtype=np.float64)),
        batch_sizes=tuple(answers),
        precision=precision,
        budget=budget,
        other_checks=checks,
        stages=stages,
    )
