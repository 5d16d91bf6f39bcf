"""SavedModels without a Keras model: the serving signature is the model, where it is one of a classifier."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from signs_builder.errors import ModelError
from signs_builder.network.model_file import open_model


class Classifier(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.float32)])  # type: ignore[untyped-decorator]
    def serve(self, image: Any) -> Any:
        return {"scores": tf.nn.softmax(tf.reshape(image, (-1, 48)) @ self.kernel)}


def test_the_serving_signature_is_the_model(tmp_path: Path) -> None:
    module = Classifier()
    tf.saved_model.save(module, tmp_path / "model", signatures={"serving_default": module.serve, "other": module.serve})
    opened = open_model(tmp_path / "model")
    assert opened.configuration is opened.original is None
    pictures = np.random.default_rng(1).uniform(0, 1, (5, 4, 4, 3)).astype(np.float32)
    expected = module.serve(pictures)["scores"].numpy()
    assert np.allclose(opened.model.predict(pictures, verbose=0), expected, atol=1e-6)


def test_a_graph_that_does_more_than_compute_is_not_run(tmp_path: Path) -> None:
    class Writing(Classifier):
        @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.float32)])  # type: ignore[untyped-decorator]
        def write(self, image: Any) -> Any:
            tf.io.write_file(str(tmp_path / "trap"), "run")
            return self.serve(image)

    module = Writing()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.write)
    with pytest.raises(ModelError, match=r"does more than compute \(WriteFile\)"):
        open_model(tmp_path / "model")
    assert not (tmp_path / "trap").exists()


def test_folders_that_hold_no_classifier_are_explained(tmp_path: Path) -> None:
    module, folder = Classifier(), tmp_path / "model"
    tf.saved_model.save(module, folder, signatures={"one": module.serve, "two": module.serve})
    with pytest.raises(ModelError, match=r"no signature serving_default \(it has one, two\)"):
        open_model(folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelError, match="its weights are missing: a SavedModel is the whole folder"):
        open_model(folder)
