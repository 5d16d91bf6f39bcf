"""The gate's verdict on one variant: how its answers compare with Keras's, and all other checks."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_export.errors import ExportError
from signs_export.gate.checks import Check
from signs_export.gate.evidence import Evidence
from signs_export.gate.trace import Stage
from signs_runtime.bundle.manifest import Budget, Parity, Precision
from signs_runtime.bundle.onnx_metadata import OUTPUT
from signs_runtime.decisions import margins, name_decision
from signs_runtime.errors import EXIT_PARITY
from signs_runtime.figures import Accuracy, Paired, finite
from signs_runtime.proof.answers import Comparison

WORST = 5  # pictures to show if the gate failed


@dataclass(frozen=True)
class PairedFigures:
    """How many test pictures only Keras or only the variant labels right, with McNemar's test and the drop."""

    total: int
    only_keras: int
    only_variant: int
    p_value: float
    drop: float
    drop_interval_95: tuple[float, float]


@dataclass(frozen=True)
class LabelFigures:
    """One label of a multi-label classifier: agreement with Keras, and pictures on which only one of them is right."""

    agreement: float  # share of the pictures, 0..1; those on which Keras is undecided count as agreeing
    only_keras: int  # test pictures on which only Keras is right about this label
    only_variant: int
    p_value: float  # McNemar's


