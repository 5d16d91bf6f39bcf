"""What is measured of a classifier, as commands print it."""

import json
from pathlib import Path

import keras
import pytest

from signs_builder.commands.figures import show_figures
from signs_builder.evaluation.evaluate import Figures

from .invoke import run


def test_caveats_stand_right_after_the_accuracy(figures: Figures, capsys: pytest.CaptureFixture[str]) -> None:
    show_figures(figures, ("6 of the 8 test pictures also occur among the training pictures.",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("Test pictures right: 6 of 8")
    assert lines[3] == "Note: 6 of the 8 test pictures also occur among the training pictures."


def test_a_keras_model_is_measured(few: Path, tmp_path: Path) -> None:
    pixels = keras.Input((24, 24, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    keras.Model(pixels, keras.layers.Dense(6, activation="softmax")(features)).save(tmp_path / "a.keras")
    document = json.loads(run("evaluate", tmp_path / "a.keras", few, "--charts", tmp_path / "charts", "--json").stdout)
    assert document["total"] == 12
    assert document["correct"] + len(document["wrong"]) == 12
    assert sum(map(sum, document["confusion"])) == 12
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["confusion.png", "wrong.png"]
    table = run("evaluate", tmp_path / "a.keras", few)
    assert f"Test pictures right: {document['correct']} of 12" in table.stdout

    keras.Sequential([pixels, keras.layers.Flatten(), keras.layers.Dense(5, "softmax")]).save(tmp_path / "b.keras")
    other = run("evaluate", tmp_path / "b.keras", few, "--scaling", "unit")
    assert (other.exit_code, "5 classes" in other.stderr) == (1, True)
