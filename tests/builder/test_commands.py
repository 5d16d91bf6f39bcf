"""The builder's share of `signs`, found through entry points where signs-edge is installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from signs_builder.hands import draw_hands
from signs_builder.sources import load_dataset
from signs_runtime.commands import signs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in arguments])


def test_one_tool_grows_with_what_is_installed() -> None:
    result = run("--help")
    for command in ("draw", "export", "info", "parity", "predict", "summary", "train", "verify"):
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
    ],
)
def test_bad_input_is_explained(arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_train_prints_what_the_notebook_prints_and_saves_the_model(tmp_path: Path) -> None:
    images, labels = draw_hands(36)
    for name, part in (("train_signs", slice(0, 24)), ("test_signs", slice(24, 36))):
        (tmp_path / name).mkdir()
        for i in range(*part.indices(36)):
            Image.fromarray(images[i]).save(tmp_path / name / f"{labels[i]}_IMG_{i}.jpg")
    model = tmp_path / "out" / "model.keras"
    result = run("train", tmp_path, "--recipe", "course", "--image-size", "37", "--batch-size", "12", "-o", model)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith("24 train and 12 test pictures, labels 0, 1, 2, 3, 4, 5")
    assert [line.split()[:3:2] for line in lines[1:3]] == [["Epoch", "loss"]] * 2
    assert lines[3].startswith("Test loss = ")
    assert lines[4].startswith("Test accuracy = ")
    assert model.is_file()

    document = json.loads(run("train", tmp_path, "--epochs", "1", "--image-size", "37", "-o", model, "--json").stdout)
    assert document["config"] == {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3, "seed": 1}
    assert [epoch["number"] for epoch in document["history"]] == [1]
    assert 0 <= document["test_accuracy"] <= 1
    assert [path.name for path in model.parent.iterdir()] == ["model.keras"]
