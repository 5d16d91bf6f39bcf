"""A model's own classes come from the file that the user names, and from nowhere else."""

from pathlib import Path

import keras
import numpy as np
import pytest

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
