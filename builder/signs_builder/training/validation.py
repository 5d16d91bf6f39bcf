"""Measures a model in training on the validation pictures."""

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.evaluation.evaluate import BATCH, cross_entropy
from signs_builder.training.batches import ReadImage


@dataclass(frozen=True)
class Validation:
    """The validation pictures of a training; labels (n,) are indices into Dataset.labels."""

    read: ReadImage
    labels: NDArray[np.int64]

    def measure(self, model: keras.Model) -> tuple[float, float]:
        """Loss (cross-entropy) and accuracy, 0..1."""
        starts = range(0, len(self.labels), BATCH)
        chunks = (range(start, min(start + BATCH, len(self.labels))) for start in starts)
        probabilities = np.concatenate([predict(model, np.stack([self.read(i) for i in chunk])) for chunk in chunks])
        loss = cross_entropy(probabilities, self.labels)
        return loss, float((probabilities.argmax(axis=1) == self.labels).mean())


def predict(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities for one batch: uint8 pixels (n, *spec.shape) in, float32 (n, classes) out."""
    answers: NDArray[np.float32] = model.predict_on_batch(images)
    return answers[: len(images)]  # a mirrored model returns one answer for each device
