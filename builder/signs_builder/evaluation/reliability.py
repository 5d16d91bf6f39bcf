"""How well a model's probabilities match its accuracy: the expected calibration error and its bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as Guo et al., 2017, https://arxiv.org/abs/1706.04599
_RESAMPLED = 1000  # resamples for the interval


@dataclass(frozen=True)
class Bin:
    """Pictures whose labels got about the same probability."""

    probability: float  # mean, 0..1
    accuracy: float  # share of them that are labelled right, 0..1
    pictures: int


@dataclass(frozen=True)
class Reliability:
    """The gap between probabilities and accuracy, on average over the pictures."""

    error: float  # the expected calibration error, 0..1
    interval_95: tuple[float, float]  # bootstrap percentiles, minus the mean increase by resampling
    by_chance: float  # 95% of perfectly calibrated models show at most this error on as many pictures
    overconfidence: float  # the mean probability minus the accuracy, -1..1
    bins: tuple[Bin, ...]  # those with pictures, the lowest probability first


def reliability(probabilities: NDArray[np.floating], right: NDArray[np.bool_]) -> Reliability:
    """Compare the probabilities (n,) of the predicted labels with which of these are right (n,)."""
    given = probabilities.astype(np.float64)
    places = np.minimum((given * BINS).astype(np.int64), BINS - 1)
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(given), (_RESAMPLED, len(given)))
    errors = [_error(places[sample], given[sample], right[sample]) for sample in samples]
    error = _error(places, given, right)
    low, high = np.percentile(errors, (2.5, 97.5)) - np.mean(errors) + error
    return Reliability(
        error,
        (max(0.0, float(low)), min(1.0, float(high))),
        float(np.percentile([_error(places, given, rng.random(len(given)) < given) for _ in samples], 95)),
        float(given.mean() - right.mean()),
        tuple(
            Bin(float(given[places == i].mean()), float(right[places == i].mean()), int((places == i).sum()))
            for i in np.unique(places)
        ),
    )


def _error(places: NDArray[np.int64], given: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    gaps = np.bincount(places, given - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(given))
