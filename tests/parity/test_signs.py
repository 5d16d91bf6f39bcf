"""The main job on real SIGNS: a trained model and real picture files, Keras on one side, the runtime on the other."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(sys.executable).parent


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = (SCRIPTS / str(command[0]), *command[1:])
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)


def run_json(*command: object) -> Any:
    result = run(*command, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def exported(signs_data: Path, signs_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The course's model, bundled without training."""
    bundle = tmp_path_factory.mktemp("real") / "bundle"
    return bundle, run_json("build-and-export", "--model", signs_model, "--scaling", "unit", signs_data, "-o", bundle)


def test_all_1200_pictures_get_keras_labels_from_their_files(exported: tuple[Path, Any]) -> None:
    (variant,) = exported[1]["variants"]
    parity = variant["parity"]
    assert parity["passed"]
    assert parity["batch_sizes"] == [1, 2, 17]
    assert (parity["pictures"], parity["same_label"]) == (1200, 1200)
    assert parity["max_difference"] <= 1e-5
    assert variant["test_accuracy"] == exported[1]["keras_test_accuracy"] == {"correct": 119, "total": 120}


def test_the_runtime_says_what_keras_says_of_pixels_read_without_this_project(
    exported: tuple[Path, Any], signs_data: Path, signs_model: Path
) -> None:
    import keras

    files = sorted((signs_data / "test_signs").iterdir())
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) / 255 for file in files])
    expected = keras.models.load_model(signs_model, compile=False).predict(pixels, verbose=0)
    predictions = run_json("signs", "predict", exported[0], signs_data / "test_signs")["predictions"]
    assert [each["picture"] for each in predictions] == [str(file) for file in files]
    assert [each["label"] for each in predictions] == [str(label) for label in expected.argmax(axis=1)]
    given = np.array([list(each["probabilities"].values()) for each in predictions])
    assert np.allclose(given, expected, atol=1e-5, rtol=0)


def test_the_golden_pictures_pass_on_this_device(exported: tuple[Path, Any]) -> None:
    document = run_json("signs", "verify", exported[0])
    assert document["passed"]
    assert document["variants"][0]["pictures"] == 24


def test_a_wrong_scaling_shows_in_the_accuracy_and_fails_beside_the_right_bundle(
    exported: tuple[Path, Any], signs_data: Path, signs_model: Path
) -> None:
    data = ("--data", signs_data, "--parity-pictures", 120)
    result = run("signs", "parity", signs_model, exported[0], *data, "--scaling", "tf")
    assert result.returncode == 3
    assert "parity FAILED on 120 pictures" in result.stderr


def epochs(stdout: Sequence[str]) -> list[tuple[float, float]]:
    """Loss and accuracy of each `Epoch` line."""
    lines = [line.split() for line in stdout if line.startswith("Epoch ")]
    return [(float(words[3]), float(words[5])) for words in lines]


def test_the_main_job_trains_on_real_signs_and_seals_what_it_trained(signs_data: Path, tmp_path: Path) -> None:
    result = run("build-and-export", signs_data, "--recipe", "course", "-o", tmp_path / "bundle")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].endswith("1,080 train (864 and 216 validation) and 120 test pictures, labels 0, 1, 2, 3, 4, 5")
    first, second = epochs(lines)
    assert second[0] < first[0] < 5  # the course: loss falls from 1 to 5 ...
    assert 0.2 < first[1] < second[1]  # ... and accuracy rises from above 0.2
    assert "fp32: parity passed on 1,200 pictures" in result.stdout
    assert "the same label on 1,200 of 1,200" in result.stdout
    assert run("signs", "verify", tmp_path / "bundle").returncode == 0
