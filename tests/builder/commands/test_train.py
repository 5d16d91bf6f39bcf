"""`signs train` and `signs cross-validate`."""

import json
from pathlib import Path

import keras

from signs_builder.data.sources import load_dataset
from signs_builder.network.model_file import save_model, weights_sha256
from signs_builder.training.recipe import TrainConfig
from signs_builder.training.train import train
from signs_runtime import InputSpec

from .invoke import run


def test_train_prints_what_the_notebook_prints_and_leaves_model_figures_and_pictures(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "out" / "model.keras"
    result = run("train", few, "--recipe", "course", "--image-size", "37", "--batch-size", "12", "-o", model)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith("24 train and 12 test pictures, labels 0, 1, 2, 3, 4, 5")
    assert [line.split()[:3:2] for line in lines[1:3]] == [["Epoch", "loss"]] * 2
    assert lines[3].startswith("Test loss = ")
    assert lines[4].startswith("Test accuracy = ")
    for words in ("Test pictures right: ", "95%:", "true \\ predicted", "shift suite", "another wall", "mean"):
        assert words in result.stdout
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.keras", "model.training"]
    folder = model.with_suffix(".training")
    pictures = ["confusion.png", "curves.png", "wrong.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*pictures, "training.json"])


def test_a_slim_network_learns_from_a_teacher(few: Path, tmp_path: Path) -> None:
    """The digest of the teacher's weights is kept; one that knows too little is refused."""
    teacher, ignorant, slim = (tmp_path / f"{name}.keras" for name in ("teacher", "ignorant", "slim"))
    flat = keras.Sequential(
        [
            keras.Input((37, 37, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="softmax"),
        ]
    )
    save_model(flat, ignorant)
    dataset = load_dataset(few)
    train(flat, dataset, TrainConfig(epochs=60, learning_rate=1e-3), InputSpec(37, 37))  # learns them by heart
    save_model(flat, teacher)
    common = ("train", few, "--recipe", "course", "--epochs", 1, "--image-size", 37, "--json", "-o", slim)
    result = run(*common, "--teacher", ignorant)
    assert result.exit_code == 1
    assert "cannot be the teacher" in result.stderr
    result = run(*common, "--teacher", teacher, "--strategy", "data-parallel")
    assert (result.exit_code, "does not work with --teacher" in result.stderr) == (1, True)
    config = json.loads(run(*common, "--width", 0.125, "--teacher", teacher).stdout)["config"]
    assert (config["width"], config["taught"], config["teacher"]) == (0.125, 0.5, weights_sha256(flat))
    assert keras.saving.load_model(slim).get_layer("conv1").filters == 8


def test_cross_validation_takes_each_training_picture_once(few: Path) -> None:
    arguments = (few, "--folds", 2, "--recipe", "course", "--epochs", 1, "--image-size", 37)
    document = json.loads(run("cross-validate", *arguments, "--json").stdout)
    assert [fold["total"] for fold in document["folds"]] == [12, 12]
    assert document["total"] == 24
    assert document["caveats"] == []
    assert document["correct"] == sum(fold["correct"] for fold in document["folds"])


def test_the_gradients_of_both_networks_are_drawn(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    result = run("train", few, "--image-size", 37, "--diagnose", "gradients", "-o", model, "--json")
    norms = json.loads(result.stdout)["gradient_norms"]
    assert list(norms) == ["ResNet-50", "its plain twin, without shortcuts"]
    for stages in norms.values():
        assert list(stages) == ["conv1", "stage 2", "stage 3", "stage 4", "stage 5", "fc"]
        assert all(len(values) == 20 and min(values) > 0 for values in stages.values())
    assert (tmp_path / "model.training" / "gradients.png").is_file()
    assert not model.exists()
