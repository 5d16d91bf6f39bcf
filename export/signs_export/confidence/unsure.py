"""Chooses the probability below which a picture is "unsure", on pictures of none of the labels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_builder.data.textures import draw_textures
from signs_export.confidence.asking import ask
from signs_export.errors import ExportError
from signs_export.job import Job
from signs_runtime.figures import Accuracy
from signs_runtime.labels import UNSURE
from signs_runtime.pictures.find import find_pictures

DRAWN = "drawn"  # instead of a folder
FEWEST = 20  # pictures that show none of the labels (strangers)
MOST_LOST = 0.05  # share of the good pictures on which a threshold is chosen
_DRAWN = 600
_LARGEST_DRAWN = 128  # pixels of a side
_MOST_PICTURES = 1000
_SEED = 7


@dataclass(frozen=True)
class Point:
    """The effect of a threshold on pictures on which it was not chosen."""

    threshold: float
    passing: float  # share of the strangers that get a label
    lost: float  # share of the good pictures that get none


@dataclass(frozen=True)
class Unsure:
    """A threshold, and its effect on pictures on which it was not chosen.

    Good pictures are those that Keras labels correctly. Strangers are pictures that show none of the labels.
    """

    threshold: float
    source: str  # of the strangers
    chosen_on: int  # strangers
    may_be_trained_on: bool  # the good pictures that chose it may be training pictures, of which the model is surer
    passing: Accuracy  # strangers that still get a label
    lost: Accuracy  # good test pictures that get none
    area: float  # under the curve, 0..1: how often a good picture has a higher probability than a stranger
    curve: tuple[Point, ...]

    def describe(self) -> str:
        """Describe it for people, in one line."""
        chosen = f'"unsure" below {self.threshold:.4g}' if self.threshold else 'Nothing is "unsure"'
        return (
            f"{chosen}. On pictures that had no part in the choice: {self.passing} of the unrelated ones "
            f"({self.source}) still get a label, and {self.lost} of the correctly labelled test pictures are lost."
        )


def find_unsure(job: Job, others: str) -> tuple[Job, Unsure]:
    """Choose the threshold with the pictures in the folder `others`, or with drawn ones, and return the job with it.

    It is chosen on half of the strangers and on pictures that are not test pictures. Its effect is measured on the
    other half and on the test pictures. Raises ExportError.
    """
    reference, dataset = job.reference, job.dataset
    if reference.thresholds:
        raise ExportError("--others needs a classifier with one label a picture; this one has several.")
    if UNSURE in dataset.labels:
        raise ExportError(
            f"A label is named {UNSURE!r}, which --others needs for pictures that show none of the labels. "
            "Rename the label."
        )
    strangers, source = _strangers(others, max(reference.input.shape))
    known = job.held_out or dataset.all_but_test
    known, test = known.part(known.mixed()[:_MOST_PICTURES]), dataset.test.thin(job.config.parity_pictures)
    with job.progress("Choosing a threshold", len(strangers) + len(known) + len(test)) as on_done:
        asked = ask(reference, strangers, on_done).max(axis=1).astype(np.float64)
        good, good_test = (_sure_and_right(ask(reference, each, on_done), each) for each in (known, test))
    if not len(good) or not len(good_test):
        raise ExportError("--others: Keras labels none of these pictures correctly, so no threshold can be chosen.")
    choosing, told = asked[::2], asked[1::2]
    threshold = choose_threshold(good, choosing)
    if threshold == 0:
        job.warn(
            f"No picture counts as unsure: no threshold loses at most {MOST_LOST:.0%} of the correctly labelled "
            "pictures and keeps out a larger share of the unrelated ones."
        )
    found = Unsure(
        threshold,
        source,
        len(choosing),
        may_be_trained_on=job.held_out is None,
        passing=Accuracy(int((told >= threshold).sum()), len(told)),
        lost=Accuracy(int((good_test < threshold).sum()), len(good_test)),
        area=area_between(good_test, told),
        curve=curve_of(good_test, told),
    )
    return replace(job, reference=replace(reference, unsure_below=threshold)), found


def choose_threshold(good: NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    """The threshold with the largest difference between strangers kept out and good pictures lost, as shares.

    It loses at most MOST_LOST of the good pictures, and has four digits. Both arguments are the probabilities of the
    pictures' labels, (n,).
    """
    candidates = np.arange(10_000) / 10_000
    lost = np.searchsorted(np.sort(good), candidates) / len(good)
    kept_out = np.searchsorted(np.sort(strangers), candidates) / len(strangers)
    allowed = lost <= MOST_LOST
    gain = np.where(allowed, kept_out - lost, -1)
    return float(candidates[int(gain.argmax())])


def area_between(good: NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    """How often a good picture has a higher probability than a stranger; equal ones count half."""
    ordered = np.sort(strangers)
    below, not_above = np.searchsorted(ordered, good), np.searchsorted(ordered, good, side="right")
    return float((below + not_above).mean() / 2 / len(strangers))


def curve_of(good: NDArray[np.float64], strangers: NDArray[np.float64]) -> tuple[Point, ...]:
    """The effects of at most 101 thresholds, the lowest first, spaced by quantiles of the probabilities."""
    levels = np.unique(np.quantile(np.concatenate([good, strangers]), np.linspace(0, 1, 99)))
    return tuple(
        Point(float(level), float((strangers >= level).mean()), float((good < level).mean()))
        for level in (0.0, *levels.tolist(), 1.0)
    )


def _strangers(others: str, side: int) -> tuple[Split, str]:
    """Pictures that show none of the labels, shuffled, and where they come from."""
    mixed = np.random.default_rng(0)
    if others == DRAWN:
        drawn = draw_textures(_DRAWN, size=min(side, _LARGEST_DRAWN), seed=_SEED)
        return Split(drawn[mixed.permutation(_DRAWN)], np.zeros(_DRAWN, np.int64)), f"{_DRAWN} drawn textures"
    if not others:
        raise ExportError("--others: pass a folder of pictures, or drawn.")
    found = find_pictures([Path(others)])
    if found.errors:
        raise found.errors[0][1]
    if len(found.pictures) < FEWEST:
        raise ExportError(f"--others needs {FEWEST} or more pictures, but {others} has {len(found.pictures)}.")
    order = mixed.permutation(len(found.pictures))[:_MOST_PICTURES]
    return Split([found.pictures[i] for i in order], np.zeros(len(order), np.int64)), others


def _sure_and_right(probabilities: NDArray[np.floating], split: Split) -> NDArray[np.float64]:
    """The probabilities of the correctly labelled pictures, (n,)."""
    right: NDArray[np.bool_] = probabilities.argmax(axis=1) == split.labels
    sure: NDArray[np.float64] = probabilities.max(axis=1)[right].astype(np.float64)
    return sure
