"""A teacher: a trained classifier whose answers another one learns (https://arxiv.org/abs/1503.02531).

Both see the same changed pictures, which https://arxiv.org/abs/2106.05237 found best.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.errors import ModelError
from signs_builder.network.model_file import load_model, weights_sha256
from signs_runtime.figures import Accuracy
from signs_runtime.pictures.input_spec import InputSpec

LOOKED_AT = 200  # training pictures that the teacher is checked on
LEAST_RIGHT = 0.6  # share of them; a teacher for other pixels or other labels gets fewer right


@dataclass(frozen=True)
class Teacher:
    """A Keras classifier that takes a training's pixels and returns a probability for each label."""

    model: keras.Model
    lock: threading.Lock  # batches are made in several threads

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, labels) for pixels uint8 (n, h, w, c)."""
        with self.lock:
            answers: NDArray[np.float32] = np.asarray(self.model.predict_on_batch(images), np.float32)
        return answers

    @property
    def sha256(self) -> str:
        return weights_sha256(self.model)


def open_teacher(path: Path, dataset: Dataset, spec: InputSpec) -> Teacher:
    """Open a Keras model that already classifies the pictures of `dataset`.

    Raises ModelError if it takes other shapes, returns no probabilities of these labels, or gets too many wrong.
    """
    model = load_model(path)
    classes = len(dataset.labels)
    for what, has, needs in (
        ("takes pictures of the shape", tuple(model.input_shape[1:]), spec.shape),
        ("gives answers of the shape", tuple(model.output_shape[1:]), (classes,)),
    ):
        if has != needs:
            raise ModelError(f"{path} cannot be the teacher: it {what} {has}, but this training needs {needs}.")
    teacher = Teacher(model, threading.Lock())
    pictures = dataset.all_but_test
    pictures = pictures.part(pictures.mixed()[:LOOKED_AT])
    answers = teacher(pictures.images(spec))
    if answers.min() < 0 or not np.allclose(answers.sum(axis=1), 1, atol=1e-3):
        raise ModelError(f"{path} cannot be the teacher: its answers are not probabilities. It must end in a softmax.")
    right = Accuracy(int((answers.argmax(axis=1) == pictures.labels).sum()), len(pictures))
    if right.correct < LEAST_RIGHT * right.total:
        raise ModelError(
            f"{path} cannot be the teacher: it gets only {right.correct} of {right.total} training pictures right. It "
            f"must take pixels from 0 to 255 and give the labels in the order {', '.join(dataset.labels[:10])}."
        )
    return teacher
