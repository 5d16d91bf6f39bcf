"""A model's own classes come from the file that the user names, and from nowhere else."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from signs_builder.errors import ModelError
from signs_builder.network.custom_objects import run_custom_objects
from signs_builder.network.model_file import open_model

MODULE = """
import keras

class Tripling(keras.layers.Layer):
    def call(self, x):
        return 3 * x

def cube(x):
    return x * x * x
"""


def test_a_model_with_classes_of_its_own_opens_with_their_file_alone(tmp_path: Path) -> None:
    module = tmp_path / "own.py"
    module.write_text(MODULE)
    own = run_custom_objects(module)
    assert own.keys() == {"Tripling", "cube"}
    model = keras.Sequential([keras.Input((8,)), own["Tripling"](), keras.layers.Dense(3, activation=own["cube"])])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="custom class Tripling"):
        open_model(tmp_path / "model.keras")
    opened = open_model(tmp_path / "model.keras", run_custom_objects(module)).model
    row = np.ones((1, 8), np.float32)
    assert np.array_equal(opened.predict(row, verbose=0), model.predict(row, verbose=0))


@pytest.mark.parametrize(
    ("content", "words"),
    [("import keras\n1 / 0\n", "ZeroDivisionError in line 2"), ("def (:", "SyntaxError"), (None, "no such file")],
)
def test_a_file_that_cannot_be_run_is_explained(tmp_path: Path, content: str | None, words: str) -> None:
    module = tmp_path / "own.py"
    if content is not None:
        module.write_text(content)
    with pytest.raises(ModelError, match=words):
        run_custom_objects(module)


def test_a_file_of_keras_2_takes_the_users_classes_as_keras_3_has_them(tmp_path: Path) -> None:
    module = tmp_path / "own.py"
    module.write_text(MODULE)

    class Tripling(tf_keras.layers.Layer):  # type: ignore[misc]  # tf_keras has no types
        def call(self, x: Any) -> Any:
            return 3 * x

    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((8,)), Tripling(), layers.Dense(3, lambda x: x * x * x)])
    model.layers[-1].activation.__name__ = "cube"
    model.save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"custom class Tripling.*--custom-objects"):
        open_model(tmp_path / "model.h5")
    opened = open_model(tmp_path / "model.h5", run_custom_objects(module)).model
    row = np.ones((1, 8), np.float32)
    assert np.allclose(opened.predict(row, verbose=0), model.predict(row, verbose=0), rtol=1e-6)
    assert open_model(_plain(tmp_path), run_custom_objects(module)).original is not None


def _plain(folder: Path) -> Path:
    """A file of Keras 2 that needs nothing of the user's."""
    tf_keras.Sequential([tf_keras.Input((8,)), tf_keras.layers.Dense(3)]).save(folder / "plain.h5")
    return folder / "plain.h5"
