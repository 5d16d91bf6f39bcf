"""Tries what a model may have been trained on, in stages, and ranks it by what the model then gets right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.progress import Progress, ignore_progress, no_progress
from signs_export.inspection.order import Order, best_order, find_order, log_likelihood, paired_p_value
from signs_export.inspection.settings import Setting, filters, fits, scalings_and_colours, turns
from signs_export.source.reference import Reference
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.pictures.input_spec import InputSpec, Reading

MOST_PICTURES = 1200
FIRST_SHARE, FEWEST, MOST_FIRST = 0.1, 100, 300  # of the pictures, for scalings and colours
PER_LABEL = 5  # of the first pictures at least: with fewer, any order fits
SURE = 0.01  # chance that two ways which are as good are told apart by the pictures that they get right
LIKELIER = 1e-4  # the same, by the likelihoods of the labels
ORDER_SURE = 1e-4
FURTHER = 3  # times as far from 1, in powers, is a temperature that tells a wrong scale of the pixels
_TEMPERATURES = np.geomspace(0.1, 300, 81)


@dataclass(frozen=True)
class Tried:
    """A setting, with what the model gets right so, and how it lies beside the best of its stage."""

    setting: Setting
    right: Accuracy
    log_likelihood: float  # of the labels, on average, at the temperature that suits best; see `log_likelihood`
    temperature: float  # that the logits must be divided by for that; near 1 where pixels have the training's scale
    only_best: int  # pictures that the best alone gets right
    only_this: int
    p_value: float  # of both being as likely: Wilcoxon's on the likelihoods
    same: bool  # as the best, on every picture

    @property
    def gets_fewer_right(self) -> bool:
        """Whether the best is better than this, by the pictures that they get right."""
        pairs = Paired(self.right.total, self.only_best, self.only_this)
        return not self.same and self.only_best > self.only_this and pairs.p_value < SURE


@dataclass(frozen=True)
class Stage:
    """What was tried together, the best first."""

    name: str
    tried: tuple[Tried, ...]
    by_likelihood: bool  # likelihoods tell, too: of scalings, not of filters, as a smoother picture is often likelier

    def is_worse(self, other: Tried) -> bool:
        """Whether the pictures tell this from the best."""
        if other.same or other.gets_fewer_right or not self.by_likelihood:
            return other.gets_fewer_right
        best = self.tried[0]
        likelier = other.p_value < LIKELIER and other.log_likelihood < best.log_likelihood
        return likelier or abs(np.log(other.temperature)) > FURTHER * max(abs(np.log(best.temperature)), np.log(2))

    @property
    def is_sure(self) -> bool:
        """Whether all others are the same or worse."""
        return not self.rivals

    @property
    def rivals(self) -> tuple[Tried, ...]:
        """Those that the pictures cannot tell from the best, and that are not the same."""
        return tuple(each for each in self.tried[1:] if not each.same and not self.is_worse(each))


@dataclass(frozen=True)
class Inspection:
    """What a model seems to have been trained on."""

    labels: tuple[str, ...]  # the data's, in its order
    pictures: int
    stages: tuple[Stage, ...]
    order: Order
    right: Accuracy  # with the best setting, in the order that fits

    @property
    def setting(self) -> Setting:
        return self.stages[-1].tried[0].setting

    @property
    def other_order(self) -> tuple[str, ...] | None:
        """The labels in the order of the outputs, where that is surely another than the data's."""
        return tuple(self.labels[i] for i in self.order.meant) if self.order.is_better(ORDER_SURE) else None

    @property
    def beats_chance(self) -> bool:
        """Whether the model gets more right than its most frequent label would."""
        return self.right.interval[0] > 1 / len(self.labels)

    @property
    def is_sure(self) -> bool:
        """Of scaling and colours, which decide most."""
        return self.beats_chance and self.stages[0].is_sure


