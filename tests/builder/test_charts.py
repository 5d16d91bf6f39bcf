"""The charts: whole, of any data, in the page's colours."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from signs_builder.charts import PAGE_COLOURS, curves_svg, draw_confusion, draw_curves, draw_gradients, draw_wrong
from signs_builder.data.dataset import Split
from signs_builder.evaluation.evaluate import Figures, evaluate
from signs_builder.training.state import Epoch, Training
from signs_runtime.figures import Accuracy

from .evaluation.classifier import LABELS, SPEC, by_brightness


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


@pytest.mark.parametrize("epochs", [1, 3, 40])
@pytest.mark.parametrize("validated", [True, False])
def test_curves_for_a_page_are_text_in_the_pages_own_colours(epochs: int, validated: bool) -> None:
    validation = (0.5, 0.75) if validated else (None, None)
    history = [Epoch(i, 1 / i, 1 - 1 / (i + 1), 1.0, *validation) for i in range(1, epochs + 1)]
    drawn = curves_svg(history, 1)
    assert drawn == curves_svg(history, 1)
    assert len(drawn) < 30_000
    # A page holds it as it is: it loads nothing, brings no style for the whole page and no name that occurs twice.
    assert not re.search(r"https?:|url\(|<style|<\?xml|<!DOCTYPE", drawn)
    names = re.findall(r' id="([^"]+)"', drawn)
    assert len(names) == len(set(names))
    assert not re.search(r": #[0-9a-f]{3}", drawn)
    unused = set() if validated else {"--orange"}
    assert set(re.findall(r"var\((--\w+)\)", drawn)) == {*PAGE_COLOURS.values()} - unused
    loss, accuracy = (ElementTree.fromstring(each) for each in drawn.split("\n"))
    assert (loss.get("aria-label"), accuracy.get("aria-label")) == ("loss by epoch", "accuracy by epoch")
    words = [text.text for text in loss.iter("text")]
    assert {"Loss", "epoch", "training"} <= set(words)
    assert ("validation" in words, "kept: epoch 1" in words) == (validated, validated)
