"""The builder's share of `signs`, found through entry points where signs-edge is installed."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from signs_builder.hands import draw_hands
from signs_builder.model_file import save_model
from signs_builder.recipe import RECIPES
from signs_builder.resnet import resnet50
from signs_builder.sources import load_dataset
from signs_runtime.commands import signs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in arguments])


def test_one_tool_grows_with_what_is_installed() -> None:
    result = run("--help")
    for command in (
        "cross-validate",
        "draw",
        "evaluate",
        "export",
        "info",
        "parity",
        "predict",
        "summary",
        "train",
        "verify",
    ):
        assert f"  {command} " in result.output


def test_help_starts_neither_keras_nor_numpy() -> None:
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from signs_runtime.commands import signs; from signs_export.commands import build_and_export\n"
        "for command, arguments in ((signs, []), (signs, ['train']), (signs, ['parity']), (build_and_export, [])):\n"
        "    assert CliRunner().invoke(command, [*arguments, '--help']).exit_code == 0\n"
        "print({'numpy', 'PIL', 'keras', 'tensorflow', 'onnx', 'onnxruntime', 'h5py', 'rich'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_draw_makes_a_data_set_to_look_at_and_to_train_on(tmp_path: Path) -> None:
    result = run("draw", tmp_path / "hands")
    assert result.exit_code == 0
    assert "1,200 hands" in result.stdout
    drawn, embedded = load_dataset(tmp_path / "hands"), load_dataset("synthetic")
    assert drawn.counts == embedded.counts == {"train": 1080, "test": 120}
    assert sorted(drawn.train.labels.tolist()) == sorted(embedded.train.labels.tolist())


def test_draw_makes_a_few_and_never_writes_among_other_files(tmp_path: Path) -> None:
    document = json.loads(run("draw", tmp_path / "few", "--count", "3", "--json").stdout)
    assert [Path(each).name for each in document["pictures"]] == [f"{i}_IMG_000{i}.png" for i in range(3)]
    assert np.array_equal(np.asarray(Image.open(document["pictures"][2])), draw_hands(3)[0][2])
    again = run("draw", tmp_path / "few")
    assert again.exit_code == 1
    assert "not an empty folder" in again.stderr


def test_summary_prints_the_layer_table_with_its_totals() -> None:
    result = run("summary")
    assert result.exit_code == 0
    for word in ("res2a_branch2a", "fc6", "23,600,006", "23,546,886", "53,120", "Connected to"):
        assert word in result.stdout
    document = json.loads(run("summary", "--image-size", "96x64", "--classes", "10", "--json").stdout)
    assert document["layers"][0]["output_shape"] == [None, 96, 64, 3]
    assert document["layers"][-1] == {
        "name": "fc10",
        "type": "Dense",
        "output_shape": [None, 10],
        "parameters": 2048 * 10 + 10,
    }
    assert document["parameters"]["total"] - document["parameters"]["trainable"] == 53_120


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["summary", "--image-size", "36"], 1, "smallest side that fits is 37"),
        (["summary", "--image-size", "big"], 2, "not a size such as"),
        (["summary", "--image-size", "0x64"], 2, "not a size such as"),
        (["summary", "none.keras", "--classes", "10"], 2, "MODEL has its own"),
        (["summary", "none.keras"], 1, "No Keras model at none.keras"),
        (["train", "none"], 1, "No data set at none"),
        (["train", "-o", "model.h5"], 2, "must end in .keras"),
        (["train", "--epochs", "0"], 2, "0 is not in the range"),
        (["train", "--recipe", "secret"], 2, "'secret' is not"),
        (["train", "--learning-rate", "0"], 2, "0"),
        (["train", "--strategy", "mirrored"], 1, "two devices or more"),
        (["train", "--strategy", "data-parallel", "--validate"], 1, "cannot validate"),
        (["train", "--cache", "notes.txt"], 2, "must end in .npy"),
        (["train", "--init-weights", "none.h5"], 1, "No weights at none.h5"),
        (["cross-validate", "--resume"], 2, "--resume: for a single training"),
        (["cross-validate", "--init-weights", "a.h5"], 2, "--init-weights: for a single training"),
        (["cross-validate", "--folds", "1"], 2, "1 is not in the range"),
        (["evaluate", "none.keras"], 1, "No Keras model at none.keras"),
        (["evaluate", "none.onnx", "--scaling", "unit"], 2, "an export scales by itself"),
        (["summary", "--plot", "model.gif"], 2, "must end in .svg"),
    ],
)
def test_bad_input_is_explained(arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six drawn hands in CS230's layout."""
    folder = tmp_path_factory.mktemp("few")
    images, labels = draw_hands(36)
    for name, part in (("train_signs", slice(0, 24)), ("test_signs", slice(24, 36))):
        (folder / name).mkdir()
        for i in range(*part.indices(36)):
            Image.fromarray(images[i]).save(folder / name / f"{labels[i]}_IMG_{i}.jpg")
    return folder


