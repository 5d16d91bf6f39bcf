"""Which label each output of a model means, told from labelled pictures: the order in which it is right most often."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import wilcoxon

from signs_builder.evaluation.evaluate import count_confusion
from signs_runtime.figures import Accuracy, Paired

LEAST = 1e-3  # of a probability, below which its logarithm is cut
LEAST_GAIN = 0.1  # of the pictures of each label that changes places, on average
JOINT, FEWEST = 3, 3  # labels that are proved together; in larger circles each by its own pictures, so many at least
MOVED = 2.33  # standard errors of that, for a chance of 1%


@dataclass(frozen=True)
class Order:
    """An order of the labels beside the data's own; `meant[i]` is the place, in the data's order, of output i's label.

    Both are measured on pictures on which the order was not found.
    """

    meant: tuple[int, ...]
    own: Accuracy
    other: Accuracy
    p_value: float  # that the other is no better: the smaller of McNemar's, and Wilcoxon's of the likelihoods
    is_proved: bool  # each circle of labels that change places surely gains by it

    def is_better(self, p_value: float) -> bool:
        """Whether the other order gets more right, by less than this chance, wherever it moves labels."""
        return self.is_proved and self.other.correct > self.own.correct and self.p_value < p_value


def best_order(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """For each output the label that it means, each label once: the assignment that gets most of each label right."""
    counts = count_confusion(truth, said, classes).astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Outputs that nothing tells of keep their own label, as far as they can.
    shown, given = linear_sum_assignment(shares + 1e-3 * np.eye(classes), maximize=True)
    meant = np.empty(classes, np.int64)
    meant[given] = shown
    return meant


def order_by_halves(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """For each picture the order of labels that the pictures of the other half give, (n, classes)."""
    in_order = np.argsort(truth, kind="stable")
    ranks = np.empty(len(truth), np.int64)
    ranks[in_order] = np.arange(len(truth))
    meant = np.empty((len(truth), classes), np.int64)
    for half in (0, 1):
        found, tried = ranks % 2 == half, ranks % 2 != half
        meant[tried] = best_order(truth[found], said[found], classes)
    return meant


def find_order(truth: NDArray[np.int64], given: NDArray[np.floating], labels: tuple[str, ...]) -> Order:
    """The order of labels that fits probabilities (n, labels): found on half of the pictures, tried on the others.

    Each half has its turn. Labels that are numbers and stand in another order than theirs (1, 10, 11, 2, as text sorts)
    are tried in theirs, too, which needs no finding.
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
    """Which pictures are right, (n,), each in its own order of labels, `meant` (n, classes)."""
    right: NDArray[np.bool_] = meant[np.arange(len(said)), said] == truth
    return right


def likelihood_in(
    meant: NDArray[np.int64], given: NDArray[np.floating], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The log-likelihood of each picture's label, in its own order of labels."""
    places = np.arange(len(truth))
    return log_likelihood(given[places, np.argsort(meant, axis=1)[places, truth]])


def log_likelihood(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each picture's label, cut at LEAST: one sure mistake must not weigh more than all else."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))


def paired_p_value(difference: NDArray[np.float64]) -> float:
    """Wilcoxon's signed-rank test of paired differences, two-sided; 1 where there is none."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def _is_proved(meant: NDArray[np.int64], truth: NDArray[np.int64], said: NDArray[np.int64]) -> bool:
    """Whether each circle of labels that change places gains by it, each of its labels counting alike.

    So a model that calls most pictures one label, or seldom finds a frequent one, has no label exchanged.
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
            if not len(own):  # no picture shows it
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
    """The order of labels that are whole numbers, where it is not the one that they stand in."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return None
    order = np.array(sorted(range(len(labels)), key=lambda i: int(labels[i])), np.int64)
    return None if (order == np.arange(len(labels))).all() else order
