"""Training: the numbers that it reports, its seed, and what it refuses."""

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.dataset import Dataset, Split
from signs_builder.errors import ModelError
from signs_builder.hands import draw_hands
from signs_builder.recipe import RECIPES, TrainConfig
from signs_builder.train import Epoch, steps_in, train
from signs_runtime import ImageError, InputSpec

SPEC = InputSpec(16, 16)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Pictures whose colour is their label, so that a small network learns them in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.integers(0, 40, (60, 16, 16, 3)) + 180 * np.eye(3)[labels][:, None, None]).astype(np.uint8)
    return Dataset("colours", ("r", "g", "b"), Split(images[:42], labels[:42]), None, Split(images[42:], labels[42:]))


def small_network(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def test_a_network_learns_and_every_step_and_epoch_is_reported(dataset: Dataset) -> None:
    config = TrainConfig(epochs=30, batch_size=8, learning_rate=0.02)
    steps: list[int] = []
    epochs: list[Epoch] = []
    training = train(small_network(), dataset, config, SPEC, on_step=steps.append, on_epoch=epochs.append)
    assert sum(steps) == steps_in(dataset, config) == 30 * 6
    assert tuple(epochs) == training.history
    assert [epoch.number for epoch in epochs] == list(range(1, 31))
    assert training.history[-1].loss < training.history[0].loss
    assert training.test_accuracy > 0.9


def test_the_reported_test_figures_are_those_of_the_trained_model(dataset: Dataset) -> None:
    model = small_network()
    training = train(model, dataset, TrainConfig(epochs=2), SPEC)
    probabilities = model.predict(dataset.test.pictures.astype(np.float32), verbose=0)
    labels = dataset.test.labels
    assert training.test_accuracy == pytest.approx((probabilities.argmax(axis=1) == labels).mean())
    assert training.test_loss == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), rel=1e-4)


def test_one_seed_gives_one_history_and_another_another(dataset: Dataset) -> None:
    def losses(seed: int) -> list[float]:
        history = train(small_network(), dataset, TrainConfig(seed=seed, batch_size=8), SPEC).history
        return [epoch.loss for epoch in history]

    assert losses(3) == pytest.approx(losses(3), rel=1e-6)
    assert losses(3) != pytest.approx(losses(4), rel=1e-6)


def test_validation_pictures_are_trained_on_and_test_pictures_are_not(dataset: Dataset) -> None:
    half = Split(dataset.train.pictures[:21], dataset.train.labels[:21])
    rest = Split(dataset.train.pictures[21:], dataset.train.labels[21:])
    split = Dataset("colours", dataset.labels, half, rest, dataset.test)
    whole = train(small_network(), dataset, TrainConfig(), SPEC)
    assert train(small_network(), split, TrainConfig(), SPEC).test_loss == pytest.approx(whole.test_loss, rel=1e-6)


def test_a_loss_that_is_no_number_stops_the_training(dataset: Dataset) -> None:
    model = small_network()
    model.layers[-1].kernel.assign(np.full((8, 3), np.nan))
    with pytest.raises(ModelError, match="loss of epoch 1 is nan"):
        train(model, dataset, TrainConfig(), SPEC)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_picture_in_any_split_is_found_before_the_first_step(tmp_path: Path, split: str) -> None:
    files = {}
    for name in ("train", "test"):
        images, labels = draw_hands(12, size=16)
        files[name] = Split(Split(images, labels).files(tmp_path / name, tuple("012345")), labels)
    files[split].pictures[7].write_text("no picture")
    dataset = Dataset("hands", tuple("012345"), files["train"], None, files["test"])
    steps: list[int] = []
    with pytest.raises(ImageError, match="1_IMG_0007"):
        train(small_network(), dataset, TrainConfig(), SPEC, on_step=steps.append)
    assert steps == []


def test_the_courses_recipe_is_the_courses() -> None:
    course = RECIPES["course"]
    assert (course.epochs, course.batch_size, course.learning_rate) == (2, 32, 1e-3)
    assert course.learning_rate == pytest.approx(float(keras.optimizers.Adam().learning_rate.numpy()))