def test_train_prints_what_the_notebook_prints_and_leaves_model_figures_and_pictures(few: Path, tmp_path: Path) -> None:
    model = tmp_path / "out" / "model.keras"
    result = run("train", few, "--recipe", "course", "--image-size", "37", "--batch-size", "12", "-o", model)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith("24 train and 12 test pictures, labels 0, 1, 2, 3, 4, 5")
    assert [line.split()[:3:2] for line in lines[1:3]] == [["Epoch", "loss"]] * 2
    assert lines[3].startswith("Test loss = ")
    assert lines[4].startswith("Test accuracy = ")
    for words in ("Test pictures right: ", "95%:", "shown \\ said", "shift suite", "another wall", "mean"):
        assert words in result.stdout
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.keras", "model.training"]
    folder = model.with_suffix(".training")
    pictures = ["confusion.png", "curves.png", "wrong.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*pictures, "training.json"])


def test_train_is_one_json_document_and_the_same_twice(few: Path, tmp_path: Path) -> None:
    def train(name: str) -> Any:
        options = ("--epochs", 2, "--image-size", 37, "--batch-size", 12, "--patience", 1, "--tensorboard")
        result = run("train", few, *options, "-o", tmp_path / f"{name}.keras", "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    first, second = train("first"), train("second")
    assert first["config"] == {
        **asdict(RECIPES["hands"]),
        "epochs": 2,
        "batch_size": 12,
        "validate": True,
        "patience": 1,
    }
    assert [epoch["number"] for epoch in first["history"]] == [1, 2][: len(first["history"])]
    assert first["test"]["total"] == 12
    assert first["test"]["interval_95"][0] <= first["test"]["accuracy"] <= first["test"]["interval_95"][1]
    assert len(first["test"]["shift_suite"]["shifts"]) == 14
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
    command = [signs, "train", few, "--epochs", "3", "--image-size", "37", "--batch-size", "12", "-o", model]
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
    resumed = run(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.count("Epoch ") == 3
    assert model.is_file()
    assert not (tmp_path / "model.training" / "checkpoint.npz").exists()


def test_an_unreadable_test_picture_is_found_before_the_training(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "data")
    next((tmp_path / "data" / "test_signs").iterdir()).write_text("no picture")
    result = run("train", tmp_path / "data", "-o", tmp_path / "model.keras")
    assert result.exit_code == 1
    assert "_IMG_" in result.stderr
    assert "Epoch" not in result.stdout


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


def test_a_training_starts_from_the_weights_of_another(few: Path, tmp_path: Path) -> None:
    save_model(resnet50((64, 64, 3), 9), tmp_path / "a.keras")
    options = ("--recipe", "course", "--epochs", 1, "--image-size", 37, "--init-weights", tmp_path / "a.keras")
    result = run("train", few, *options, "-o", tmp_path / "b.keras")
    assert result.exit_code == 0, result.output
    assert "106 layers loaded, 1 not in the file (fc6), 1 in the file alone (fc9)." in result.stderr


def test_cross_validation_takes_each_training_picture_once(few: Path) -> None:
    arguments = (few, "--folds", 2, "--recipe", "course", "--epochs", 1, "--image-size", 37)
    document = json.loads(run("cross-validate", *arguments, "--json").stdout)
    assert [fold["total"] for fold in document["folds"]] == [12, 12]
    assert document["total"] == 24
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


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz's dot")
def test_the_architecture_is_drawn(tmp_path: Path) -> None:
    result = run("summary", "--plot", tmp_path / "new" / "model.svg")
    assert result.exit_code == 0, result.output
    drawing = (tmp_path / "new" / "model.svg").read_text()
    assert all(name in drawing for name in ("res2a_branch2a", "fc6", "<svg"))


def test_a_machine_without_dot_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("summary", "--plot", tmp_path / "model.svg")
    assert (result.exit_code, "install graphviz" in result.stderr) == (1, True)
