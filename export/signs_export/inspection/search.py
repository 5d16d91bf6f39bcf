"""Tries what a model may have been trained on, in stages, by what the model then gets right."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.progress import Progress, no_progress
from signs_export.inspection.distinct import distinct
from signs_export.inspection.order import Order, find_order
from signs_export.inspection.ranking import LIKELIER, Answers, Ranking, Stage, Tried
from signs_export.inspection.settings import Setting, filters, fits, scalings_and_colours, turns
from signs_export.source.reference import Reference
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.pictures.input_spec import Reading

MOST_PICTURES, LEAST_PICTURES = 1200, 240  # of small models' size, and of large ones'
SMALL = 96 * 96  # pixels, of which MOST_PICTURES are tried; of larger ones fewer, down to LEAST_PICTURES
FIRST_SHARE, FEWEST, MOST_FIRST = 0.1, 100, 300  # of the pictures, for scalings and colours
PER_LABEL = 5  # of the first pictures at least: with fewer, any order fits
ORDER_SURE = 1e-4


@dataclass(frozen=True)
class Inspection:
    """What a model seems to have been trained on."""

    labels: tuple[str, ...]  # the data's, in its order
    pictures: int  # that are not nearly the same
    stages: tuple[Stage, ...]
    order: Order
    right: Accuracy  # with the best setting, in the order that fits
    chance: float  # share of the label that most pictures show
    began: Reading  # where the search began: what options need not say

    @property
    def setting(self) -> Setting:
        return self.stages[-1].tried[0].setting

    @property
    def options(self) -> tuple[str, ...]:
        """What to say to `signs export`, as words of a command."""
        return self.setting.options(self.began)

    @property
    def other_order(self) -> tuple[str, ...] | None:
        """The labels in the order of the outputs, where that is surely another than the data's."""
        return tuple(self.labels[i] for i in self.order.meant) if self.order.is_better(ORDER_SURE) else None

    @property
    def beats_chance(self) -> bool:
        """Whether the model gets more right than its most frequent label would."""
        return self.right.interval[0] > self.chance

    @property
    def is_sure(self) -> bool:
        """Of scaling and colours, which decide most."""
        return self.beats_chance and self.stages[0].is_sure


def inspect(reference: Reference, dataset: Dataset, *, progress: Progress = no_progress) -> Inspection:
    """Find out what a model was trained on, by labelled pictures; the search begins with how `reference` reads them.

    Scalings and colours are tried first, on a part of the pictures, whatever order the labels are in; then how pictures
    are fitted, resized and turned, on all (MOST_PICTURES at most).
    """
    pictures = dataset.test + dataset.all_but_test
    spec = reference.input
    most = int(np.clip(MOST_PICTURES * SMALL / (spec.height * spec.width), LEAST_PICTURES, MOST_PICTURES))
    order, reading = pictures.mixed()[:most], spec.reading
    few = _few(order, len(dataset.labels))
    rank = Ranking(Answers(reference, pictures), pictures.labels, len(dataset.labels))
    with progress("Trying scalings and readings", 60) as on_done:
        started = _with_likely_fit(rank, reference, reading, few, on_done)
        stages = [_scalings(rank, reference, started, few, order, on_done)]
        for name, more in (("fit", fits), ("filter", filters), ("EXIF", turns)):
            best = stages[-1].tried[0].setting
            if name == "EXIF" and not dataset.turned()[0]:
                continue
            stage = rank(name, more(best), order, on_done, keep=best)
            if not all(each.same for each in stage.tried):
                stages.append(stage)
    best = stages[-1].tried[0].setting
    given, truth = rank.answers(best, order), pictures.labels[order]
    apart = distinct(rank.answers.images(best.reading, order), truth)
    found = find_order(truth[apart], given[apart], dataset.labels)
    right = found.other if found.is_better(ORDER_SURE) else found.own
    chance = float(np.bincount(truth).max()) / len(truth)
    return Inspection(dataset.labels, len(apart), tuple(stages), found, right, chance, reading)


def _with_likely_fit(
    rank: Ranking, reference: Reference, reading: Reading, few: NDArray[np.int64], on_done: Callable[[int], None]
) -> Reading:
    """The reading to try scalings with: a wrong fit hides the right scaling, so that they are tried together first."""
    first = scalings_and_colours(reference, reading)
    own = rank.answers.images(reading, few).copy()
    others = [
        each.reading.fit
        for each in fits(first[0])
        if not np.array_equal(rank.answers.images(replace(each.reading, channels=reading.channels), few), own)
    ]
    if not others:
        return reading
    fitted = [replace(each, reading=replace(each.reading, fit=fit)) for fit in others for each in first]
    tried = rank("", [*first, *fitted], few, on_done).tried
    usual = next(each for each in tried if each.setting.reading.fit == reading.fit)
    likelier = usual.log_likelihood < tried[0].log_likelihood and usual.p_value < LIKELIER
    return replace(reading, fit=tried[0].setting.reading.fit) if likelier or usual.gets_fewer_right else reading


def _scalings(
    rank: Ranking,
    reference: Reference,
    reading: Reading,
    few: NDArray[np.int64],
    order: NDArray[np.int64],
    on_done: Callable[[int], None],
) -> Stage:
    """Scalings and colours, on a part of the pictures; those that it cannot tell apart, on all."""
    name = "scaling and colours"
    stage = rank(name, scalings_and_colours(reference, reading), few, on_done, by_likelihood=True)
    if not stage.rivals:
        return stage
    left = [each.setting for each in (stage.tried[0], *stage.rivals)]
    stage = rank(name, left, order, on_done, by_likelihood=True)
    best = stage.tried[0].setting
    usual = replace(best, reading=replace(best.reading, channels=reading.channels))
    if any(each.setting == usual for each in stage.rivals):  # where nothing tells, colours are as they mostly are
        stage = rank(name, left, order, on_done, by_likelihood=True, keep=usual)
    return stage


def better_scaling(
    reference: Reference, dataset: Dataset, p_value: float, *, progress: Progress = no_progress
) -> tuple[Tried, Tried] | None:
    """The scaling and colours with which more is right than with the reference's, and those; the labels as they are.

    None where chance explains it (`p_value`), which costs little where a model gets nearly all right.
    """
    pictures = dataset.test + dataset.all_but_test
    places = _few(pictures.mixed(), len(dataset.labels))
    now = Setting(reference.scaling, reference.input.reading)
    settings = scalings_and_colours(reference, now.reading)
    others = [each for each in settings if each != now]
    rank = Ranking(Answers(reference, pictures), pictures.labels, len(dataset.labels), may_be_ordered=False)
    with progress("Trying other scalings", len(settings)) as on_done:
        own = rank("scaling and colours", [now], places, on_done).tried[0]
        if 0.5 ** (own.right.total - own.right.correct - 1) >= p_value:  # so few are wrong that nothing can be proved
            return None
        tried = rank("scaling and colours", [now, *others], places, on_done, keep=now).tried
    best = tried[0]
    this = next(each for each in tried if each.setting == now)
    pairs = Paired(best.right.total, this.only_best, this.only_this)
    is_sure = best.setting != now and this.only_best > this.only_this and pairs.p_value < p_value / len(settings)
    return (best, this) if is_sure else None


def _few(order: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The first of these pictures, on which scalings are tried."""
    return order[: int(min(MOST_FIRST, max(FEWEST, PER_LABEL * classes, FIRST_SHARE * len(order))))]
