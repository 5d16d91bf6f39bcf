"""Training: the numbers that it reports, its seed, and what it refuses."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hands
from signs_builder.errors import ModelError
from signs_builder.training.checkpoint import Checkpoint
from signs_builder.training.recipe import TrainConfig
from signs_builder.training.state import Epoch
from signs_builder.training.train import Setup, train, training_splits
from signs_builder.training.validation import predict
from signs_runtime import ImageError

from .small_network import SPEC, small_network


class Noted:
    """A Progress that adds up what each step of the work said that it will do, and what it did."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}

    def __call__(self, step: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        self.totals[step] = total
        return nullcontext(lambda done: self.done.update({step: self.done.get(step, 0) + done}))


def test_a_network_learns_and_every_step_and_epoch_is_reported(dataset: Dataset) -> None:
    config = TrainConfig(epochs=30, batch_size=8, learning_rate=0.02)
    noted = Noted()
    epochs: list[Epoch] = []
    training = train(small_network(), dataset, config, SPEC, progress=noted, on_epoch=epochs.append)
    assert noted.done == noted.totals == {"Reading pictures": 42, "Training": 30 * 6}
    assert tuple(epochs) == training.history
    assert [epoch.number for epoch in epochs] == list(range(1, 31))
    assert training.history[-1].loss < training.history[0].loss
    assert training.history[-1].accuracy > 0.9


def test_every_picture_is_seen_once_an_epoch_and_its_loss_is_keras_own(dataset: Dataset) -> None:
    model, frozen = small_network(), small_network()
    epoch = train(model, dataset, TrainConfig(epochs=1, learning_rate=1e-12), SPEC).history[0]
    probabilities = predict(frozen, dataset.train.images(SPEC))
    labels = dataset.train.labels
    assert epoch.accuracy == pytest.approx((probabilities.argmax(axis=1) == labels).mean(), abs=1e-6)
    assert epoch.loss == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), rel=1e-4)


def test_one_seed_gives_one_history_and_another_another(dataset: Dataset) -> None:
    def losses(seed: int) -> list[float]:
        history = train(small_network(), dataset, TrainConfig(seed=seed, batch_size=8), SPEC).history
        return [epoch.loss for epoch in history]

    assert losses(3) == losses(3)
    assert losses(3) != pytest.approx(losses(4), rel=1e-6)


def test_validation_pictures_are_trained_on_and_test_pictures_are_not(dataset: Dataset) -> None:
    half = Split(dataset.train.pictures[:21], dataset.train.labels[:21])
    rest = Split(dataset.train.pictures[21:], dataset.train.labels[21:])
    split = Dataset("colours", dataset.labels, half, rest, dataset.test)
    whole, parts = (train(small_network(), each, TrainConfig(), SPEC).history for each in (dataset, split))
    assert [epoch.loss for epoch in whole] == [epoch.loss for epoch in parts]
    assert training_splits(split, TrainConfig(validate=True)) == (half, rest)


def test_the_epoch_that_does_best_on_validation_pictures_is_kept(dataset: Dataset) -> None:
    model = small_network()
    config = TrainConfig(epochs=12, batch_size=8, learning_rate=0.05, validate=True, patience=3)
    training = train(model, dataset, config, SPEC)
    _, held = training_splits(dataset, config)
    assert held is not None
    assert len(held) == 3  # a tenth of each class, at least one
    best = max(training.history, key=lambda each: (each.validation_accuracy or 0, -(each.validation_loss or 0)))
    assert training.kept_epoch == best.number
    accuracy = (predict(model, held.images(SPEC)).argmax(axis=1) == held.labels).mean()
    assert accuracy == pytest.approx(best.validation_accuracy)
    assert training.stopped_early == (len(training.history) < 12)
    assert len(training.history) <= training.kept_epoch + 3


def test_the_learning_rate_rises_and_falls_as_the_recipe_says(dataset: Dataset) -> None:
    config = TrainConfig(epochs=10, batch_size=21, learning_rate=0.1, warmup_epochs=2, last_learning_rate=0.01)
    model = small_network()
    train(model, dataset, config, SPEC)
    rate = model.optimizer._learning_rate
    steps = 2 * 10
    assert [float(rate(step)) for step in (0, 2, 4, 12, steps)] == pytest.approx([0, 0.05, 0.1, 0.055, 0.01], rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_training(dataset: Dataset) -> None:
    model = small_network()
    model.layers[-1].kernel.assign(np.full((8, 3), np.nan))
    with pytest.raises(ModelError, match="loss of epoch 1 is nan"):
        train(model, dataset, TrainConfig(), SPEC)


def test_weights_that_are_no_numbers_after_the_last_step_are_not_kept(dataset: Dataset, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {})
    config = TrainConfig(epochs=1, batch_size=42, learning_rate=float("nan"))  # one step: its loss is from before it
    with pytest.raises(ModelError, match="some weights are NaN"):
        train(small_network(), dataset, config, SPEC, Setup(checkpoint))
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_bad_picture_is_found_before_the_first_step(tmp_path: Path, split: str) -> None:
    files = {}
    for name in ("train", "validation"):
        images, labels = draw_hands(12, size=16)
        files[name] = Split(Split(images, labels).files(tmp_path / name, HANDS), labels)
    files[split].pictures[7].write_text("no picture")
    dataset = Dataset("hands", HANDS, files["train"], files["validation"], files["train"])
    noted = Noted()
    with pytest.raises(ImageError, match="1_IMG_0007"):
        train(small_network(), dataset, TrainConfig(validate=True), SPEC, progress=noted)
    assert "Training" not in noted.totals
