"""`signs evaluate`: pictures are read as the model was trained, and as an export was proved."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from signs_builder.data.dataset import Split
from signs_builder.data.hands import draw_hands
from signs_runtime.commands.signs import signs


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(signs, ["evaluate", *map(str, arguments)])


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Pictures larger than the model's size, so that its filter matters."""
    images, labels = draw_hands(36, size=90)
    for name, part in (("train_signs", slice(0, 24)), ("test_signs", slice(24, 36))):
        Split(images[part], labels[part]).files(tmp_path / "large" / name, tuple("012345"))
    return tmp_path / "large"


def test_a_keras_model_is_measured_with_the_filter_that_is_asked_for(keras_file: Path, large: Path) -> None:
    losses = []
    for options in ((), ("--resize", "bilinear"), ("--resize", "nearest")):
        result = evaluate(keras_file, large, *options, "--json")
        assert result.exit_code == 0, result.output
        losses.append(json.loads(result.stdout)["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_an_export_brings_its_own_filter_and_scaling(file: Path, data: Path) -> None:
    for option, value in (("--resize", "nearest"), ("--scaling", "unit")):
        result = evaluate(file, data, option, value)
        assert (result.exit_code, f"{option} is for a Keras model" in result.stderr) == (2, True), result.output
    assert evaluate(file, data).exit_code == 0
