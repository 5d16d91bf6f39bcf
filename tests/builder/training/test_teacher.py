"""A teacher's answers are mixed into the targets, and a teacher that knows something else is refused."""

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset
from signs_builder.errors import ModelError
from signs_builder.network.model_file import save_model
from signs_builder.training.batches import Batches
from signs_builder.training.recipe import MILD, TrainConfig
from signs_builder.training.teacher import open_teacher
from signs_builder.training.train import Setup, train
from signs_runtime import InputSpec

from .small_network import SPEC, small_network

LEARNING = TrainConfig(epochs=30, batch_size=8, learning_rate=0.02)


@pytest.fixture(scope="module")
def taught_before(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, path = small_network(), tmp_path_factory.mktemp("teacher") / "teacher.keras"
    train(model, dataset, LEARNING, SPEC)
    save_model(model, path)
    return path


def test_targets_are_labels_mixed_with_what_the_teacher_says_of_the_very_pixels(
    dataset: Dataset, taught_before: Path
) -> None:
    teacher = open_teacher(taught_before, dataset, SPEC)
    split = dataset.train
    read = split.images(SPEC).__getitem__
    config = TrainConfig(augmentation=MILD, taught=0.25)
    plain = Batches(read, split.labels, 3, config)
    mixed = Batches(read, split.labels, 3, config, teach=teacher)
    for i in range(4):
        (images, labels), (same, targets) = plain[i], mixed[i]
        assert np.array_equal(images, same)
        assert np.allclose(targets, 0.25 * teacher(images) + 0.75 * labels, atol=1e-6)
        assert targets.dtype == np.float32
    plain.close()
    mixed.close()


def test_a_network_learns_from_a_teacher_alone(dataset: Dataset, taught_before: Path) -> None:
    teacher = open_teacher(taught_before, dataset, SPEC)
    pupil = small_network(seed=5)
    training = train(
        pupil, dataset, TrainConfig(epochs=30, batch_size=8, learning_rate=0.02, taught=1), SPEC, Setup(teach=teacher)
    )
    assert training.history[-1].accuracy > 0.9
    images = dataset.test.images(SPEC)
    assert (np.argmax(pupil.predict(images, verbose=0), 1) == np.argmax(teacher(images), 1)).mean() > 0.9


def test_a_teacher_that_knows_something_else_is_refused(dataset: Dataset, taught_before: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        open_teacher(tmp_path / "none.keras", dataset, SPEC)
    with pytest.raises(ModelError, match=r"pictures of the shape \(16, 16, 3\), but this training needs \(20, 16, 3\)"):
        open_teacher(taught_before, dataset, InputSpec(20, 16))
    changed = {
        "answers of the shape": small_network(classes=4),
        "training pictures right": small_network(seed=3),  # untrained
        "in a softmax": _without_softmax(taught_before),
    }
    for i, (words, model) in enumerate(changed.items()):
        save_model(model, tmp_path / f"{i}.keras")
        with pytest.raises(ModelError, match=words):
            open_teacher(tmp_path / f"{i}.keras", dataset, SPEC)


def _without_softmax(path: Path) -> keras.Model:
    model = keras.saving.load_model(path)
    model.layers[-1].activation = keras.activations.linear
    return model
