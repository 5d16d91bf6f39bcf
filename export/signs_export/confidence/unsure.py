"""Below which probability a picture counts as none of the labels: chosen on pictures that show none, told on others."""

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

DRAWN = "drawn"  # in place of a folder
FEWEST = 20  # pictures without a label
MOST_LOST = 0.05  # of the good pictures that a threshold is chosen on
_DRAWN = 600
_LARGEST_DRAWN = 128  # pixels a side
_MOST_PICTURES = 1000
_SEED = 7


@dataclass(frozen=True)
class Point:
    """What a threshold does to the pictures that it was not chosen on."""

    threshold: float
    passing: float  # share of the strangers that get a label
    lost: float  # share of the good pictures that get none


@dataclass(frozen=True)
class Unsure:
    """A threshold, and what it does to pictures that it was not chosen on.

    Good are those that Keras labels right; strangers, those that show none of the labels.
    """

    threshold: float
    source: str  # of the strangers
    chosen_on: int  # strangers
    may_be_trained_on: bool  # the network may have learnt the good pictures that chose it, and be surer of them
    passing: Accuracy  # strangers that get a label all the same
    lost: Accuracy  # good test pictures that get none
    area: float  # under the curve: how often a good picture is surer than a stranger, 0..1
    curve: tuple[Point, ...]

    def describe(self) -> str:
        """For people, on a line."""
        chosen = f'"unsure" below {self.threshold:.4g}' if self.threshold else 'Nothing is "unsure"'
        return (
            f"{chosen}: of the strangers ({self.source}) that did not choose it {self.passing} get a label all the "
            f"same, and of the test pictures that are labelled right {self.lost} are lost."
        )


def find_unsure(job: Job, others: str) -> tuple[Job, Unsure]:
    """Choose the threshold, by the pictures in the folder `others` or by drawn ones, and give the job that has it.

    Half of the strangers choose, with pictures that are not the test's; the other half and the test's tell what it
    does. Raises ExportError.
    """
    reference, dataset = job.reference, job.dataset
    if reference.thresholds:
        raise ExportError("--others is for classifiers that give each picture one label; others have thresholds.")
    if UNSURE in dataset.labels:
        raise ExportError(f"A label is called {UNSURE!r}, as pictures are that show none; name it otherwise.")
    strangers, source = _strangers(others, max(reference.input.shape))
    known = job.held_out or dataset.all_but_test
    known, test = known.part(known.mixed()[:_MOST_PICTURES]), dataset.test.thin(job.config.parity_pictures)
    with job.progress("Asking about strangers", len(strangers) + len(known) + len(test)) as on_done:
        asked = ask(reference, strangers, on_done).max(axis=1).astype(np.float64)
        good, good_test = (_sure_and_right(ask(reference, each, on_done), each) for each in (known, test))
    if not len(good) or not len(good_test):
        raise ExportError("--others: Keras labels none of the pictures right, so that none could be lost.")
    choosing, told = asked[::2], asked[1::2]
    threshold = choose_threshold(good, choosing)
    if threshold == 0:
        job.warn(
            "No picture counts as unsure: no threshold that loses few good ones keeps a larger share of others out."
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
    """The threshold that keeps out most strangers for the good pictures it loses, MOST_LOST of them at most.

    It has four digits. Both are probabilities of the label that was given, (n,).
    """
    candidates = np.arange(10_000) / 10_000
    lost = np.searchsorted(np.sort(good), candidates) / len(good)
    kept_out = np.searchsorted(np.sort(strangers), candidates) / len(strangers)
    allowed = lost <= MOST_LOST
    gain = np.where(allowed, kept_out - lost, -1)
    return float(candidates[int(gain.argmax())])


def area_between(good: NDArray[np.float64], strangers: NDArray[np.float64]) -> float:
    """How often one of the good pictures is surer than a stranger; as sure counts half."""
    ordered = np.sort(strangers)
    below, not_above = np.searchsorted(ordered, good), np.searchsorted(ordered, good, side="right")
    return float((below + not_above).mean() / 2 / len(strangers))


def curve_of(good: NDArray[np.float64], strangers: NDArray[np.float64]) -> tuple[Point, ...]:
    """What thresholds do, the lowest first: 100 at most, as far apart as what they do."""
    levels = np.unique(np.quantile(np.concatenate([good, strangers]), np.linspace(0, 1, 99)))
    return tuple(
        Point(float(level), float((strangers >= level).mean()), float((good < level).mean()))
        for level in (0.0, *levels.tolist(), 1.0)
    )


def _strangers(others: str, side: int) -> tuple[Split, str]:
    """Pictures of none of the labels, mixed, and where they are from."""
    mixed = np.random.default_rng(0)
    if others == DRAWN:
        drawn = draw_textures(_DRAWN, size=min(side, _LARGEST_DRAWN), seed=_SEED)
        return Split(drawn[mixed.permutation(_DRAWN)], np.zeros(_DRAWN, np.int64)), f"{_DRAWN} drawn textures"
    if not others:
        raise ExportError("--others: name a folder, or say drawn.")
    found = find_pictures([Path(others)])
    if found.errors:
        raise found.errors[0][1]
    if len(found.pictures) < FEWEST:
        raise ExportError(f"--others: {others} has {len(found.pictures)} pictures; give {FEWEST} or more.")
    order = mixed.permutation(len(found.pictures))[:_MOST_PICTURES]
    return Split([found.pictures[i] for i in order], np.zeros(len(order), np.int64)), others


def _sure_and_right(probabilities: NDArray[np.floating], split: Split) -> NDArray[np.float64]:
    """The probabilities of the labels that are right, (n,)."""
    right: NDArray[np.bool_] = probabilities.argmax(axis=1) == split.labels
    sure: NDArray[np.float64] = probabilities.max(axis=1)[right].astype(np.float64)
    return sure
