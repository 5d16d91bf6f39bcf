"""Checks that a model's settings fit its pictures: parity alone holds even with a wrong scaling or label order."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.progress import Progress, no_progress
from signs_export.errors import ExportError
from signs_export.gate.evidence import Answers
from signs_export.inspection.distinct import distinct
from signs_export.inspection.order import Order, find_order
from signs_export.inspection.search import better_scaling
from signs_export.source.reference import Reference
from signs_runtime.errors import EXIT_PARITY
from signs_runtime.figures import Accuracy

BEYOND_DOUBT = 1e-6  # probability of a false finding
COUNTED = 1e-3  # the same for numeric labels sorted as text: a single guess, not the best of many
LEAST_KAPPA = 0.1  # agreement beyond chance; weak models that people keep have 0.2 and more
_Z = 2.575829  # the normal distribution's 99.5% point
_EXPLAINED = 1.644854  # its 95% point: more than this is more than chance
_MOST_NAMED = 12  # labels


class SenseError(ExportError):
    """The pictures contradict the model's settings; `findings` are sentences, `keras` is Keras's accuracy."""

    exit_code = EXIT_PARITY

    def __init__(self, findings: Sequence[str], keras: Accuracy) -> None:
        super().__init__("\n".join([*findings, "Nothing was sealed. To seal it anyway, pass --as-is."]))
        self.findings, self.keras = tuple(findings), keras

    def __reduce__(self) -> tuple[type["SenseError"], tuple[tuple[str, ...], Accuracy]]:
        return SenseError, (self.findings, self.keras)


def contradictions(
    answers: Answers, reference: Reference, dataset: Dataset, *, progress: Progress = no_progress
) -> tuple[str, ...]:
    """Sentences on how the pictures contradict the model's labels, scaling or colours; empty if they do not."""
    if answers.thresholds:
        return ()
    truth = answers.truth.argmax(axis=1)
    apart = distinct(answers.images, truth)
    order = find_order(truth[apart], answers.expected[apart], answers.labels)
    if _is_other(order, answers.labels):
        return (_of_order(order, answers.labels),)
    better = better_scaling(reference, dataset, BEYOND_DOUBT, progress=progress)
    if better is not None:
        best, this = better
        return (
            f"With {' '.join(best.setting.options())} Keras gets {best.right} right, but with the options of this "
            f"export ({' '.join(this.setting.options())}) {this.right}. Pass the better options, or run signs "
            "inspect to see the ranking.",
        )
    if _is_chance(truth[apart], answers.expected[apart].argmax(axis=1), len(answers.labels)):
        accuracy = answers.accuracy(answers.expected)
        return (
            f"Keras itself does no better than chance on these pictures: it gets {accuracy} of the test ones right. "
            "Was the model trained for these labels? Run signs inspect to try other scalings, colours and orders.",
        )
    return ()


def _is_other(order: Order, labels: tuple[str, ...]) -> bool:
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    as_numbers = numbers and list(order.meant) == sorted(range(len(labels)), key=lambda i: int(labels[i]))
    return order.is_better(COUNTED if as_numbers else BEYOND_DOUBT)


def _of_order(order: Order, labels: tuple[str, ...]) -> str:
    named = ", ".join(labels[i] for i in order.meant[:_MOST_NAMED]) + (", ..." if len(labels) > _MOST_NAMED else "")
    return (
        f"The labels are in the wrong order: Keras gets {order.own} of the pictures right in this order, and "
        f"{order.other} in the order {named}. Run signs inspect with --write-labels FILE, then export with --labels "
        "FILE."
    )


def _is_chance(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> bool:
    """Whether chance explains the right answers, and there are enough pictures to exclude more than that.

    Chance follows from the frequencies of labels and answers; agreement beyond it is measured by Cohen's kappa.
    """
    n = len(truth)
    shown, given = np.bincount(truth, minlength=classes) / n, np.bincount(said, minlength=classes) / n
    expected, agreement = float(shown @ given), float((truth == said).mean())
    if expected >= 1:
        return False
    # Spread of the share right if the answers were shuffled (Fleiss, Cohen and Everitt, 1969, doi:10.1037/h0028106).
    spread = expected + expected**2 - float(shown @ (given * (shown + given)))
    deviation = math.sqrt(max(spread, 0.0) / n)
    if agreement > expected + _EXPLAINED * deviation:
        return False
    own = math.sqrt(max(agreement * (1 - agreement), expected * (1 - expected)) / n)
    return (agreement + _Z * own - expected) / (1 - expected) < LEAST_KAPPA
