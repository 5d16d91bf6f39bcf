"""The verdict of the gate on one variant: how its answers lie beside Keras's, and what else was looked at."""

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

WORST = 5  # pictures that a failed gate shows


@dataclass(frozen=True)
class PairedFigures:
    """The test pictures that Keras or the variant alone labels right, and what follows from them."""

    total: int
    only_keras: int
    only_variant: int
    p_value: float
    drop: float
    drop_interval_95: tuple[float, float]


@dataclass(frozen=True)
class LabelFigures:
    """One label of a multi-label classifier: how often the variant decides it as Keras does, and who is right alone."""

    agreement: float  # share of the pictures, 0..1; one of which Keras is undecided agrees
    only_keras: int  # test pictures on which Keras alone is right about this label
    only_variant: int
    p_value: float  # McNemar's


@dataclass(frozen=True)
class Verdict(Comparison):
    """One variant beside Keras: `given` holds, for each picture, its answer at the batch size where it differs most."""

    variant: str
    evidence: Evidence
    flips: NDArray[np.bool_]  # (n,): another label than Keras's at some batch size
    mean_difference: float
    batch_sizes: tuple[int, ...]
    precision: Precision
    budget: Budget
    other_checks: tuple[Check, ...] = ()  # of what is not the answers
    stages: tuple[Stage, ...] = ()  # of the model beside Keras's; before them those of a picture that is read otherwise

    @property
    def flipped(self) -> NDArray[np.bool_]:
        return self.flips

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """(n,): Keras's decision is closer than float32 may lose, and no more was lost: either label is right."""
        lost = self.budget.max_difference or 0.0
        undecided: NDArray[np.bool_] = (margins(self.expected, self.thresholds) <= 2 * lost) & (
            self.differences <= lost
        )
        return undecided

    @property
    def judged(self) -> NDArray[np.float32]:
        """The answers (n, labels) whose decisions are judged: Keras's own where it is undecided."""
        return np.where(self.undecided[:, None], self.expected, self.given)

    @property
    def hardly_differs(self) -> bool:
        """Nothing but labels is missed, and only of pictures whose labels Keras hardly tells apart."""
        hardly = 2 * (self.budget.mean_difference or 0.0)
        missed = {check.name for check in self.misses}
        return missed <= {"agreement", "accuracy"} and bool((self.flipped_margins <= hardly).all())

    @property
    def flipped_margins(self) -> NDArray[np.floating]:
        """How far Keras's probabilities are from another decision, of the pictures that have another label."""
        return margins(self.expected[self.flips], self.thresholds)

    @property
    def p99_difference(self) -> float:
        """99 of 100 pictures differ by no more."""
        return float(np.percentile(self.differences, 99, method="higher"))  # a picture's own: no mean with infinity

    @property
    def accuracy(self) -> Accuracy:
        """Test pictures that the variant labels right."""
        return self.evidence.accuracy(self.given)

    @property
    def paired(self) -> Paired:
        """The test pictures that Keras or the variant alone labels right."""
        return self.evidence.paired(self.given)

    @property
    def test_pairs(self) -> PairedFigures:
        paired = self.paired
        return PairedFigures(
            **asdict(paired), p_value=paired.p_value, drop=paired.drop, drop_interval_95=paired.drop_interval
        )

    @property
    def checks(self) -> tuple[Check, ...]:
        """All that the gate looked at: the answers, and what tells where they go wrong or would on another device."""
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
        """The checks that are not passed."""
        return tuple(check for check in self.checks if not check.passed)

    def _agreement(self) -> tuple[str, bool, str]:
        """Keras's label on enough pictures; of a multi-label classifier, Keras's decision on every label."""
        least, n = self.budget.agreement, self.pictures
        if not self.thresholds:
            share = self.same_label / n
            equal = int((self.flips & self.undecided).sum())
            says = f"Keras's label on {share:.2%} of {n:,} pictures, at least {least:.2%}"
            if equal:
                says += f"; on {equal:,} of the others Keras's own two likeliest labels differ by float32's noise alone"
            return "agreement", (self.same_label + equal) / n >= least, says
        label, worst = min(self.by_label.items(), key=lambda item: item[1].agreement)
        says = (
            f"Keras's decision on {worst.agreement:.2%} of {n:,} pictures for {label}, the label that differs most, at "
            f"least {least:.2%}; all labels are Keras's on {self.same_label:,}"
        )
        return "agreement", worst.agreement >= least, says

    def _accuracy(self) -> tuple[str, bool, str]:
        """No fewer pictures right than in Keras; of a multi-label classifier, for no label."""
        paired = self.evidence.paired(self.judged)
        says = (
            f"{self.accuracy} of the test pictures right; {paired.only_keras} in Keras alone, {paired.only_variant} in "
            f"the variant alone: McNemar's p {paired.p_value:.2g}"
        )
        worse = {label: each for label, each in self.by_label.items() if each.only_keras > each.only_variant}
        if not worse:
            return "accuracy", not paired.is_worse, says
        label, worst = min(worse.items(), key=lambda item: item[1].p_value)
        least = 0.05 / len(self.by_label)  # Bonferroni's: the more labels there are, the likelier chance is in one
        says += (
            f"; the label nearest to being worse is {label}, with {worst.only_keras} right in Keras alone and "
            f"{worst.only_variant} in the variant alone: p {worst.p_value:.2g}, worse below {least:.2g}"
        )
        return "accuracy", not (paired.is_worse or worst.p_value < least), says

    @cached_property
    def by_label(self) -> dict[str, LabelFigures]:
        """Each label of a multi-label classifier; none of another."""
        other = self.other_decisions & ~self.undecided[:, None] | ~np.isfinite(self.differences)[:, None]
        return {
            label: LabelFigures(1 - float(changed.mean()), pairs.only_keras, pairs.only_variant, pairs.p_value)
            for (label, pairs), changed in zip(
                self.evidence.paired_by_label(self.judged).items(), other.T, strict=False
            )
        }

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
                f"  {self.evidence.files[i]}: Keras {self._label(self.expected[i])}, exported "
                f"{self._label(self.given[i])}, difference {self.differences[i]:.1e}"
                for i in (self.worst(WORST) if answers_differ else ())
            ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The numbers and the worst pictures; an answer that is not a number is null."""
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
        return ParityError, (self.verdict, self.advice)  # pickled by its message alone, it would not open again
