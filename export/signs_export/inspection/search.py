"""Tries in stages how a model's training may have read and scaled pictures, by what the model then gets right."""

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

MOST_PICTURES, LEAST_PICTURES = 1200, 240  # for models with small inputs, and with large ones
SMALL = 96 * 96  # pixels of an input: up to this, MOST_PICTURES are tried; above, fewer, down to LEAST_PICTURES
FIRST_SHARE, FEWEST, MOST_FIRST = 0.1, 100, 300  # share and number of pictures, for scalings and colours
PER_LABEL = 5  # at least this many of the first pictures for each label: with fewer, any order fits
ORDER_SURE = 1e-4


@dataclass(frozen=True)
class Inspection:
    """How the training seems to have read and scaled pictures, and in which order the labels are."""

    labels: tuple[str, ...]  # the data's, in its order
    pictures: int  # without near duplicates
    stages: tuple[Stage, ...]
    order: Order
    right: Accuracy  # with the best setting, in the order that fits
    chance: float  # share of the most frequent label
    began: Reading  # where the search began; `options` leaves out what equals it

    @property
    def setting(self) -> Setting:
        return self.stages[-1].tried[0].setting

    @property
    def options(self) -> tuple[str, ...]:
        """The options for `signs export`, as words of a command."""
        return self.setting.options(self.began)

    @property
    def other_order(self) -> tuple[str, ...] | None:
        """The labels in the order of the outputs; None unless it surely differs from the data's order."""
        return tuple(self.labels[i] for i in self.order.meant) if self.order.is_better(ORDER_SURE) else None

    @property
    def beats_chance(self) -> bool:
        """Whether the model gets significantly more right than the most frequent label alone would."""
        return self.right.interval[0] > self.chance

    @property
    def is_sure(self) -> bool:
        """Whether scaling and colours, which matter most, are certain."""
        return self.beats_chance and self.stages[0].is_sure


def inspect(reference: Reference, dataset: Dataset, *, progress: Progress = no_progress) -> Inspection:
    """Find out, on labelled pictures, how a model's training read them; the search begins with `reference`'s reading.

    Scalings and colours come first, on a part of the pictures, with labels in any order. Then come fit, resize filter
    and EXIF rotation, on all pictures (at most MOST_PICTURES).
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
    """The reading for trying scalings. A wrong fit hides the right scaling, so both are tried together first."""
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
    """Try scalings and colours on a part of the pictures, and those that it cannot distinguish on all."""
    name = "scaling and colours"
    stage = rank(name, scalings_and_colours(reference, reading), few, on_done, by_likelihood=True)
    if not stage.rivals:
        return stage
    left = [each.setting for each in (stage.tried[0], *stage.rivals)]
    stage = rank(name, left, order, on_done, by_likelihood=True)
    best = stage.tried[0].setting
    usual = replace(best, reading=replace(best.reading, channels=reading.channels))
    if any(each.setting == usual for each in stage.rivals):  # if nothing decides, keep the usual order of colours
        stage = rank(name, left, order, on_done, by_likelihood=True, keep=usual)
    return stage


def better_scaling(
    reference: Reference, dataset: Dataset, p_value: float, *, progress: Progress = no_progress
) -> tuple[Tried, Tried] | None:
    """The scaling and colours that get more right than the reference's, and the reference's own, in the data's order.

    None if chance (`p_value`) explains the difference. This is quick for a model that gets nearly all right.
    """
    pictures = dataset.test + dataset.all_but_test
    places = _few(pictures.mixed(), len(dataset.labels))
    now = Setting(reference.scaling, reference.input.reading)
    settings = scalings_and_colours(reference, now.reading)
    others = [each for each in settings if each != now]
    rank = Ranking(Answers(reference, pictures), pictures.labels, len(dataset.labels), may_be_ordered=False)
    with progress("Trying other scalings", len(settings)) as on_done:
        own = rank("scaling and colours", [now], places, on_done).tried[0]
        if 0.5 ** (own.right.total - own.right.correct - 1) >= p_value:  # too few are wrong to prove anything
            return None
        tried = rank("scaling and colours", [now, *others], places, on_done, keep=now).tried
    best = tried[0]
    this = next(each for each in tried if each.setting == now)
    pairs = Paired(best.right.total, this.only_best, this.only_this)
    is_sure = best.setting != now and this.only_best > this.only_this and pairs.p_value < p_value / len(settings)
    return (best, this) if is_sure else None


def _few(order: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The first of these pictures, for trying scalings."""
    return order[: int(min(MOST_FIRST, max(FEWEST, PER_LABEL * classes, FIRST_SHARE * len(order))))]
