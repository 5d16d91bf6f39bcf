"""A multi-label classifier, from a table of labels to answers on a device: any number of labels a picture."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from signs_export.commands.evaluate import evaluate
from signs_export.commands.export import export
from signs_export.commands.parity import parity
from signs_runtime import Classifier
from signs_runtime.bundle.manifest import parse_manifest
from signs_runtime.commands.signs import signs
from tests.runtime.serving.running import Server

SIDE = 24
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 230)}


def run(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def squares(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures of squares in any of three colours, or none, on grey, and which colours each shows (count, 3)."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 2, (count, 3))
    pictures = np.full((count, SIDE, SIDE, 3), 120) + rng.integers(-15, 16, (count, SIDE, SIDE, 3))
    for picture, colours in zip(pictures, shown, strict=True):
        for place, (is_shown, colour) in enumerate(zip(colours, COLOURS.values(), strict=True)):
            if is_shown:
                top, left = int(rng.integers(0, 16)), 8 * place
                picture[top : top + 8, left : left + 8] = np.array(colour) + rng.integers(-15, 16, (8, 8, 3))
    return np.clip(pictures, 0, 255).astype(np.uint8), shown


def write_table(path: Path) -> Path:
    """300 squares as files, and the table of their labels: a third of them for testing."""
    pictures, shown = squares(300, 0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "split", *COLOURS])
        for i, (picture, colours) in enumerate(zip(pictures, shown, strict=True)):
            Image.fromarray(picture).save(path.with_name(f"{i}.png"))
            writer.writerow([f"{i}.png", "test" if i % 3 == 0 else "train", *colours])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("squares") / "squares.csv")


def trained(activation: str | None) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (12, 16, 24):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.8)(x))
    x = keras.layers.GlobalMaxPooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation=activation)(x))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=activation is None))
    model.optimizer.learning_rate = 0.005
    pictures, shown = squares(300, 0)
    model.fit(pictures.astype(np.float32), shown, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    trained("sigmoid").save(path)
    return path


@pytest.fixture(scope="module")
def thresholds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thresholds") / "thresholds.json"
    path.write_text(json.dumps({"red": 0.4, "green": 0.5, "blue": 0.6}))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, model: Path, table: Path, thresholds: Path) -> Path:
    bundle = tmp_path_factory.mktemp("bundle") / "bundle"
    result = run(export, model, table, "--int8", "--thresholds", thresholds, "--json", "-o", bundle)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["keras_test_accuracy"]["correct"] >= 85  # of 100
    assert [each["name"] for each in document["variants"]] == ["fp32", "int8"]
    for each in document["variants"]:
        assert each["parity"]["by_label"].keys() == COLOURS.keys()
        assert min(label["agreement"] for label in each["parity"]["by_label"].values()) >= 0.99
    return bundle


def test_the_manifest_says_its_kind_and_a_threshold_for_each_label(bundle: Path) -> None:
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    assert (manifest.schema, manifest.kind, manifest.labels) == (5, "multi-label", ("red", "green", "blue"))
    assert manifest.thresholds == (0.4, 0.5, 0.6)
    assert run(signs, "verify", bundle).exit_code == 0
    info = run(signs, "info", bundle).stdout
    assert "multi-label; red 0.4, green 0.5, blue 0.6" in info


def test_the_device_finds_all_labels_of_a_picture_and_none_in_an_empty_one(bundle: Path) -> None:
    pictures, shown = squares(200, 1)
    for file in (bundle, bundle / "int8.onnx"):
        classifier = Classifier(file)
        assert classifier.thresholds == (0.4, 0.5, 0.6)
        predictions = classifier.predict_batch(list(pictures))
        right = [
            {*each.found} == {label for label, is_shown in zip(COLOURS, colours, strict=True) if is_shown}
            for each, colours in zip(predictions, shown, strict=True)
        ]
        assert sum(right) >= 150
    empty = np.full((SIDE, SIDE, 3), 120, np.uint8)
    prediction = classifier.predict(empty)
    assert (prediction.found, prediction.label, prediction.is_sure) == ((), "unsure", False)
    both = next(each for each in predictions if len(each.found) == 2)
    assert both.label == both.found[0]
    assert both.probabilities[classifier.labels.index(both.found[1])] <= both.probability
    assert Classifier(bundle, threshold=0.01).predict(pictures[0]).found >= both.found[:0]
    assert Classifier(bundle, threshold=0.9999999).predict(empty).found == ()


def test_predictions_are_written_with_every_label(bundle: Path, table: Path) -> None:
    pictures = [table.parent / f"{i}.png" for i in range(12)]
    document = json.loads(run(signs, "predict", bundle, *pictures, "--json").stdout)
    found = [each["labels"] for each in document["predictions"]]
    assert {len(each) for each in found} >= {0, 1, 2}
    rows = list(csv.DictReader(run(signs, "predict", bundle, *pictures, "--csv").stdout.splitlines()))
    for row, labels, each in zip(rows, found, document["predictions"], strict=True):
        assert row["found"] == "|".join(labels)
        assert float(row["probability of red"]) == each["probabilities"]["red"]
    shown = run(signs, "predict", bundle, *pictures).stdout
    several = next(labels for labels in found if len(labels) > 1)
    assert ", ".join(several) in shown


def test_report_and_card_speak_of_each_label(bundle: Path) -> None:
    report = (bundle / "report.html").read_text(encoding="utf-8")
    assert "Label by label, compared with Keras" in report
    assert "McNemar's p" in report
    assert "Which labels are confused" not in report
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "a picture may show several of them, or none" in card


def test_parity_in_ci_passes_and_catches_another_threshold_label_by_label(
    model: Path, bundle: Path, table: Path, thresholds: Path, tmp_path: Path
) -> None:
    for options in ((), ("--thresholds", thresholds)):
        result = run(parity, model, bundle, table, *options)
        assert result.exit_code == 0, result.output
    result = run(parity, model, bundle, table, "--thresholds", "0.5")
    assert (result.exit_code, "but the proof's are (0.5, 0.5, 0.5)" in result.stdout + result.stderr) == (3, True)
    keras_model = keras.saving.load_model(model)
    last = keras_model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + np.array([0, 0, 30.0])])
    keras_model.save(tmp_path / "other.keras")
    result = run(parity, tmp_path / "other.keras", bundle, table, "--thresholds", thresholds)
    assert (result.exit_code, "for blue" in result.stdout + result.stderr) == (3, True)


def test_logits_are_several_labels_by_the_loss_or_by_the_data(table: Path, tmp_path: Path) -> None:
    logits = trained(None)
    logits.save(tmp_path / "logits.keras")
    keras.models.clone_model(logits).save(tmp_path / "uncompiled.keras")
    for name, options in (("logits", ()), ("uncompiled", ("--logits",))):
        result = run(export, tmp_path / f"{name}.keras", table, *options, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert Classifier(tmp_path / name).thresholds == (0.5, 0.5, 0.5)


def test_sigmoids_on_class_folders_answer_with_the_largest(model: Path, tmp_path: Path) -> None:
    pictures, shown = squares(200, 3)
    for i in np.flatnonzero(shown.sum(axis=1) == 1):
        folder = tmp_path / "data" / ("test" if i % 4 == 0 else "train") / list(COLOURS)[int(shown[i].argmax())]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[i]).save(folder / f"{i}.png")
    (tmp_path / "labels.json").write_text(json.dumps(list(COLOURS)))
    options = ("--labels", tmp_path / "labels.json", "-o", tmp_path / "bundle")
    assert run(export, model, tmp_path / "data", *options).exit_code == 0
    classifier = Classifier(tmp_path / "bundle")
    assert classifier.thresholds == ()
    assert parse_manifest((tmp_path / "bundle" / "manifest.json").read_bytes()).kind == "single-label"


def softmax_model(path: Path) -> Path:
    image = keras.Input((SIDE, SIDE, 3))
    keras.Model(image, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(image))).save(path)
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--thresholds", "1.5"), "is not a probability"),
        (("--thresholds", "nowhere.json"), "neither a number nor a file"),
        (("--thresholds", "{wrong}"), "a number for each label"),
    ],
)
def test_thresholds_that_are_none_are_refused(
    model: Path, table: Path, tmp_path: Path, options: tuple[str, str], words: str
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"red": 0.5}')
    given = [option.format(wrong=wrong) for option in options]
    result = run(export, model, table, *given, "-o", tmp_path / "bundle")
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr


def test_a_table_needs_sigmoids_and_evaluate_says_where_labels_are_measured(
    model: Path, table: Path, tmp_path: Path
) -> None:
    softmax = softmax_model(tmp_path / "softmax.keras")
    result = run(export, softmax, table, "--scaling", "unit", "-o", tmp_path / "bundle")
    assert (result.exit_code, "no sigmoid" in result.stderr) == (1, True), result.stderr
    result = run(evaluate, model, table)
    assert (result.exit_code, "measures each label" in result.stderr) == (1, True), result.stderr


def test_data_of_the_other_kind_is_no_bad_export(model: Path, bundle: Path, table: Path, tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    for i in range(24):
        folder = folders / "train" / list(COLOURS)[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").symlink_to(table.parent / f"{i}.png")
    (tmp_path / "labels.json").write_text(json.dumps(list(COLOURS)))
    result = run(parity, model, bundle, folders, "--labels", tmp_path / "labels.json")
    assert (result.exit_code, "pass a table of labels" in result.stderr) == (1, True), result.stderr
    for options in ((bundle, folders), (bundle, table)):
        result = run(evaluate, *options)
        assert (result.exit_code, "measures each label" in result.stderr) == (1, True), result.stderr


Change = Callable[[list[list[str]]], Any]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[3].__setitem__(0, "gone.png"), "1 pictures that do not exist"),
        (lambda rows: rows[3].__setitem__(3, "2"), "is not 1 or 0"),
        (lambda rows: rows[3].__setitem__(3, "-1"), "is not 1 or 0"),  # "uncertain" to some
        (lambda rows: rows[3].__setitem__(0, "x" * 300), "pictures that do not exist"),
        (lambda rows: rows[3].__setitem__(0, rows[4][0]), "more than once"),
        (lambda rows: rows[3].append("1"), "do not have 5 cells"),
        (lambda rows: rows[0].__setitem__(3, "red"), "more than one column named red"),
        (lambda rows: rows[3].__setitem__(1, "somewhere"), "is not a split"),
        (lambda rows: [row.__delitem__(slice(3, None)) for row in rows], "fewer than two labels"),
        (lambda rows: [row.__setitem__(2, "0") for row in rows[1:]], "no training picture shows 'red'"),
        (lambda rows: rows.__delitem__(slice(1, None)), "lists no pictures"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_is_wrong(
    model: Path, table: Path, tmp_path: Path, change: Change, words: str
) -> None:
    rows = list(csv.reader(table.read_text().splitlines()))
    change(rows)
    other = table.with_name(f"{tmp_path.name}.csv")
    other.write_text("\n".join(",".join(row) for row in rows))
    result = run(export, model, other, "-o", tmp_path / "bundle")
    assert (result.exit_code, words in result.stderr) == (1, True), result.stderr


def test_files_of_rows_and_a_server_give_all_labels_too(bundle: Path, tmp_path: Path) -> None:
    pictures, _ = squares(30, 3)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i:02d}.png")
    own = Classifier(bundle).predict_batch(list(pictures))
    result = run(signs, "predict", bundle, tmp_path, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    rows = parquet.read_table(tmp_path / "out" / "part-000000.parquet").to_pylist()
    assert [row["found"] for row in rows] == [list(each.found) for each in own]
    assert [row["probability of blue"] for row in rows] == pytest.approx([each.probabilities[2] for each in own])
    labels = Counter(label for each in own for label in each.found or ("unsure",))
    assert json.loads(result.stdout)["labels"] == labels
    with Server.start(bundle) as server:
        server.wait_until_ready()
        for i, each in enumerate(own):
            status, said = server.ask("POST", "/predict", (tmp_path / f"{i:02d}.png").read_bytes())
            assert (status, said["found"], said["label"]) == (200, list(each.found), each.label)
