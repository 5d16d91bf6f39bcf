"""A training from the command line: what it leaves, how it breaks off and goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from signs_builder.evaluation.shift_suite import SHIFTS
from signs_builder.network.model_file import save_model
from signs_builder.network.resnet import resnet50
from signs_builder.training.recipe import RECIPES

from .invoke import run


def test_train_is_one_json_document_and_the_same_twice(few: Path, tmp_path: Path) -> None:
    def train(name: str) -> Any:
        small = ("--image-size", 37, "--width", 0.125, "--batch-size", 12)
        options = ("--epochs", 2, *small, "--patience", 1, "--tensorboard")
        result = run("train", few, *options, "-o", tmp_path / f"{name}.keras", "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    first, second = train("first"), train("second")
    assert first["config"] == {
        **asdict(RECIPES["rooms"]),
        "width": 0.125,
        "epochs": 2,
        "batch_size": 12,
        "validate": True,
        "patience": 1,
    }
    assert [epoch["number"] for epoch in first["history"]] == [1, 2][: len(first["history"])]
    assert first["test"]["total"] == 12
    assert first["test"]["interval_95"][0] <= first["test"]["accuracy"] <= first["test"]["interval_95"][1]
    assert list(first["test"]["shift_suite"]["shifts"]) == list(SHIFTS)
    assert list((tmp_path / "first.training" / "tensorboard").rglob("events.*"))
    stored = json.loads((tmp_path / "first.training" / "training.json").read_text())
    assert stored["test"] == first["test"]
    for document in (first, second):
        for epoch in document["history"]:
            epoch.pop("seconds")
    assert first["history"] == second["history"]
    assert first["test"] == second["test"]


def test_an_interrupted_training_says_how_to_go_on_and_goes_on(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    signs = Path(sys.executable).with_name("signs")
    small = ("--image-size", "37", "--width", "0.125", "--batch-size", "12")
    command = [signs, "train", few, "--epochs", "3", *small, "-o", model]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("Epoch 1/3"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert process.stderr is not None
    assert "continue with --resume" in process.stderr.read()
    assert not model.exists()

    arguments = [str(each) for each in command[1:]]
    again = run(*arguments)
    assert (again.exit_code, "--resume" in again.stderr) == (1, True)
    other = run(*arguments, "--resume", "--seed", "5")
    assert (other.exit_code, "seed was 1, is 5" in other.stderr) == (1, True)
    other = run(*arguments, "--resume", "--resize", "nearest")
    assert (other.exit_code, "resize was 'bilinear', is 'nearest'" in other.stderr) == (1, True)
    resumed = run(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.count("Epoch ") == 3
    assert model.is_file()
    assert not (tmp_path / "model.training" / "checkpoint.npz").exists()


def test_a_training_that_nobody_reads_is_saved_whole_with_its_caveats(few: Path, tmp_path: Path) -> None:
    """`signs train ... | head -1`, on pictures whose names are no text and whose test split is a copy."""
    data = tmp_path / "data"
    shutil.copytree(few / "train_signs", data / "train_signs")
    for path in (data / "train_signs").iterdir():
        path.rename(os.fsdecode(os.fsencode(path.with_suffix("")) + b" caf\xe9.jpg"))
    shutil.copytree(data / "train_signs", data / "test_signs")
    model = tmp_path / "model.keras"
    signs = Path(sys.executable).with_name("signs")
    small = ("--image-size", "37", "--width", "0.125", "--batch-size", "12")
    options = ("--recipe", "course", "--epochs", "2", *small, "-o", model)
    command = list(map(str, [signs, "train", data, *options]))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(timeout=300) in (1, 141)
    assert b"Traceback" not in stderr
    assert b"BrokenPipe" not in stderr
    assert model.is_file()
    folder = model.with_suffix(".training")
    pictures = ["confusion.png", "curves.png", "wrong.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*pictures, "training.json"])
    document = json.loads((folder / "training.json").read_bytes().decode("ascii"))
    assert document["caveats"] == ["24 of the 24 test pictures also occur among the training pictures."]
    assert document["test"]["wrong"][0]["picture"].endswith("caf\udce9.jpg")


def test_unreadable_pictures_of_all_splits_are_found_before_the_training(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "data")
    bad = [next((tmp_path / "data" / name).iterdir()) for name in ("train_signs", "test_signs")]
    for path in bad:
        path.write_text("no picture")
    for command in (("train", "-o", tmp_path / "model.keras"), ("cross-validate",)):
        result = run(*command, tmp_path / "data")
        assert result.exit_code == 1
        assert bad[0].name in result.stderr
        assert (bad[1].name in result.stderr) == (command[0] == "train")
        assert "Epoch" not in result.stdout


def test_files_of_the_users_own_are_not_replaced(few: Path, tmp_path: Path) -> None:
    for option, name in (("--decode-to", "images.npy"), ("--output", "notes.keras")):
        (tmp_path / name).write_text("mine")
        result = run("train", few, "--image-size", 37, "-o", tmp_path / "model.keras", option, tmp_path / name)
        assert (result.exit_code, name in result.stderr) == (1, True), result.output
        assert (tmp_path / name).read_text() == "mine"


def test_a_training_starts_from_the_weights_of_another(few: Path, tmp_path: Path) -> None:
    save_model(resnet50((64, 64, 3), 9), tmp_path / "a.keras")
    options = ("--recipe", "course", "--epochs", 1, "--image-size", 37, "--init-weights", tmp_path / "a.keras")
    result = run("train", few, *options, "-o", tmp_path / "b.keras")
    assert result.exit_code == 0, result.output
    assert "106 layers loaded, 1 not in the file (fc6), 1 only in the file (fc9)." in result.stderr
