"""The pictures of a proof are the test split's first."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.gate.evidence import asked
from signs_export.job import Job
from signs_export.source.reference import Reference, examine
from signs_runtime.pictures.input_spec import InputSpec

from ..proving import prove


def test_a_limit_on_pictures_keeps_the_test_split_first(file: Path, reference: Reference, dataset: Dataset) -> None:
    for limit, test, total in ((30, 24, 30), (10, 10, 10)):
        evidence, verdict = prove(file, reference, dataset, ExportConfig(parity_pictures=limit))
        assert (int(evidence.is_test.sum()), verdict.pictures) == (test, total)
        assert evidence.truth.any(axis=0).all()


def test_a_picture_that_keras_itself_cannot_answer_is_named(dataset: Dataset, tmp_path: Path) -> None:
    """A picture of one colour has no spread to divide by."""
    images = dataset.test.images(InputSpec(32, 32))
    side = images.shape[1]
    blank = np.full((1, side, side, 3), 7, np.uint8)
    test = Split(np.concatenate([images[:12], blank]), np.append(dataset.test.labels[:12], 0))
    given = keras.Input((side, side, 3))
    spread = keras.ops.std(given, axis=(1, 2, 3), keepdims=True)
    centred = (given - keras.ops.mean(given, axis=(1, 2, 3), keepdims=True)) / spread
    answered = keras.layers.Dense(len(dataset.labels), activation="softmax")(keras.layers.Flatten()(centred))
    reference = examine(keras.Model(given, answered), scaling="none")
    job = Job(reference, replace(dataset, test=test), ExportConfig(as_is=True))
    with pytest.raises(ExportError, match=r"Keras itself answers 1 of .* NaN"), asked(job):
        pass
