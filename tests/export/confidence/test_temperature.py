"""A temperature makes probabilities as often right as they say, changes no label, and is proved in the graph."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_builder.evaluation.reliability import reliability
from signs_export.confidence.temperature import calibrate, fit_temperature, temperature_of, tempered
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.errors import ExportError
from signs_export.export import export_bundle
from signs_export.job import Job
from signs_export.onnx_graph import answers
from signs_export.source.reference import Reference, examine, softmax
from signs_runtime import Classifier
from signs_runtime.bundle.folder import open_bundle

from ..networks import SIDE, network, train_a_little

IMAGES = np.random.default_rng(3).integers(0, 256, (40, SIDE, SIDE, 3), np.uint8)


def tempered_rows(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def said_and_true(temperature: float, count: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, 5) that are too large by a factor, and labels as they truly fall."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 5)) * 2
    true = softmax(logits)
    return logits * temperature, (true.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0, 12.0])
def test_the_temperature_that_made_them_wrong_is_found(temperature: float) -> None:
    scores, labels = said_and_true(temperature)
    assert fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.06)
    cooled = softmax(scores / fit_temperature(scores, labels))
    found = reliability(cooled.max(axis=1), cooled.argmax(axis=1) == labels)
    assert found.error < 0.02
    assert found.error < found.by_chance
    too_sure = softmax(3 * scores / temperature).max(axis=1)
    assert reliability(too_sure, cooled.argmax(axis=1) == labels).error > 2 * found.by_chance


def test_where_all_are_right_it_is_as_sure_as_that_many_pictures_allow() -> None:
    scores = np.log(np.tile([0.7, 0.2, 0.1], (98, 1)))
    cooled = softmax(scores / fit_temperature(scores, np.zeros(98, np.int64)))
    assert cooled[0, 0] == pytest.approx(1 - 1 / 100, abs=3e-3)


def test_scores_far_apart_and_few_pictures_give_a_number() -> None:
    assert 0.05 <= fit_temperature(np.array([[1000.0, 0.0]]), np.array([1])) <= 20.01


def dense(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(6, activation="softmax", name="last")(x)


def apart(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Activation("softmax")(keras.layers.Dropout(0.1)(keras.layers.Dense(6)(x)))


def as_a_layer(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Softmax()(keras.layers.Dense(6)(x))


def convolved(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.Conv2D(6, 1, activation="softmax")(keras.layers.Reshape((1, 1, x.shape[1]))(x))
    return keras.layers.Flatten()(x)


def one_sigmoid(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=20))(x)


def an_operation(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.sigmoid(keras.layers.Dense(1)(x))


def attended(x: keras.KerasTensor) -> keras.KerasTensor:
    """One layer is asked twice: what is put into it would be in both places."""
    softmax_layer = keras.layers.Activation("softmax")
    return softmax_layer(keras.layers.Dense(6)(x * softmax_layer(keras.layers.Dense(x.shape[1])(x))))


@keras.saving.register_keras_serializable("tests")
class Forgetful(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """What its configuration does not say is lost in a copy."""

    def __init__(self, factor: float = 1.0, **own: object) -> None:
        super().__init__(**own)
        self.factor = factor

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x * self.factor


def forgetful(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(6, activation="softmax")(Forgetful(30.0)(x))


def logits(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(6)(x)


def made(end: Callable[[keras.KerasTensor], keras.KerasTensor], kind: str) -> Reference:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Normalization(mean=100.0, variance=2000.0)(image)
    x = keras.layers.Conv2D(8, 3, activation="relu")(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    if kind == "nested":
        inner = keras.Input(x.shape[1:])
        model = keras.Model(image, keras.Model(inner, end(inner))(x))
    elif kind == "sequential":
        first = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Rescaling(1 / 99), keras.layers.Flatten()])
        model = keras.Sequential([first, keras.Sequential([keras.layers.Dense(6, activation="softmax")])])
        model.build((None, SIDE, SIDE, 3))
    else:
        model = keras.Model(image, end(x), name="mine")
    return examine(model, logits=end is logits)


@pytest.mark.parametrize("kind", ["plain", "nested"])
@pytest.mark.parametrize(
    "end", [dense, apart, as_a_layer, convolved, one_sigmoid, an_operation, attended, forgetful, logits]
)
def test_every_ending_is_divided_in_keras_in_float64_and_in_the_graph(
    end: Callable[[keras.KerasTensor], keras.KerasTensor], kind: str
) -> None:
    check(made(end, kind))


def test_a_row_of_models_is_divided() -> None:
    check(made(dense, "sequential"))


def check(reference: Reference) -> None:
    said = reference.probabilities(IMAGES)
    assert said.std() > 0.005
    for temperature in (0.5, 2.5):
        cooled = tempered(reference, temperature)
        wanted = tempered_rows(said, temperature)
        assert np.allclose(cooled.probabilities(IMAGES), wanted, rtol=0, atol=5e-5)
        if not any(isinstance(layer, Forgetful) for layer in reference.model._flatten_layers()):
            assert np.allclose(cooled.in_float64().probabilities(IMAGES), wanted, rtol=0, atol=5e-5)
        assert (cooled.probabilities(IMAGES).argmax(axis=1) == said.argmax(axis=1)).all()
        assert cooled.weights_sha256 == reference.weights_sha256
        assert cooled.model.name == reference.model.name
        labels = tuple("abcdef")[: reference.classes]
        graph = convert(cooled, labels, ExportConfig())
        assert np.allclose(answers(graph, IMAGES), cooled.probabilities(IMAGES), rtol=0, atol=2e-6)
        assert {"signs.temperature": str(temperature)}.items() <= {p.key: p.value for p in graph.metadata_props}.items()


def test_a_network_that_is_too_sure_is_calibrated_and_proved(pictures: Dataset, tmp_path: Path) -> None:
    """Trained on few pictures until it knows them, its logits doubled on top."""
    few = replace(pictures, train=pictures.train.part(np.arange(120)))
    model = train_a_little(network(), few, epochs=40)
    model.layers[-1].set_weights([3 * each for each in model.layers[-1].get_weights()])
    reference = examine(model)
    held_out = pictures.train.part(np.arange(120, 480))
    heard: list[str] = []
    config = ExportConfig(calibrate=True, speed_rounds=1)
    job = Job(reference, pictures, config, warn=heard.append, held_out=held_out)
    export = export_bundle(job, tmp_path / "bundle")
    found = export.calibrated
    assert found is not None
    assert found.is_kept
    assert not found.may_be_trained_on
    assert found.temperature > 2
    assert found.after.error < found.before.error
    assert found.loss_after < found.loss_before
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.schema, manifest.temperature) == (6, found.temperature)
    images = np.asarray(pictures.test.pictures)
    given = Classifier(tmp_path / "bundle", cache=False).probabilities(images)
    asked = reference.probabilities(images)
    assert (given.argmax(axis=1) == asked.argmax(axis=1)).all()
    assert np.allclose(given, tempered_rows(asked, found.temperature), atol=5e-5)
    page = (tmp_path / "bundle" / "report.html").read_text()
    assert "Before the temperature" in page
    assert "With the temperature" in page
    assert "with a temperature of" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert temperature_of(tmp_path / "bundle" / "fp32.onnx") == found.temperature
    _, again = calibrate(replace(job, held_out=None))
    assert again.may_be_trained_on


def test_one_that_makes_the_test_pictures_worse_is_left_out_and_told(pictures: Dataset) -> None:
    """As on pictures that the model knows by heart: here, those whose labels are its own answers."""
    reference = examine(train_a_little(network(), replace(pictures, train=pictures.train.part(np.arange(120)))))
    own = reference.probabilities(np.asarray(pictures.train.pictures)).argmax(axis=1)
    known = replace(pictures.train, labels=own)
    heard: list[str] = []
    job = Job(reference, pictures, ExportConfig(), warn=heard.append, held_out=known)
    changed, found = calibrate(job)
    assert not found.is_kept
    assert found.loss_after > found.loss_before
    assert changed.reference is reference
    assert "without a temperature" in heard[0]
    assert "not trained on" not in heard[0]
    by_heart = copy.copy(pictures)
    object.__setattr__(by_heart, "train", known)  # a data set would want each label among them
    calibrate(replace(job, held_out=None, dataset=by_heart))
    assert "that the model was not trained on" in heard[1]


def test_a_multi_label_classifier_is_refused(reference: Reference, dataset: Dataset) -> None:
    with pytest.raises(ExportError, match="a sigmoid for each label"):
        calibrate(Job(replace(reference, thresholds=(0.5,) * 6), dataset, ExportConfig()))


def test_sigmoids_of_their_own_are_refused(dataset: Dataset) -> None:
    """They sum to nothing that a temperature could keep at 1."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Dense(6, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(image))
    with pytest.raises(ExportError, match="a sigmoid for each label"):
        calibrate(Job(examine(keras.Model(image, x), scaling="unit"), dataset, ExportConfig()))


