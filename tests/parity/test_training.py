"""Training on real SIGNS: killed and resumed, and measured beside the model that has learned it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from signs_builder.data.dataset import Split
from signs_builder.data.embedded import HANDS
from signs_builder.data.hands import draw_hands

SIGNS = Path(sys.executable).with_name("signs")


def signs(*arguments: object) -> subprocess.Popen[str]:
    command = [str(SIGNS), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def document(process: subprocess.Popen[str]) -> Any:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(output)


def test_resnet50_killed_three_times_ends_with_the_history_and_weights_of_an_unbroken_run(
    signs_data: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    for split, step in (("train_signs", 3), ("test_signs", 5)):
        (few / split).mkdir(parents=True)
        for file in sorted((signs_data / split).iterdir())[::step]:
            (few / split / file.name).symlink_to(file)
    options = ("--epochs", 3, "--image-size", 40, "--json")
    unbroken = document(signs("train", few, *options, "-o", tmp_path / "unbroken.keras"))

    killed = tmp_path / "killed.keras"
    checkpoint = tmp_path / "killed.training" / "checkpoint.npz"
    rng = np.random.default_rng()
    for complete in (0, 1, 2):  # epochs that are complete when the run is killed
        process = signs("train", few, *options, "-o", killed, "--resume")
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        while complete and not next(lines).startswith(f"Epoch {complete}/3"):
            pass
        time.sleep(rng.uniform(0.2, 2.5) if complete else rng.uniform(5, 15))  # at its start it traces for long
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert checkpoint.exists() == bool(complete)
    resumed = document(signs("train", few, *options, "-o", killed, "--resume"))

    for run in (unbroken, resumed):
        for epoch in run["history"]:
            del epoch["seconds"]
    assert resumed["history"] == unbroken["history"]
    assert resumed["test"] == unbroken["test"]
    one, other = (keras.models.load_model(path, compile=False) for path in (tmp_path / "unbroken.keras", killed))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_the_model_that_learned_signs_by_heart_fails_the_shift_suite(signs_data: Path, signs_model: Path) -> None:
    figures = document(signs("evaluate", signs_model, signs_data, "--scaling", "unit", "--json"))
    assert (figures["correct"], figures["total"]) == (119, 120)
    shifts = {name: each["accuracy"] for name, each in figures["shift_suite"]["shifts"].items()}
    assert shifts["JPEG 30"] == 1
    assert shifts["another wall"] < 0.3
    assert 0.45 < figures["shift_suite"]["mean_accuracy"] < 0.57


def test_a_model_trained_on_jax_in_bfloat16_is_exported_and_proved(tmp_path: Path) -> None:
    few, model = tmp_path / "few", tmp_path / "model.keras"
    images, labels = draw_hands(36, size=40)
    for name, part in (("train_signs", slice(0, 24)), ("test_signs", slice(24, 36))):
        Split(images[part], labels[part]).files(few / name, HANDS)
    options = ("--recipe", "pictures", "--epochs", "1", "--image-size", "37", "--mixed-precision")
    command = [SIGNS, "train", few, *options, "-o", model]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert document(signs("export", model, few, "-o", tmp_path / "bundle", "--json"))["passed"]
