"""What is measured of a classifier, and the pictures that are drawn of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from signs_builder.charts import draw_confusion, draw_curves, draw_gradients, draw_wrong
from signs_builder.dataset import Split
from signs_builder.errors import ModelError
from signs_builder.evaluate import Figures, evaluate
from signs_builder.shift_suite import SHIFTS
from signs_builder.train import Epoch, Training
from signs_runtime import InputSpec
from signs_runtime.manifest import Accuracy

SPEC = InputSpec(32, 32)
LABELS = ("dark", "middle", "bright")


def by_brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A classifier that anyone can follow: under 85 is dark, over 170 bright, and 0.8 sure."""
    said = np.digitize(images.mean(axis=(1, 2, 3)), [85, 170])
    return (0.1 + 0.7 * np.eye(3)[said]).astype(np.float32)


@pytest.fixture(scope="module")
def split() -> Split:
    levels = np.array([20, 40, 100, 120, 200, 220, 90, 230], np.uint8)
    grain = np.random.default_rng(0).integers(0, 12, (8, 32, 32, 3), np.uint8)
    mislabelled = [0, 1]
    return Split(levels[:, None, None, None] + grain, np.array([0, 0, 1, 1, 2, 2, *mislabelled]))


@pytest.fixture(scope="module")
def figures(split: Split) -> Figures:
    return evaluate(by_brightness, split, LABELS, SPEC)


def test_the_figures_are_those_of_the_answers(figures: Figures) -> None:
    assert figures.accuracy == Accuracy(6, 8)
    assert figures.confusion == ((2, 1, 0), (0, 2, 1), (0, 0, 2))
    assert figures.per_class == {"dark": Accuracy(2, 3), "middle": Accuracy(2, 3), "bright": Accuracy(2, 2)}
    assert [(each.picture, each.label, each.said) for each in figures.wrong] == [
        ("#6", "dark", "middle"),
        ("#7", "middle", "bright"),
    ]
    assert figures.loss == pytest.approx(-(6 * np.log(0.8) + 2 * np.log(0.1)) / 8, rel=1e-5)


def test_the_shift_suite_is_measured_with_each_shift(figures: Figures) -> None:
    assert list(figures.shifts) == [name for name in SHIFTS if name != "another wall"]  # no hand, no wall to change
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


def test_the_charts_are_pictures_whole_or_not_there(figures: Figures, split: Split, tmp_path: Path) -> None:
    history = tuple(Epoch(i, 1 / i, 1 - 1 / (i + 1), 1.0, 1 / i, 0.5) for i in range(1, 6))
    draw_curves(Training(history, 5, False), tmp_path / "new" / "curves.png")
    draw_confusion(figures, tmp_path / "new" / "confusion.png")
    draw_wrong(figures, split, SPEC, tmp_path / "new" / "wrong.png")
    draw_gradients({"one": {"conv1": [1.0, 2.0]}, "two": {"conv1": [1e-5, 1e-6]}}, tmp_path / "new" / "gradients.png")
    written = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in written] == ["confusion.png", "curves.png", "gradients.png", "wrong.png"]
    for path in written:
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.std() > 5, f"{path.name} is blank"


def test_charts_can_be_drawn_of_nothing_wrong_and_of_many_classes(split: Split, tmp_path: Path) -> None:
    right = evaluate(lambda images: by_brightness(images), split.part(np.arange(6)), LABELS, SPEC, suite=False)
    draw_wrong(right, split, SPEC, tmp_path / "wrong.png")
    n = 60
    many = Figures(tuple(f"a long class name {i}" for i in range(n)), 0.0, Accuracy(n, n), ((1,) * n,) * n, (), {})
    draw_confusion(many, tmp_path / "confusion.png")
    draw_curves(Training((Epoch(1, 1.0, 0.5, 1.0),), 1, False), tmp_path / "curves.png")
    assert len(list(tmp_path.iterdir())) == 3


def test_labels_that_look_like_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    figures = Figures(("$5_$10", "cash_$a_$b"), 0.5, Accuracy(1, 2), ((1, 0), (1, 0)), (), {})
    draw_confusion(figures, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").is_file()