def test_one_sigmoid_that_is_far_too_sure_is_fitted_by_its_logits(pictures: Dataset) -> None:
    """In float32, 1 - p is 0 from a logit of 17 on: what probabilities alone tell is another temperature."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(image))
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    reference = examine(model, scaling="unit")
    weights = model.get_weights()
    logit = keras.Model(image, keras.layers.Dense(1)(x))
    logit.set_weights(weights)
    split = pictures.train
    z = logit.predict(split.images(reference.input) / np.float32(255), verbose=0)[:, 0].astype(np.float64)
    shift, spread = z.mean(), 2 / z.std()
    labels = (np.random.default_rng(0).random(len(z)) < 1 / (1 + np.exp(-spread * (z - shift)))).astype(np.int64)
    *others, kernel, bias = weights
    model.set_weights([*others, 15 * spread * kernel, 15 * spread * (bias - np.float32(shift))])
    held_out = replace(split, labels=labels)
    two = replace(pictures, labels=("no", "yes"), train=held_out, test=held_out.thin(60))
    _, found = calibrate(Job(reference, two, ExportConfig(), held_out=held_out))
    assert found.temperature == pytest.approx(15, rel=0.2)


def test_what_no_file_may_say_of_its_temperature_is_an_error(tmp_path: Path, reference: Reference) -> None:
    graph = convert(reference, tuple("abcdef"), ExportConfig())
    for said in ("abc", "0", "nan", "-1"):
        del graph.metadata_props[:]
        onnx.helper.set_model_props(graph, {"signs.temperature": said})
        onnx.save(graph, tmp_path / "model.onnx")
        with pytest.raises(ExportError, match="which is not valid"):
            temperature_of(tmp_path / "model.onnx")


def test_another_number_of_labels_is_told_before_anything_is_fitted(
    reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    job = Job(replace(reference, classes=5), dataset, ExportConfig(calibrate=True))
    with pytest.raises(ExportError, match="5 classes, but the data has 6 labels"):
        export_bundle(job, tmp_path / "bundle")
