"""Pictures that occur twice, and pictures that their EXIF turns."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signs_builder.commands.shared import describe_counts
from signs_builder.data import dataset as dataset_module
from signs_builder.data.content import count_copies, count_repeated, count_turned
from signs_builder.data.dataset import Dataset
from signs_builder.data.hands import draw_hands
from signs_builder.data.sources import load_dataset

from .files import write_hdf5


def test_a_test_split_that_copies_the_training_pictures_is_said_to(per_class: Path) -> None:
    shutil.rmtree(per_class / "test")
    shutil.copytree(per_class / "train", per_class / "test")
    dataset = load_dataset(per_class, model_given=True)
    assert dataset.duplicates == 9
    assert dataset.caveats == ("9 of the 9 test pictures also occur among the training or validation pictures.",)
    assert "\nNote: 9 of the 9 test pictures" in describe_counts(dataset)


def test_copies_are_found_by_their_content_and_one_is_one(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 10), ("c", 20)):
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    away = tmp_path / "away.png"
    assert count_copies([a], [b, c]) == 1
    assert count_copies([c, away], [a, b, away]) == 0
    assert count_repeated([a, b, c, away]) == 2
    images, labels = draw_hands(12)
    assert count_copies(images[:3], [*images[2:], np.zeros((4, 4, 3), np.uint8)]) == 1
    pictures = dataset_module.Split(images, labels)
    dataset = Dataset(
        "hands", tuple("012345"), pictures, None, dataset_module.Split(np.roll(images, 11, 0)[:2], labels[:2])
    )
    assert dataset.caveats[0].startswith("2 of the 2")


def test_pixels_are_compared_as_well(hdf5: Path) -> None:
    images, _ = draw_hands(12, seed=2)
    images[:3] = draw_hands(3, seed=1)[0]
    write_hdf5(hdf5, "test", test_set_x=images)
    assert load_dataset(hdf5).duplicates == 3


def test_twelve_of_the_test_pictures_of_signs_are_training_pictures(signs_data: Path) -> None:
    assert "12 of the 120 test pictures also occur" in load_dataset(signs_data).caveats[0]


def test_pictures_that_exif_turns_are_counted_by_their_headers(
    per_class: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8))
    for orientation in (0, 1, 3, 6, 8, 99):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels.save(per_class / "test" / "zebra" / f"{orientation}.jpg", exif=exif)
    cut = per_class / "test" / "zebra" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:1000])  # enough of a header
    (per_class / "test" / "zebra" / "none.jpg").write_text("no picture")
    dataset = load_dataset(per_class)
    assert dataset.turned() == (3, sum(dataset.counts.values()))
    assert count_turned([cut]) == 1
    monkeypatch.setattr(dataset_module, "TURNED_AMONG", 5)
    assert dataset.turned() == (0, 5)
