"""An accuracy that chance explains, labels in another order and turned pictures are told of; good answers are not."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from signs_builder.data.sources import load_dataset
from signs_export.gate.doubts import doubts_about_answers, doubts_about_turned
from signs_export.gate.evidence import Evidence
from signs_runtime import InputSpec

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def answered(evidence: Evidence, said: np.ndarray, truth: np.ndarray) -> Evidence:
    """The evidence of test pictures that show `truth` and are called `said`."""
    expected = np.eye(len(LABELS), dtype=np.float32)[said]
    shown = truth[:, None] == np.arange(len(LABELS))
    return replace(evidence, labels=LABELS, truth=shown, is_test=np.ones(len(truth), np.bool_), expected=expected)


TRUTH = np.repeat(np.arange(5), 12)


def test_good_answers_raise_no_doubt(evidence: Evidence) -> None:
    assert doubts_about_answers(answered(evidence, TRUTH, TRUTH)) == ()
    rng = np.random.default_rng(0)
    worse = np.where(rng.random(60) < 0.4, rng.integers(0, 5, 60), TRUTH)
    assert doubts_about_answers(answered(evidence, worse, TRUTH)) == ()


@pytest.mark.parametrize("seed", range(8))
def test_answers_near_chance_are_told_and_no_order_is_made_up(evidence: Evidence, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (doubt,) = doubts_about_answers(answered(evidence, rng.permutation(TRUTH), TRUTH))
    assert "which chance (20.0%) may explain" in doubt
    assert "--scaling" in doubt


def test_always_the_most_frequent_label_is_chance(evidence: Evidence) -> None:
    truth = np.array([0] * 45 + [1] * 15)
    (doubt,) = doubts_about_answers(answered(evidence, np.zeros(60, np.int64), truth))
    assert "chance (75.0%)" in doubt


def test_labels_in_another_order_are_found_with_the_order_that_fits(evidence: Evidence) -> None:
    meant = np.array([1, 0, 4, 3, 2])
    rng = np.random.default_rng(0)
    seen = np.where(rng.random(60) < 0.1, rng.integers(0, 5, 60), TRUTH)  # nine of ten right, in its own order
    *_, doubt = doubts_about_answers(answered(evidence, np.argsort(meant)[seen], TRUTH))
    assert "The order that fits is dandelion, daisy, tulips, sunflowers, roses." in doubt


def test_pictures_that_keras_s_own_loaders_would_not_turn_are_counted(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    assert doubts_about_turned(load_dataset(folder), InputSpec(32, 32)) == ()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pictures = sorted((folder / "test_signs").iterdir())
    for picture in pictures[:3]:
        Image.open(picture).save(picture.with_suffix(".jpg"), exif=exif)
        picture.unlink()
    dataset = load_dataset(folder)
    (doubt,) = doubts_about_turned(dataset, InputSpec(32, 32))
    assert "--exif ignored" in doubt
    assert doubts_about_turned(dataset, InputSpec(32, 32, exif="ignored")) == ()
    assert f"3 of {sum(dataset.counts.values())} pictures are turned by their EXIF orientation" in doubt
    assert "Keras's own loaders do not turn them" in doubt
