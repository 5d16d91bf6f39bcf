"""Advice on pictures that show something too small."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from signs_runtime.commands.signs import signs


def pictures_of(folder: Path, side: int, patch: int) -> Path:
    """A grey picture with a red patch in its lower right corner."""
    pixels = np.full((side, side, 3), 100, np.uint8)
    pixels[side - patch :, side - patch :] = (255, 60, 60)
    Image.fromarray(pixels).save(folder / "small.png")
    return folder / "small.png"


def test_a_picture_is_to_be_cropped_if_the_model_is_surer_of_a_part(bundle: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(signs, ["predict", str(bundle), str(pictures_of(tmp_path, 120, 42))])
    assert result.exit_code == 0
    assert "small.png: the model is surer of parts of this picture (lower right: red, 100%)" in result.stderr
    assert "crop the picture" in result.stderr
    assert "surer" not in result.stdout


@pytest.mark.parametrize(("side", "patch"), [(120, 0), (120, 100), (8, 2)])  # nothing to see, large, few pixels
def test_other_pictures_get_no_advice(bundle: Path, tmp_path: Path, side: int, patch: int) -> None:
    result = CliRunner().invoke(signs, ["predict", str(bundle), str(pictures_of(tmp_path, side, patch or -side))])
    assert result.exit_code == 0
    assert "surer" not in result.stderr


def test_many_pictures_and_machines_get_no_advice(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = str(pictures_of(tmp_path, 120, 42))
    assert "surer" not in CliRunner().invoke(signs, ["predict", str(bundle), picture, "--json"]).stderr
    monkeypatch.setattr("signs_runtime.commands.predict.FEW", 0)
    assert "surer" not in CliRunner().invoke(signs, ["predict", str(bundle), picture]).stderr


def test_thresholds_count(bundle: Path, tmp_path: Path) -> None:
    picture = str(pictures_of(tmp_path, 120, 48))  # of the whole picture, the model is 92% sure
    assert "surer" not in CliRunner().invoke(signs, ["predict", str(bundle), picture]).stderr
    assert "surer" in CliRunner().invoke(signs, ["predict", str(bundle), picture, "--threshold", "0.95"]).stderr
    assert "surer" not in CliRunner().invoke(signs, ["predict", str(bundle), picture, "--threshold", "1"]).stderr
