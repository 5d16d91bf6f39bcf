"""Statistics that a look at pictures must not be fooled by: each case once gave a claim that was wrong."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from signs_export.gate.sense import _is_chance
from signs_export.inspection.distinct import distinct
from signs_export.inspection.order import find_order
from signs_export.inspection.ranking import Answers, Ranking, Stage
from signs_export.inspection.settings import Setting
from signs_runtime.pictures.input_spec import Reading

from .cases import answers


@dataclass
class Given(Answers):
    """Answers that are known by scaling."""

    known: dict[str, NDArray[np.float64]]

    def __call__(self, setting: Setting, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.known[setting.scaling][places]


def ranked(known: dict[str, NDArray[np.float64]], truth: NDArray[np.int64], classes: int, *, ordered: bool) -> Stage:
    settings = [Setting(name, Reading()) for name in known]  # type: ignore[arg-type]  # names of scalings
    rank = Ranking(Given(known), truth, classes, may_be_ordered=ordered)
    return rank("scaling", settings, np.arange(len(truth)), lambda done: None, by_likelihood=True)


def sharpened(given: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """A surer model's answers."""
    raised = given**power
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(20))
def test_an_overconfident_model_is_not_taken_for_one_that_knows_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(10), 3)[:24]
    known = {"none": sharpened(answers(truth, 0.7, 10, rng), 12), "unit": answers(truth, 0.3, 10, rng)}
    stage = ranked(known, truth, 10, ordered=True)
    assert stage.tried[0].setting.scaling == "none" or not stage.is_sure


def test_a_biased_threshold_is_no_exchange_of_two_labels() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [135, 165])
    second = np.where(truth == 1, rng.uniform(0.3, 0.49, 300), rng.uniform(0.01, 0.2, 300))  # always below a half
    order = find_order(truth, np.stack([1 - second, second], axis=1), ("a", "b"))
    assert not order.is_better(0.5)


def test_a_label_that_is_seldom_found_is_not_the_other_one() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(2000) < 0.8).astype(np.int64)
    said = np.where((truth == 1) & (rng.random(2000) < 0.7), 0, truth)
    order = find_order(truth, np.eye(2)[said] * 0.8 + 0.1, ("a", "b"))
    assert not order.is_better(0.5)


@pytest.mark.parametrize("seed", range(10))
def test_frames_of_a_few_videos_are_no_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    videos = np.repeat(np.arange(10), 2)
    said = np.where(rng.random(20) < 0.5, videos, rng.integers(0, 10, 20))
    truth, said = np.repeat(videos, 20), np.repeat(said, 20)
    frames = np.repeat(rng.integers(10, 245, (20, 24, 24, 3)), 20, axis=0) + rng.integers(-4, 5, (400, 24, 24, 3))
    apart = distinct(frames.astype(np.uint8), truth)
    assert len(apart) == 20
    order = find_order(truth[apart], np.eye(10)[said[apart]] * 0.8 + 0.02, tuple("abcdefghij"))
    assert not order.is_better(1e-6)


def test_of_a_thousand_labels_none_is_moved_that_is_not_proved() -> None:
    rng = np.random.default_rng(2)
    labels = tuple(f"label {i}" for i in range(1000))
    meant = np.concatenate([np.roll(np.arange(500), 1), np.arange(500, 1000)])
    truth = rng.integers(0, 1000, 1200)
    order = find_order(truth, answers(truth, 0.75, 1000, rng)[:, meant], labels)
    assert not order.is_better(0.5) or order.meant == tuple(meant)


def test_answers_that_tell_nothing_do_not_beat_those_that_tell_a_little_of_many_labels() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 1000, 300)
    known = {"unit": answers(truth, 0.42, 1000, rng), "tf": rng.dirichlet(np.full(1000, 0.5), 300)}
    for ordered in (False, True):
        assert ranked(known, truth, 1000, ordered=ordered).tried[0].setting.scaling == "unit"


def test_a_model_that_always_says_the_same_is_not_sure_of_a_scaling() -> None:
    truth = np.repeat([0, 1], [180, 20])
    always = np.tile([0.9, 0.1], (200, 1))
    assert not ranked({"none": always, "unit": always}, truth, 2, ordered=True).is_sure


def test_answers_that_are_no_numbers_lose() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 5, 100)
    stage = ranked({"none": np.zeros((100, 5)), "unit": answers(truth, 0.8, 5, rng)}, truth, 5, ordered=True)
    assert stage.tried[0].setting.scaling == "unit"


def test_little_of_many_labels_and_the_rare_of_two_are_more_than_chance() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 1000, 2000)
    assert not _is_chance(truth, np.where(rng.random(2000) < 0.05, truth, rng.integers(0, 1000, 2000)), 1000)
    rare = (rng.random(2000) < 0.01).astype(np.int64)
    assert not _is_chance(rare, np.where(rare == 1, rng.random(2000) < 0.9, rng.random(2000) < 0.45).astype(int), 2)