@dataclass(frozen=True)
class Verdict(Comparison):
    """One variant compared with Keras: `given` holds each picture's answer at the batch size where it differs most."""

    variant: str
    evidence: Evidence
    flips: NDArray[np.bool_]  # (n,): another label than Keras's at any batch size
    mean_difference: float
    batch_sizes: tuple[int, ...]
    precision: Precision
    budget: Budget
    other_checks: tuple[Check, ...] = ()  # other than the answers
    stages: tuple[Stage, ...] = ()  # the model's; before them those of a picture that is read differently, if any

    @property
    def flipped(self) -> NDArray[np.bool_]:
        return self.flips

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """(n,): Keras's margin is within what float32 may lose, and no more was lost, so either label is right."""
        lost = self.budget.max_difference or 0.0
        undecided: NDArray[np.bool_] = (margins(self.expected, self.thresholds) <= 2 * lost) & (
            self.differences <= lost
        )
        return undecided

    @property
    def judged(self) -> NDArray[np.float32]:
        """The answers (n, labels) that are judged; Keras's own for pictures on which it is undecided."""
        return np.where(self.undecided[:, None], self.expected, self.given)

    @property
    def hardly_differs(self) -> bool:
        """Only labels are missed, and only on pictures whose labels Keras hardly tells apart."""
        hardly = 2 * (self.budget.mean_difference or 0.0)
        missed = {check.name for check in self.misses}
        return missed <= {"agreement", "accuracy"} and bool((self.flipped_margins <= hardly).all())

    @property
    def flipped_margins(self) -> NDArray[np.floating]:
        """Keras's margins on the pictures with another label."""
        return margins(self.expected[self.flips], self.thresholds)

    @property
    def p99_difference(self) -> float:
        """The difference that 99 of 100 pictures do not exceed."""
        return float(
            np.percentile(self.differences, 99, method="higher")
        )  # a single picture's value, because a mean with infinity is infinite

    @property
    def accuracy(self) -> Accuracy:
        """The variant's accuracy on the test pictures."""
        return self.evidence.accuracy(self.given)

    @property
    def paired(self) -> Paired:
        """How many test pictures only Keras or only the variant labels right."""
        return self.evidence.paired(self.given)

    @property
    def test_pairs(self) -> PairedFigures:
        paired = self.paired
        return PairedFigures(
            **asdict(paired), p_value=paired.p_value, drop=paired.drop, drop_interval_95=paired.drop_interval
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks: of the answers, and those that show where they go wrong, here or on another device."""
        budget = self.budget
        answers = [self._agreement()]
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
        answers.append(self._accuracy())
        return (
            *(Check(name, passed, says, None if passed else OUTPUT) for name, passed, says in answers),
            *self.other_checks,
        )

    @property
    def misses(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def _agreement(self) -> tuple[str, bool, str]:
        """Check for Keras's label on enough pictures; multi-label: Keras's decision for every label."""
        least, n = self.budget.agreement, self.pictures
        if not self.thresholds:
            share = self.same_label / n
            equal = int((self.flips & self.undecided).sum())
            says = f"Keras's label on {share:.2%} of {n:,} pictures, required {least:.2%}"
            if equal:
                says += f"; on {equal:,} of the others, Keras's two likeliest labels differ only by float32's rounding"
            return "agreement", (self.same_label + equal) / n >= least, says
        label, worst = min(self.by_label.items(), key=lambda item: item[1].agreement)
        says = (
            f"Keras's decision on {worst.agreement:.2%} of {n:,} pictures for {label}, the label that differs most, "
            f"required {least:.2%}; all labels are Keras's on {self.same_label:,} pictures"
        )
        return "agreement", worst.agreement >= least, says

    def _accuracy(self) -> tuple[str, bool, str]:
        """Check that the variant is not less accurate than Keras; multi-label: for every label."""
        paired = self.evidence.paired(self.judged)
        says = (
            f"{self.accuracy} of the test pictures right; {paired.only_keras} only in Keras, {paired.only_variant} "
            f"only in the variant: McNemar's p {paired.p_value:.2g}"
        )
        worse = {label: each for label, each in self.by_label.items() if each.only_keras > each.only_variant}
        if not worse:
            return "accuracy", not paired.is_worse, says
        label, worst = min(worse.items(), key=lambda item: item[1].p_value)
        least = 0.05 / len(
            self.by_label
        )  # Bonferroni: with more labels, one of them is likelier to look worse by chance
        says += (
            f"; the label closest to failing is {label}, with {worst.only_keras} right only in Keras and "
            f"{worst.only_variant} only in the variant: p {worst.p_value:.2g}, fails below {least:.2g}"
        )
        return "accuracy", not (paired.is_worse or worst.p_value < least), says

    @cached_property
    def by_label(self) -> dict[str, LabelFigures]:
        """The figures of each label of a multi-label classifier; otherwise empty."""
        other = self.other_decisions & ~self.undecided[:, None] | ~np.isfinite(self.differences)[:, None]
        return {
            label: LabelFigures(1 - float(changed.mean()), pairs.only_keras, pairs.only_variant, pairs.p_value)
            for (label, pairs), changed in zip(
                self.evidence.paired_by_label(self.judged).items(), other.T, strict=False
            )
        }

    @property
    def passed(self) -> bool:
        """All checks passed: the variant answers as Keras does, within its budget, here and on other devices."""
        return not self.misses

    @property
    def stage(self) -> str | None:
        """The first stage at which the variant goes wrong, as far as the checks can tell."""
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
        """The numbers in one line; if the gate failed, followed by the failed checks and the worst pictures."""
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
                f"  {self.evidence.files[i]}: Keras {self._label(self.expected[i])}, exported "
                f"{self._label(self.given[i])}, difference {self.differences[i]:.1e}"
                for i in (self.worst(WORST) if answers_differ else ())
            ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The numbers and the worst pictures as JSON; an answer that is not finite is null."""
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
            "test_pairs": asdict(self.test_pairs),
            **({"by_label": {label: asdict(each) for label, each in self.by_label.items()}} if self.by_label else {}),
            "flipped": [self._picture(int(i)) for i in np.flatnonzero(self.flipped)],
            "worst": [self._picture(i) for i in self.worst(WORST)],
        }

    def _label(self, probabilities: NDArray[np.float32]) -> str:
        return name_decision(self.evidence.labels, probabilities, self.thresholds)

    def _picture(self, i: int) -> dict[str, Any]:
        return {
            "picture": str(self.evidence.files[i]),
            "keras": self._named(self.expected[i]),
            "exported": self._named(self.given[i]),
            "keras_margin": float(margins(self.expected[i : i + 1], self.thresholds)[0]),
            "flipped": bool(self.flipped[i]),
        }

    def _named(self, probabilities: NDArray[np.float32]) -> dict[str, float | None]:
        return dict(zip(self.evidence.labels, map(finite, probabilities.tolist()), strict=True))


class ParityError(ExportError):
    """The exported model does not answer as Keras does; `verdict` holds the numbers."""

    exit_code = EXIT_PARITY

    def __init__(self, verdict: Verdict, advice: str) -> None:
        super().__init__(f"{verdict.describe()}\n{advice}")
        self.verdict, self.advice = verdict, advice

    def __reduce__(self) -> tuple[type["ParityError"], tuple[Verdict, str]]:
        return ParityError, (
            self.verdict,
            self.advice,
        )  # the default would pickle only the message, and fail to unpickle
