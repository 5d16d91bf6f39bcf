"""Which label each output of a model means, told from labelled pictures: the order in which it is right most often."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import wilcoxon

from signs_builder.evaluation.evaluate import count_confusion
from signs_runtime.figures import Accuracy, Paired

LEAST = 1e-3  # of a probability, below which its logarithm is cut


@dataclass(frozen=True)
class Order:
    """An order of the labels beside the data's own; `meant[i]` is the place, in the data's order, of output i's label.

    Both are measured on pictures on which the order was not found.
    """

    meant: tuple[int, ...]
    own: Accuracy
    other: Accuracy
    p_value: float  # of both being as good: the smaller of McNemar's, and Wilcoxon's of the likelihoods

    def is_better(self, p_value: float) -> bool:
        """Whether the other order gets more right, by less than this chance."""
        return self.other.correct > self.own.correct and self.p_value < p_value


def best_order(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """For each output the label that it means, each label once: the assignment with most pictures right."""
    counts = count_confusion(truth, said, classes).astype(np.float64)
    # Outputs that nothing tells of keep their own label, as far as they can.
    shown, given = linear_sum_assignment(counts + 1e-3 * np.eye(classes), maximize=True)
    meant = np.empty(classes, np.int64)
    meant[given] = shown
    return meant


def find_order(truth: NDArray[np.int64], given: NDArray[np.floating], labels: tuple[str, ...]) -> Order:
    """The order of labels that fits probabilities (n, labels): found on half of the pictures, tried on the others.

    Each half has its turn. Labels that are numbers and stand in another order than theirs (1, 10, 11, 2, as text sorts)
    are tried in theirs, too, which needs no finding.
    """
    classes, said = len(labels), given.argmax(axis=1)
    in_order = np.argsort(truth, kind="stable")
    ranks = np.empty(len(truth), np.int64)
    ranks[in_order] = np.arange(len(truth))
    meant = np.empty((len(truth), classes), np.int64)  # by picture: its label was not looked at for it
    for half in (0, 1):
        found, tried = ranks % 2 == half, ranks % 2 != half
        meant[tried] = best_order(truth[found], said[found], classes)
    found_order = best_order(truth, said, classes)
    counted = _counted(labels)
    if counted is not None and (counted[said] == truth).sum() >= _right(meant, said, truth).sum():
        found_order, meant = counted, np.tile(counted, (len(truth), 1))
    own, other = said == truth, _right(meant, said, truth)
    pairs = Paired(len(truth), int((own & ~other).sum()), int((other & ~own).sum()))
    places = np.arange(len(truth))
    before = log_likelihood(given[places, truth])
    after = log_likelihood(given[places, np.argsort(meant, axis=1)[places, truth]])
    measured = Accuracy(int(own.sum()), len(truth)), Accuracy(int(other.sum()), len(truth))
    return Order(tuple(found_order.tolist()), *measured, min(pairs.p_value, paired_p_value(after - before)))


def _right(meant: NDArray[np.int64], said: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = meant[np.arange(len(said)), said] == truth
    return right


def log_likelihood(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each picture's label, cut at LEAST: one sure mistake must not weigh more than all else."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))


def paired_p_value(difference: NDArray[np.float64]) -> float:
    """Wilcoxon's signed-rank test of paired differences, two-sided; 1 where there is none."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def _counted(labels: tuple[str, ...]) -> NDArray[np.int64] | None:
    """The order of labels that are whole numbers, where it is not the one that they stand in."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return None
    order = np.array(sorted(range(len(labels)), key=lambda i: int(labels[i])), np.int64)
    return None if (order == np.arange(len(labels))).all() else order
