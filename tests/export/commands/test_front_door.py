"""Other people's models come in by one command, as they have them, and are told what to do where they do not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_export.commands.evaluate import evaluate
from signs_export.commands.export import export
from signs_export.commands.parity import parity
from signs_runtime import Classifier, InputSpec
from signs_runtime.commands.signs import signs

SIDE = 24
CROSSENTROPY = "sparse_categorical_crossentropy"
OWN = """
import keras

class Halving(keras.layers.Layer):
    def call(self, x):
        return x / 2
"""
SIGNS = Path(sys.executable).with_name("signs")


def run(command: click.Command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def exported(*arguments: object) -> Any:  # Any: JSON
    result = run(export, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def drawn(is_mango: bool, count: int, seed: int) -> NDArray[np.uint8]:
    """Yellow fruit and red, (count, SIDE, SIDE, 3), on grounds of any colour."""
    rng = np.random.default_rng(2 * seed + is_mango)
    pictures = rng.integers(0, 256, (count, 1, 1, 3)) + rng.integers(-20, 21, (count, SIDE, SIDE, 3))
    for picture in pictures:
        top, left = rng.integers(2, 8, 2)
        green = rng.integers(170, 220) if is_mango else rng.integers(10, 60)
        picture[top : top + 12, left : left + 12] = np.array([230, green, 40]) + rng.integers(-20, 21, (12, 12, 3))
    clipped: NDArray[np.uint8] = np.clip(pictures, 0, 255).astype(np.uint8)
    return clipped


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class, of two classes."""
    folder = tmp_path_factory.mktemp("fruit")
    for seed, (split, count) in enumerate((("train", 60), ("test", 20))):
        for name in ("Apple", "mango"):
            pictures = drawn(name == "mango", count, seed)
            Split(pictures, np.zeros(count, np.int64)).files(folder / split / name, ["x"])
    return folder


def scaled(images: Any) -> Any:
    """Pixels / 127.5 - 1."""
    return images / np.float32(127.5) - 1


def trained(model: Any, loss: str, *, mango: int, read: Callable[[Any], Any] = scaled) -> Any:
    """Train a little, on pictures as `read` reads them, with `mango` as the number of its class."""
    model.compile("adam", loss)
    model.optimizer.learning_rate = 0.003
    images = np.concatenate([drawn(False, 60, 0), drawn(True, 60, 0)])
    model.fit(read(images), np.repeat([1 - mango, mango], 60), epochs=20, verbose=0)
    return model


def as_teachable_machine_makes_it() -> Any:
    """Two Sequentials in a Sequential: a network that was trained before, and the head that the website trains."""
    layers = tf_keras.layers
    base = tf_keras.Sequential(
        [
            tf_keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(6.0),
            layers.GlobalAveragePooling2D(),
        ]
    )
    head = tf_keras.Sequential([tf_keras.Input((8,)), layers.Dense(20, "relu"), layers.Dense(2, "softmax")])
    return tf_keras.Sequential([base, head])


