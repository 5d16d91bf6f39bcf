"""Ranks settings by a model's answers to labelled pictures, and finds those that the pictures cannot distinguish."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_export.inspection.order import likelihood_in, order_by_halves, paired_p_value, right_in
from signs_export.inspection.settings import Setting
from signs_export.source.reference import Reference
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.pictures.input_spec import InputSpec, Reading

SURE = 1e-3  # p value below which the correctly labelled pictures distinguish two settings
LIKELIER = 1e-4  # the same for the likelihoods of the labels
_TEMPERATURES = np.geomspace(0.1, 300, 81)


@dataclass(frozen=True)
class Tried:
    """A setting, what the model gets right with it, and how it compares with the best of its stage."""

    setting: Setting
    right: Accuracy
    log_likelihood: float  # mean, of the labels, at the best temperature; see `log_likelihood`
    temperature: float  # the best divisor of the logits; near 1 if pixels have the training's scale
    only_best: int  # pictures that only the best setting gets right
    only_this: int
    p_value: float  # that both are equally likely: Wilcoxon's, on the likelihoods
    same: bool  # the same likelihood as the best, on every picture

    @property
    def gets_fewer_right(self) -> bool:
        """Whether the best setting gets significantly more pictures right."""
        pairs = Paired(self.right.total, self.only_best, self.only_this)
        return not self.same and self.only_best > self.only_this and pairs.p_value < SURE


@dataclass(frozen=True)
class Stage:
    """Settings that were compared, the best first."""

    name: str
    tried: tuple[Tried, ...]
    by_likelihood: bool  # likelihoods count: for scalings, not for filters, as smoother pictures are often likelier

    def is_worse(self, other: Tried) -> bool:
        """Whether the pictures show that this is worse than the best."""
        if other.same or other.gets_fewer_right or not self.by_likelihood:
            return other.gets_fewer_right
        best = self.tried[0]
        return (
            other.p_value < LIKELIER
            and other.log_likelihood < best.log_likelihood
            and other.right.correct <= best.right.correct
        )

    @property
    def rivals(self) -> tuple[Tried, ...]:
        """The settings that the pictures cannot distinguish from the best, without those that are the same."""
        return tuple(each for each in self.tried[1:] if not each.same and not self.is_worse(each))

    @property
    def is_sure(self) -> bool:
        """Whether there is no rival, and at least one worse setting."""
        return not self.rivals and any(not each.same for each in self.tried[1:])


class Answers:
    """The answers to pictures under each setting, computed once for equal pixels, with one reading in memory."""

    def __init__(self, reference: Reference, pictures: Split) -> None:
        self._reference, self._pictures = reference, pictures
        self._read: tuple[Reading, bytes] | None = None
        self._images = np.empty(0, np.uint8)
        self._known: dict[tuple[str, bytes], NDArray[np.float64]] = {}

    def __call__(self, setting: Setting, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probabilities (n, labels) of the pictures at these indices; 0 instead of NaN and infinity."""
        images = self.images(setting.reading, places)
        key = (setting.scaling, sha256(images.data).digest())
        if key not in self._known:
            given = replace(self._reference, scaling=setting.scaling).probabilities(images)
            self._known[key] = np.nan_to_num(given.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        return self._known[key]

    def images(self, reading: Reading, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures at these indices, as images for the model."""
        spec = self._reference.input
        in_rgb = replace(reading, channels="RGB")
        if self._read != (in_rgb, places.tobytes()):
            self._images = self._pictures.part(places).images(
                InputSpec.read_as(in_rgb, spec.height, spec.width, spec.mode)
            )
            self._read = (in_rgb, places.tobytes())
        is_turned = spec.mode == "RGB" and reading.channels == "BGR"
        return np.ascontiguousarray(self._images[..., ::-1]) if is_turned else self._images


@dataclass(frozen=True)
class Ranking:
    """Ranks settings by pictures with labels (n,), in the data's order of labels or in the one that fits."""

    answers: Answers
    labels: NDArray[np.int64]
    classes: int
    may_be_ordered: bool = True  # another order than the data's is tried as well, found on other pictures

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
        """Try settings. `keep`, one of them, stays the best unless another gets significantly more pictures right.

        A filter that makes pictures smoother may raise every probability slightly without being the training's filter.
        """
        truth = self.labels[places]
        known: list[_Known] = []
        for setting in settings:
            known.append(self._of(self.answers(setting, places), truth))
            on_done(1)
        best = max(range(len(known)), key=lambda i: (float(known[i].likelihood.mean()), -i))
        # Other scales may give the same labels. At the scale of the training, the best temperature is nearest to 1.
        alike = [i for i, each in enumerate(known) if np.array_equal(each.right, known[best].right)]
        best = min(alike, key=lambda i: (abs(np.log(known[i].temperature)), i))
        best = best if keep is None else settings.index(keep)
        most = max(range(len(known)), key=lambda i: (int(known[i].right.sum()), float(known[i].likelihood.mean())))
        best = most if _is_better(known[most].right, known[best].right, len(known)) else best
        ranked = sorted(range(len(known)), key=lambda i: (i != best, -float(known[i].likelihood.mean()), i))
        return Stage(name, tuple(_beside(settings[i], known[i], known[best]) for i in ranked), by_likelihood)

    def _of(self, given: NDArray[np.float64], truth: NDArray[np.int64]) -> "_Known":
        said = given.argmax(axis=1)
        meant = np.tile(np.arange(self.classes), (len(truth), 1))
        if self.may_be_ordered:
            other = order_by_halves(truth, said, self.classes)
            if right_in(other, said, truth).sum() > right_in(meant, said, truth).sum():
                meant = other
        logits = np.log(np.maximum(given, np.finfo(np.float32).tiny))
        likelihoods = []
        for temperature in _TEMPERATURES:
            powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
            likelihoods.append(likelihood_in(meant, powers / powers.sum(axis=1, keepdims=True), truth))
        best = int(np.argmax([each.mean() for each in likelihoods]))
        return _Known(right_in(meant, said, truth), likelihoods[best], float(_TEMPERATURES[best]))


@dataclass(frozen=True)
class _Known:
    """What a model gets right under a setting, in the order of labels that fits."""

    right: NDArray[np.bool_]  # (n,)
    likelihood: NDArray[np.float64]  # (n,), at the temperature
    temperature: float


def _is_better(these: NDArray[np.bool_], others: NDArray[np.bool_], tried: int) -> bool:
    """Whether these are significantly more than others, as the best of `tried` settings."""
    pairs = Paired(len(these), int((others & ~these).sum()), int((these & ~others).sum()))
    return pairs.only_variant > pairs.only_keras and pairs.p_value < SURE / max(tried - 1, 1)


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
