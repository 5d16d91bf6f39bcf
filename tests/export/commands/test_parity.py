"""`signs parity`: the walk of one picture, the files it writes, and its words for wrong use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from signs_runtime.commands.signs import signs

from ..changed_models import with_last_layer


def parity(*arguments: object) -> Result:
    return CliRunner().invoke(signs, ["parity", *map(str, arguments)])


@pytest.fixture
def file(converted: onnx.ModelProto, tmp_path: Path) -> Path:
    onnx.save(converted, tmp_path / "my model.onnx")
    return tmp_path / "my model.onnx"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Larger than the model's size, so that its filter matters."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


def traced(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_trace_walks_a_picture_through_every_stage(keras_file: Path, file: Path, picture: Path) -> None:
    result = parity(keras_file, file, "--trace", picture, "--json")
    assert result.exit_code == 0, result.output
    (variant,) = traced(result)["variants"].values()
    assert variant["first_difference"] is None
    names = [stage["name"] for stage in variant["stages"]]
    assert names[:4] == ["decoded", "turned", "colour", "resized"]
    assert names[-2:] == ["logits", "probabilities"]
    assert "every stage matches Keras" in parity(keras_file, file, "--trace", picture).stdout


def test_a_trace_names_the_first_stage_that_differs(
    keras_file: Path, converted: onnx.ModelProto, file: Path, picture: Path, tmp_path: Path
) -> None:
    result = parity(keras_file, file, "--trace", picture, "--resize", "nearest")
    assert result.exit_code == 3
    assert "the first stage that differs is resized" in result.stdout
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "damaged.onnx")
    result = parity(keras_file, tmp_path / "damaged.onnx", "--trace", picture, "--json")
    assert result.exit_code == 3
    assert traced(result)["variants"]["damaged"]["first_difference"] == "logits"


def test_a_miss_is_shown_on_a_page_and_in_a_junit_file(
    keras_file: Path, converted: onnx.ModelProto, data: Path, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "damaged.onnx")
    files = ("--html", tmp_path / "new" / "page.html", "--junit", tmp_path / "new" / "checks.xml")
    result = parity(keras_file, tmp_path / "damaged.onnx", data, *files)
    assert result.exit_code == 3
    assert "It goes wrong at: logits" in result.stderr
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "damaged does not answer as Keras does" in page
    assert "Where it first goes wrong: <strong>logits</strong>" in page
    assert "<failure" in (tmp_path / "new" / "checks.xml").read_text(encoding="utf-8")


def test_wrong_use_is_explained(keras_file: Path, file: Path, picture: Path, tmp_path: Path) -> None:
    result = parity(keras_file, file, "--trace", picture, "--junit", tmp_path / "checks.xml")
    assert (result.exit_code, "--trace shows one picture" in result.stderr) == (2, True)
    result = parity(keras_file, file, "--trace", tmp_path / "none.png")
    assert result.exit_code == 1
    assert "none.png" in result.stderr