def test_a_teachable_machine_export_is_enough_with_its_labels_beside_it(fruit: Path, tmp_path: Path) -> None:
    model = trained(as_teachable_machine_makes_it(), CROSSENTROPY, mango=0)
    model.save(tmp_path / "keras_model.h5")
    (tmp_path / "labels.txt").write_text("0 Mango\n1 apple\n")  # the folders sort the other way round
    document = exported(tmp_path / "keras_model.h5", fruit, "--scaling", "tf", "-o", tmp_path / "bundle")
    assert document["labels"] == ["Mango", "apple"]
    accuracy = document["keras_test_accuracy"]
    assert accuracy["correct"] > 0.8 * accuracy["total"]
    spec = Classifier(tmp_path / "bundle").input
    assert (spec.fit, spec.resize) == ("crop", "bilinear")  # as the website reads pictures
    assert "Keras 2 saved this model" in (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    figures = run(evaluate, tmp_path / "bundle", fruit, "--json")  # which knows its labels' order
    assert json.loads(figures.stdout)["correct"] == accuracy["correct"]
    result = run(parity, tmp_path / "keras_model.h5", tmp_path / "bundle", fruit, "--scaling", "tf")
    assert result.exit_code == 0, result.output
    again = run(export, tmp_path / "keras_model.h5", fruit, "--scaling", "measured", "-o", tmp_path / "again")
    assert again.stderr.count("looks like a Teachable Machine model") == 1  # though it is opened more than once


def test_another_fit_than_teachable_machines_is_used_where_it_is_asked_for(fruit: Path, tmp_path: Path) -> None:
    model = as_teachable_machine_makes_it()
    made = trained(model, CROSSENTROPY, mango=0, read=lambda images: scaled(images[..., ::-1]))
    made.save(tmp_path / "keras_model.h5")
    (tmp_path / "keras_model.labels.txt").write_text("0 Mango\n1 apple\n")
    options = ("--scaling", "tf", "--fit", "stretch", "--resize", "cv2-area", "--channels", "BGR", "--exif", "ignored")
    exported(tmp_path / "keras_model.h5", fruit, *options, "-o", tmp_path / "bundle")
    assert Classifier(tmp_path / "bundle").input == InputSpec(SIDE, SIDE, "BGR", "cv2-area", "stretch", "ignored")
    assert run(signs, "verify", tmp_path / "bundle").exit_code == 0
    assert f"{SIDE}x{SIDE} BGR, stretch, cv2-area, EXIF ignored" in run(signs, "info", tmp_path / "bundle").stdout
    model, bundle = tmp_path / "keras_model.h5", tmp_path / "bundle"
    assert run(parity, model, bundle, fruit, *options).exit_code == 0
    result = run(parity, model, bundle, fruit, *options[:-4], "--exif", "ignored")  # the colours' order left out
    assert (result.exit_code, "resized" in result.stdout + result.stderr) == (3, True)


def test_one_sigmoid_answers_with_two_labels_on_the_device(fruit: Path, tmp_path: Path) -> None:
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    trained(model, "binary_crossentropy", mango=1).save(tmp_path / "model.h5")
    document = exported(tmp_path / "model.h5", fruit, "--scaling", "tf", "-o", tmp_path / "bundle", "--int8")
    assert document["labels"] == ["Apple", "mango"]
    pictures = fruit / "test" / "mango"
    result = run(signs, "predict", tmp_path / "bundle", pictures, "--json")
    predictions = json.loads(result.stdout)["predictions"]
    right = [each["label"] == "mango" for each in predictions]
    assert sum(right) > 0.7 * len(right)
    for each in predictions:
        assert sum(each["probabilities"].values()) == pytest.approx(1)
    rows = run(signs, "predict", tmp_path / "bundle", pictures, "--csv").stdout.splitlines()
    assert len(rows) == 1 + len(predictions)


def test_a_saved_model_without_keras_is_exported_by_its_signature(fruit: Path, tmp_path: Path) -> None:
    class Module(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(SIDE**2 * 3, 2)).astype(np.float32) / 50)

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])  # type: ignore[untyped-decorator]
        def serve(self, image: Any) -> Any:
            return tf.nn.softmax(tf.reshape(image, (-1, SIDE**2 * 3)) @ self.kernel)

    module = Module()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.serve)
    document = exported(tmp_path / "model", fruit, "--scaling", "tf", "--as-is", "-o", tmp_path / "bundle")
    parity_figures = document["variants"][0]["parity"]
    assert parity_figures["same_label"] == parity_figures["pictures"]
    assert any("stages were not compared" in each for each in document["warnings"])


def test_a_signature_of_one_sigmoid_has_two_labels(fruit: Path, tmp_path: Path) -> None:
    class Module(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])  # type: ignore[untyped-decorator]
        def serve(self, image: Any) -> Any:
            return tf.sigmoid(10 * tf.reduce_mean(image[..., 1] - image[..., 0], axis=(1, 2)))[:, None]

    module = Module()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.serve)
    assert exported(tmp_path / "model", fruit, "--scaling", "unit", "-o", tmp_path / "bundle")["labels"] == [
        "Apple",
        "mango",
    ]


def test_a_class_of_the_users_own_comes_from_the_file_that_he_names(fruit: Path, tmp_path: Path) -> None:
    module = tmp_path / "own.py"
    module.write_text(OWN)
    namespace: dict[str, Any] = {}
    exec(module.read_text(), namespace)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Flatten()(namespace["Halving"]()(keras.layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, keras.layers.Dense(2, "softmax")(x))
    trained(model, CROSSENTROPY, mango=1, read=np.float32).save(tmp_path / "model.keras")
    refused = run(export, tmp_path / "model.keras", fruit, "-o", tmp_path / "bundle")
    assert refused.exit_code == 1
    assert "--custom-objects" in refused.output
    options = ("-o", tmp_path / "bundle", "--custom-objects", module)
    command = [str(each) for each in (SIGNS, "export", tmp_path / "model.keras", fruit, *options)]
    subprocess.run(command, check=True, capture_output=True)
    manifest = (tmp_path / "bundle" / "manifest.json").read_text()
    assert "--custom-objects" in manifest


@pytest.mark.parametrize(
    ("labels", "words"),
    [("mango\npear", "Only in "), ("mango", "fewer than two labels"), ("mango\nmango", "more than once")],
)
def test_labels_that_do_not_fit_end_with_1_and_the_way_on(fruit: Path, tmp_path: Path, labels: str, words: str) -> None:
    file = tmp_path / "names.txt"
    file.write_text(labels)
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]).save(
        tmp_path / "model.keras"
    )
    options = ("--scaling", "unit", "--labels", file, "-o", tmp_path / "bundle")
    result = run(export, tmp_path / "model.keras", fruit, *options)
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "bundle").exists()
