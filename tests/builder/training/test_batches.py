"""What a training is fed: from memory, from files, and with drawn hands."""

import os
from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hands
from signs_builder.errors import DatasetError, ModelError
from signs_builder.training import batches
from signs_builder.training.recipe import Augmentation, TrainConfig
from signs_builder.training.train import Setup, train
from signs_runtime import ImageError

from .small_network import SPEC, small_network


def test_pictures_that_do_not_fit_into_memory_are_read_as_they_come(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losses(decode_to: Path | None = None) -> list[float]:
        training = train(small_network(), dataset, TrainConfig(), SPEC, Setup(decode_to=decode_to))
        return [epoch.loss for epoch in training.history]

    in_memory, on_disk = losses(), losses(tmp_path / "new" / "pixels.npy")
    monkeypatch.setattr(batches, "MEMORY_BYTES", 1)
    assert losses() == in_memory == on_disk
    assert (tmp_path / "new" / "pixels.npy").stat().st_size > dataset.train.images(SPEC).nbytes


def test_pixels_are_kept_on_the_disk_of_systems_without_posix_fallocate(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    read = batches.open_pictures(dataset.train, SPEC, tmp_path / "pixels.npy")
    pictures = dataset.train.images(SPEC)
    assert all(np.array_equal(read(i), pictures[i]) for i in range(len(pictures)))


def test_only_pixels_that_were_kept_here_are_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "pixels.npy"
    for _ in range(2):
        batches.open_pictures(dataset.train, SPEC, path)
    np.save(path, dataset.train.images(SPEC))  # the user's own: the same shape, the same dtype
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="was not overwritten"):
        batches.open_pictures(dataset.train, SPEC, path)
    assert path.read_bytes() == before


def test_a_bad_picture_that_is_read_as_it_comes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = draw_hands(12, size=16)
    files = Split(images, labels).files(tmp_path, HANDS)
    files[5].write_text("no picture")
    split = Split(files, labels)
    monkeypatch.setattr(batches, "MEMORY_BYTES", 1)
    with pytest.raises(ImageError, match="5_IMG_0005"):
        train(small_network(classes=6), Dataset("hands", HANDS, split, None, split), TrainConfig(), SPEC)


def test_drawn_hands_are_mixed_in_where_the_labels_are_theirs(dataset: Dataset) -> None:
    with pytest.raises(ModelError, match="Choose --recipe pictures"):
        train(small_network(), dataset, TrainConfig(drawn_hands=0.5), SPEC)
    drawn = (np.full((2, 16, 16, 3), 255, np.uint8), np.array([0, 1]))
    config = TrainConfig(drawn_hands=0.5, batch_size=42, augmentation=Augmentation(noise=1))
    pictures = dataset.train.images(SPEC)
    source = batches.Batches(lambda i: pictures[i], dataset.train.labels, 3, config, drawn=drawn)
    images, targets = source[0]
    source.close()
    white = images.mean(axis=(1, 2, 3)) > 240
    assert 8 < white.sum() < 34
    assert (targets[white].argmax(axis=1) < 2).all()
