"""What is measured of a classifier."""

import json
from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Split
from signs_builder.errors import ModelError
from signs_builder.evaluation.evaluate import Figures, count_confusion, evaluate
from signs_builder.evaluation.shift_suite import shifts_of
from signs_runtime import ImageError
from signs_runtime.figures import Accuracy

from .classifier import LABELS, SPEC, by_brightness


def test_the_figures_are_those_of_the_answers(figures: Figures) -> None:
    assert figures.accuracy == Accuracy(6, 8)
    assert figures.confusion == ((2, 1, 0), (0, 2, 1), (0, 0, 2))
    assert figures.per_class == {"dark": Accuracy(2, 3), "middle": Accuracy(2, 3), "bright": Accuracy(2, 2)}
    assert [(each.picture, each.label, each.said) for each in figures.wrong] == [
        ("#6", "dark", "middle"),
        ("#7", "middle", "bright"),
    ]
    assert figures.loss == pytest.approx(-(6 * np.log(0.8) + 2 * np.log(0.1)) / 8, rel=1e-5)


def test_bad_pictures_of_all_parts_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signs_builder.evaluation.evaluate.CHUNK", 1)
    for name in "ab":
        (tmp_path / f"{name}.png").touch()
    split = Split(sorted(tmp_path.iterdir()), np.array([0, 1]))
    with pytest.raises(ImageError, match=r"2 of 2 pictures cannot be read(.|\n)*a\.png(.|\n)*b\.png"):
        evaluate(by_brightness, split, LABELS, SPEC)


def test_confusion_counts_what_each_label_is_called() -> None:
    truth, said = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    assert count_confusion(truth, said, 4).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]


def test_the_shift_suite_is_measured_with_each_shift(figures: Figures) -> None:
    assert list(figures.shifts) == [name for name in shifts_of(LABELS) if name != "another wall"]  # no hand
    assert figures.shifts["mirrored"] == figures.accuracy  # which is all the same to this classifier
    assert figures.shifts["dim light"].correct < figures.accuracy.correct
    shares = [each.share for each in figures.shifts.values()]
    assert figures.mean_of_shifts == pytest.approx(np.mean(shares))


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # R's binom.confint(method="wilson")
    [(119, 120, 0.9543042, 0.9985275), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (1, 2, 0.0945312, 0.9054688)],
)
def test_the_interval_is_wilsons(correct: int, total: int, low: float, high: float) -> None:
    assert Accuracy(correct, total).interval == pytest.approx((low, high), abs=1e-5)
    assert Accuracy(120, 120).interval[1] == 1


def test_everything_is_json(figures: Figures) -> None:
    document = json.loads(json.dumps(figures.as_json(), allow_nan=False))
    assert document["confusion"] == [[2, 1, 0], [0, 2, 1], [0, 0, 2]]
    assert document["wrong"][0]["picture"] == "#6"


def test_answers_that_are_no_numbers_are_refused(split: Split) -> None:
    with pytest.raises(ModelError, match="NaN"):
        evaluate(lambda images: np.full((len(images), 3), np.nan, np.float32), split, LABELS, SPEC)
