"""Finds which label each output of a model means: the order of labels in which most labelled pictures are right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import wilcoxon

from signs_builder.evaluation.evaluate import count_confusion
from signs_runtime.figures import Accuracy, Paired

LEAST = 1e-3  # smaller probabilities count as this in logarithms
LEAST_GAIN = 0.1  # least mean gain of the labels that change places, as a share of each label's pictures
JOINT, FEWEST = 3, 3  # up to 3 labels are proved together; in larger cycles, each needs 3 pictures of its own
MOVED = 2.33  # standard errors of the gain, for a probability of 1% by chance


@dataclass(frozen=True)
class Order:
    """Another order of the labels than the data's. `meant[i]` is the place, in the data's order, of output i's label.

    Both orders are measured on pictures on which the other order was not found.
    """

    meant: tuple[int, ...]
    own: Accuracy
    other: Accuracy
    p_value: float  # that the other is not better: the smaller of McNemar's and, on the likelihoods, Wilcoxon's
    is_proved: bool  # each cycle of labels that change places gains significantly

    def is_better(self, p_value: float) -> bool:
        """Whether the other order is significantly better at this level, for all labels that it moves."""
        return self.is_proved and self.other.correct > self.own.correct and self.p_value < p_value


def best_order(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The label that each output means, each label once: the assignment with the best accuracy per label."""
    counts = count_confusion(truth, said, classes).astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Outputs without evidence keep their own label if possible.
    shown, given = linear_sum_assignment(shares + 1e-3 * np.eye(classes), maximize=True)
    meant = np.empty(classes, np.int64)
    meant[given] = shown
    return meant


def order_by_halves(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """For each picture, the order of labels that was found on the other half of the pictures, (n, classes)."""
    in_order = np.argsort(truth, kind="stable")
    ranks = np.empty(len(truth), np.int64)
    ranks[in_order] = np.arange(len(truth))
    meant = np.empty((len(truth), classes), np.int64)
    for half in (0, 1):
        found, tried = ranks % 2 == half, ranks % 2 != half
        meant[tried] = best_order(truth[found], said[found], classes)
    return meant


def find_order(truth: NDArray[np.int64], given: NDArray[np.floating], labels: tuple[str, ...]) -> Order:
    """Find the order of labels that fits probabilities (n, labels), on one half of the pictures; try it on the other.

    Each half is used for both. If the labels are numbers but not in numeric order (1, 10, 11, 2, as text sorts), the
    numeric order is tried as well.
    """
    classes, said = len(labels), given.argmax(axis=1)
    meant = order_by_halves(truth, said, classes)
    found = best_order(truth, said, classes)
    is_proved = _is_proved(found, truth, said)
    counted = _counted(labels)
    if counted is not None and (counted[said] == truth).sum() >= right_in(meant, said, truth).sum():
        found, meant, is_proved = counted, np.tile(counted, (len(truth), 1)), True
    own, other = said == truth, right_in(meant, said, truth)
    pairs = Paired(len(truth), int((own & ~other).sum()), int((other & ~own).sum()))
    likelier = likelihood_in(meant, given, truth) - log_likelihood(given[np.arange(len(truth)), truth])
    p_value = min(pairs.p_value, float(wilcoxon(likelier, alternative="greater").pvalue) if likelier.any() else 1.0)
    measured = Accuracy(int(own.sum()), len(truth)), Accuracy(int(other.sum()), len(truth))
    return Order(tuple(found.tolist()), *measured, p_value, is_proved)


def right_in(meant: NDArray[np.int64], said: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures are right, (n,), each with its own order of labels, `meant` (n, classes)."""
    right: NDArray[np.bool_] = meant[np.arange(len(said)), said] == truth
    return right


def likelihood_in(
    meant: NDArray[np.int64], given: NDArray[np.floating], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The log-likelihood of each picture's label, each with its own order of labels."""
    places = np.arange(len(truth))
    return log_likelihood(given[places, np.argsort(meant, axis=1)[places, truth]])


def log_likelihood(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """The log-likelihood of each picture's label, cut at LEAST so that one sure mistake does not outweigh the rest."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))


def paired_p_value(difference: NDArray[np.float64]) -> float:
    """Wilcoxon's signed-rank test of paired differences, two-sided; 1 if all differences are 0."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def _is_proved(meant: NDArray[np.int64], truth: NDArray[np.int64], said: NDArray[np.int64]) -> bool:
    """Whether each cycle of labels that change places gains by it. Each label of a cycle has the same weight.

    So no labels are exchanged for a model that gives most pictures one label, or that seldom finds a frequent one.
    """
    output = np.argsort(meant)
    moved = set(np.flatnonzero(output != np.arange(len(meant))).tolist())
    while moved:
        circle, label = [], min(moved)
        while label in moved:
            moved.remove(label)
            circle.append(label)
            label = int(output[label])
        gains, variances = [], []
        for label in circle:
            own = said[truth == label]
            if not len(own):  # no picture shows this label
                continue
            there, here = (own == output[label]).mean(), (own == label).mean()
            if len(circle) > JOINT and (len(own) < FEWEST or there <= here):
                return False
            gains.append(there - here)
            variances.append((there + here - (there - here) ** 2) / len(own))
        if not gains:
            return False
        gain, error = float(np.mean(gains)), float(np.sqrt(np.sum(variances))) / len(gains)
        if not gain > max(LEAST_GAIN, MOVED * error):
            return False
    return True


def _counted(labels: tuple[str, ...]) -> NDArray[np.int64] | None:
    """The numeric order of labels that are whole numbers; None if they are not, or are in this order already."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return None
    order = np.array(sorted(range(len(labels)), key=lambda i: int(labels[i])), np.int64)
    return None if (order == np.arange(len(labels))).all() else order