class _Answers:
    """The answers to pictures under a setting, asked once for the same pixels."""

    def __init__(self, reference: Reference, pictures: Split) -> None:
        self._reference, self._pictures = reference, pictures
        self._images: dict[tuple[object, ...], NDArray[np.uint8]] = {}
        self._known: dict[tuple[object, ...], NDArray[np.float64]] = {}

    def __call__(self, setting: Setting, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities (n, labels) of the pictures at these places."""
        images = self._read(setting.reading, places)
        key = (setting.scaling, images.tobytes() if images.nbytes < 2**20 else hash(images.tobytes()))
        if key not in self._known:
            scaled = replace(self._reference, scaling=setting.scaling)
            self._known[key] = scaled.probabilities(images).astype(np.float64)
        return self._known[key]

    def reads_alike(self, one: Setting, other: Setting, places: NDArray[np.int64]) -> bool:
        """Whether two settings read these pictures to the same pixels."""
        return np.array_equal(self._read(one.reading, places), self._read(other.reading, places))

    def _read(self, reading: Reading, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        spec = self._reference.input
        in_rgb = replace(reading, channels="RGB")
        key = (in_rgb, places.tobytes())
        if key not in self._images:
            self._images[key] = self._pictures.part(places).images(
                InputSpec.read_as(in_rgb, spec.height, spec.width, spec.mode)
            )
        images = self._images[key]
        return images if spec.mode == "L" or reading.channels == "RGB" else np.ascontiguousarray(images[..., ::-1])


def inspect(
    reference: Reference, dataset: Dataset, reading: Reading, *, progress: Progress = no_progress
) -> Inspection:
    """Find out what a model was trained on, by labelled pictures; `reading` is where the search begins.

    Scalings and colours are tried first, on a part of the pictures, whatever order the labels are in; then how pictures
    are fitted, resized and turned, on all (MOST_PICTURES at most).
    """
    pictures = dataset.test + dataset.all_but_test
    order = pictures.mixed()[:MOST_PICTURES]
    classes = len(dataset.labels)
    few = _few(order, classes)
    answers = _Answers(reference, pictures)
    rank = _Ranking(answers, pictures.labels, classes)
    with progress("Trying scalings and readings", 60) as on_done:
        started = _with_likely_fit(rank, reference.input, reading, few, on_done)
        stages = [_scalings(rank, reference.input, started, few, order, on_done)]
        for name, more in (("fit", fits), ("filter", filters), ("EXIF", turns)):
            best = stages[-1].tried[0].setting
            if name == "EXIF" and not dataset.turned()[0]:
                continue
            stage = rank(name, more(best), order, on_done, keep=best)
            if not all(each.same for each in stage.tried):
                stages.append(stage)
    best = stages[-1].tried[0].setting
    given = answers(best, order)
    truth = pictures.labels[order]
    found = find_order(truth, given, dataset.labels)
    right = found.other if found.is_better(ORDER_SURE) else found.own
    return Inspection(dataset.labels, len(order), tuple(stages), found, right)


def _with_likely_fit(
    rank: "_Ranking", spec: InputSpec, reading: Reading, few: NDArray[np.int64], on_done: Callable[[int], None]
) -> Reading:
    """The reading to try scalings with: a wrong fit hides the right scaling, so that they are tried together first."""
    first = scalings_and_colours(spec, reading)
    others = [each for each in fits(first[0]) if not rank.answers.reads_alike(each, first[0], few)]
    if not others:
        return reading
    known = [replace(each, reading=replace(each.reading, fit=other.reading.fit)) for each in first for other in others]
    tried = rank("", [*first, *known], few, on_done).tried
    own = next(each for each in tried if each.setting.reading.fit == reading.fit)
    likelier = own.log_likelihood < tried[0].log_likelihood and own.p_value < LIKELIER
    return replace(reading, fit=tried[0].setting.reading.fit) if likelier or own.gets_fewer_right else reading


def _scalings(
    rank: "_Ranking",
    spec: InputSpec,
    reading: Reading,
    few: NDArray[np.int64],
    order: NDArray[np.int64],
    on_done: Callable[[int], None],
) -> Stage:
    """Scalings and colours, on a part of the pictures; those that it cannot tell apart, on all."""
    name = "scaling and colours"
    stage = rank(name, scalings_and_colours(spec, reading), few, on_done, by_likelihood=True)
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
    reference: Reference, dataset: Dataset, now: Setting, p_value: float, *, progress: Progress = no_progress
) -> tuple[Tried, Tried] | None:
    """The scaling and colours with which more is right than now, and now's; None where chance explains it (p_value)."""
    pictures = dataset.test + dataset.all_but_test
    places = _few(pictures.mixed(), len(dataset.labels))
    settings = scalings_and_colours(reference.input, now.reading)
    rank = _Ranking(_Answers(reference, pictures), pictures.labels, len(dataset.labels))
    with progress("Trying other scalings", len(settings)) as on_done:
        best = rank("scaling and colours", settings, places, on_done).tried[0]
        if best.setting == now:
            return None
        tried = rank("scaling and colours", [best.setting, now], places, ignore_progress)
    first, second = tried.tried
    best, this = (first, second) if first.setting != now else (second, first)
    right = best.right.correct - this.right.correct
    pairs = Paired(best.right.total, this.only_best, this.only_this)
    is_sure = first.setting != now and right > 0 and pairs.p_value < p_value
    return (best, this) if is_sure else None


def _few(order: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The first of these pictures, on which scalings are tried."""
    return order[: int(min(MOST_FIRST, max(FEWEST, PER_LABEL * classes, FIRST_SHARE * len(order))))]


@dataclass(frozen=True)
class _Ranking:
    """Ranks settings by the pictures (labels (n,)) that the model gets right in whatever order its labels are."""

    answers: _Answers
    labels: NDArray[np.int64]
    classes: int

    def __call__(
        self,
        name: str,
        settings: Sequence[Setting],
        places: NDArray[np.int64],
        on_done: Callable[[int], None],
        *,
        keep: Setting | None = None,
        by_likelihood: bool = False,
    ) -> Stage:
        """Try settings; `keep`, one of them, stays the best unless another is surely better.

        A filter that makes pictures smoother may raise every probability a little without having been the training's.
        """
        truth = self.labels[places]
        known: list[_Known] = []
        for setting in settings:
            known.append(_of(self.answers(setting, places), truth, self.classes))
            on_done(1)
        # The likeliest; of those that are as likely, the one that needs its confidence changed least.
        likeliest = max(known, key=lambda each: float(each.likelihood.mean()))
        as_likely = [
            i for i, each in enumerate(known) if paired_p_value(likeliest.likelihood - each.likelihood) >= LIKELIER
        ]
        best = min(as_likely, key=lambda i: (abs(np.log(known[i].temperature)), i))
        best = best if keep is None else settings.index(keep)
        most = max(range(len(known)), key=lambda i: (int(known[i].right.sum()), float(known[i].likelihood.mean())))
        best = most if _better(known[most].right, known[best].right) else best
        ranked = sorted(range(len(known)), key=lambda i: (i != best, -float(known[i].likelihood.mean()), i))
        return Stage(name, tuple(_beside(settings[i], known[i], known[best]) for i in ranked), by_likelihood)


@dataclass(frozen=True)
class _Known:
    """What a model makes of pictures under a setting, in the order of labels that fits."""

    right: NDArray[np.bool_]  # (n,)
    likelihood: NDArray[np.float64]  # (n,), at the temperature
    temperature: float


def _of(given: NDArray[np.float64], truth: NDArray[np.int64], classes: int) -> _Known:
    said = given.argmax(axis=1)
    output = np.argsort(best_order(truth, said, classes))[truth]  # of each picture's label
    logits = np.log(np.maximum(given, np.finfo(np.float32).tiny))
    places = np.arange(len(truth))
    likelihoods = []
    for temperature in _TEMPERATURES:
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        likelihoods.append(log_likelihood(powers[places, output] / powers.sum(axis=1)))
    best = int(np.argmax([each.mean() for each in likelihoods]))
    return _Known(output == said, likelihoods[best], float(_TEMPERATURES[best]))


def _better(these: NDArray[np.bool_], others: NDArray[np.bool_]) -> bool:
    pairs = Paired(len(these), int((others & ~these).sum()), int((these & ~others).sum()))
    return pairs.only_variant > pairs.only_keras and pairs.p_value < SURE


def _beside(setting: Setting, this: _Known, best: _Known) -> Tried:
    difference = best.likelihood - this.likelihood
    return Tried(
        setting,
        Accuracy(int(this.right.sum()), len(this.right)),
        float(this.likelihood.mean()),
        this.temperature,
        int((best.right & ~this.right).sum()),
        int((this.right & ~best.right).sum()),
        paired_p_value(difference),
        bool(np.abs(difference).max() < 1e-6) and this.temperature == best.temperature,
    )
