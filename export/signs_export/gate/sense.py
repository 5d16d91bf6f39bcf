"""Whether what is to be sealed makes sense: a proof holds whatever a model is fed, and does not say what it was fed."""

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

BEYOND_DOUBT = 1e-6  # chance of a finding where there is nothing
COUNTED = 1e-3  # the same, for labels that are numbers in the order of text: it is one guess, not the best of many
LEAST_KAPPA = 0.1  # of agreement beyond chance; weak models that people keep have 0.2 and more
_Z = 2.575829  # the normal distribution's 99.5% point
_EXPLAINED = 1.644854  # its 95% point: more than this is more than chance
_MOST_NAMED = 12  # labels


class SenseError(ExportError):
    """What is to be sealed contradicts the pictures; `findings` are sentences, `keras` what Keras gets right."""

    exit_code = EXIT_PARITY

    def __init__(self, findings: Sequence[str], keras: Accuracy) -> None:
        super().__init__("\n".join([*findings, "Nothing was sealed. To seal it all the same, say --as-is."]))
        self.findings, self.keras = tuple(findings), keras

    def __reduce__(self) -> tuple[type["SenseError"], tuple[tuple[str, ...], Accuracy]]:
        return SenseError, (self.findings, self.keras)


def contradictions(
    answers: Answers, reference: Reference, dataset: Dataset, *, progress: Progress = no_progress
) -> tuple[str, ...]:
    """What the pictures say against the model's labels, its scaling and its colours; none where all may be right."""
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
            f"With {' '.join(best.setting.options())} Keras gets {best.right} right, and with what was asked for "
            f"({' '.join(this.setting.options())}) {this.right}: say so, or look with signs inspect.",
        )
    if _is_chance(truth[apart], answers.expected[apart].argmax(axis=1), len(answers.labels)):
        accuracy = answers.accuracy(answers.expected)
        return (
            f"Keras itself does no better than chance on these pictures: it gets {accuracy} of the test ones right. "
            "Does it know these labels? signs inspect looks for another scaling, other colours and another order.",
        )
    return ()


def _is_other(order: Order, labels: tuple[str, ...]) -> bool:
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    as_numbers = numbers and list(order.meant) == sorted(range(len(labels)), key=lambda i: int(labels[i]))
    return order.is_better(COUNTED if as_numbers else BEYOND_DOUBT)


def _of_order(order: Order, labels: tuple[str, ...]) -> str:
    named = ", ".join(labels[i] for i in order.meant[:_MOST_NAMED]) + (", ..." if len(labels) > _MOST_NAMED else "")
    return (
        f"The labels are in another order than the model's outputs: as they are, Keras gets {order.own} of the "
        f"pictures right, and {order.other} in the order {named}. signs inspect --write-labels FILE writes it; give "
        "that by --labels FILE."
    )


def _is_chance(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> bool:
    """Whether chance explains the right answers, and there are enough pictures to say that no more is behind them.

    Chance is what the frequencies of labels and answers give; what is beyond it is Cohen's kappa.
    """
    n = len(truth)
    shown, given = np.bincount(truth, minlength=classes) / n, np.bincount(said, minlength=classes) / n
    expected, agreement = float(shown @ given), float((truth == said).mean())
    if expected >= 1:
        return False
    # Of the share right, were the answers dealt out anew (Fleiss, Cohen and Everitt, 1969, doi:10.1037/h0028106).
    spread = expected + expected**2 - float(shown @ (given * (shown + given)))
    deviation = math.sqrt(max(spread, 0.0) / n)
    if agreement > expected + _EXPLAINED * deviation:
        return False
    own = math.sqrt(max(agreement * (1 - agreement), expected * (1 - expected)) / n)
    return (agreement + _Z * own - expected) / (1 - expected) < LEAST_KAPPA
