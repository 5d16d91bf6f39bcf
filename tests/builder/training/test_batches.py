"""What a training is fed: from memory, from files, and with drawn hands."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hand, draw_hands
from signs_builder.errors import DatasetError, ModelError
from signs_builder.training import batches
from signs_builder.training.recipe import MILD, Augmentation, TrainConfig
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
    for config in (TrainConfig(drawn_hands=0.5), TrainConfig(folded=0.5)):
        with pytest.raises(ModelError, match="Choose --recipe pictures"):
            train(small_network(), dataset, config, SPEC)
    drawn = (np.full((2, 16, 16, 3), 255, np.uint8), np.array([0, 1]))
    config = TrainConfig(drawn_hands=0.5, batch_size=42, augmentation=Augmentation(noise=1))
    pictures = dataset.train.images(SPEC)
    source = batches.Batches(lambda i: pictures[i], dataset.train.labels, 3, config, drawn=drawn)
    images, targets = source[0]
    source.close()
    white = images.mean(axis=(1, 2, 3)) > 240
    assert 8 < white.sum() < 34
    assert (targets[white].argmax(axis=1) < 2).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_without_a_hand_have_the_same_target_for_all_labels(channels: int) -> None:
    config = TrainConfig(empty=0.5, batch_size=60, taught=0.5, augmentation=replace(MILD, wall=1.0, far=1.0))
    white = np.full((20, 24, channels), 255, np.uint8)

    def teach(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([1, 0, 0], np.float32), (len(images), 1))

    source = batches.Batches(lambda i: white, np.ones(60, np.int64), 3, config, teach=teach)
    images, targets = source[0]
    source.close()
    assert images.shape == (60, 20, 24, channels)
    empty = np.isclose(targets, 1 / 3).all(axis=1)
    assert 15 < empty.sum() < 45
    assert np.allclose(targets[~empty], [0.5, 0.5, 0])
    assert all((image == 255).all() for image in images[~empty])
    assert not any((image == 255).all() for image in images[empty])


def test_hands_drawn_in_any_way_are_new_each_time() -> None:
    config = TrainConfig(drawn_hands=1.0, all_ways=True, batch_size=36, augmentation=Augmentation(noise=1))
    black = np.zeros((128, 120, 3), np.uint8)
    source = batches.Batches(lambda i: black, np.zeros(36, np.int64), 6, config)
    (first, labels), (second, _), (again, _) = source[0], source[1], source[0]
    source.close()
    assert first.shape == (36, 128, 120, 3)
    assert set(labels.argmax(axis=1)) == set(range(6))
    assert np.array_equal(first, again)
    assert not any(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_folded_hands_get_the_label_of_the_fingers_that_are_left() -> None:
    config = TrainConfig(folded=1.0, batch_size=36, augmentation=Augmentation(noise=1))
    shown = np.repeat(np.arange(6), 6)
    pictures = [draw_hand(int(fingers), 64, np.random.default_rng(i)) for i, fingers in enumerate(shown)]
    source = batches.Batches(lambda i: pictures[i], shown, 6, config)
    images, targets = source[0]
    source.close()
    order = np.random.default_rng([config.seed, 1]).permutation(36)
    before, after = shown[order], targets.argmax(axis=1)
    changed = before != after
    assert changed.sum() >= 4
    assert set(before[changed]) <= {3, 4, 5}
    assert set(before[changed] - after[changed]) <= {1, 2}
    assert set(after[before < 3]) == {0, 1, 2}
    for i in np.flatnonzero(~changed):
        assert np.abs(images[i].astype(int) - pictures[order[i]]).max() < 6  # noise alone
