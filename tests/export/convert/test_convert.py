"""The ONNX file is what it says: standard, named, folded, and Keras's function from uint8 pixels on."""

import json
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import weights_sha256
from signs_export.config import SCALINGS, ExportConfig, Scaling
from signs_export.convert.convert import check, convert
from signs_export.errors import ExportError
from signs_export.source.reference import Reference, examine
from signs_runtime import Classifier

from ..networks import SIDE, network, train_a_little

ATOL = 1e-5  # measured 4e-7


def random_images(count: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, channels), np.uint8)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def hold_to_keras(reference: Reference, dataset: Dataset, folder: Path) -> None:
    classifier = Classifier(save(convert(reference, dataset.labels, ExportConfig()), folder))
    for count in (1, 2, 17):
        images = random_images(count, reference.input.shape[2])
        expected = reference.probabilities(images)
        assert expected.std(axis=1).min() > 1e-3  # not uniform: the comparison means something
        assert np.allclose(classifier.probabilities(images), expected, atol=ATOL, rtol=0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_scaling_is_folded_in_as_keras_applications_does_it(
    scaling: Scaling, dataset: Dataset, tmp_path: Path
) -> None:
    model = train_a_little(network(rescales=False), dataset, scaling)
    hold_to_keras(examine(model, scaling=scaling), dataset, tmp_path)


def test_a_model_that_rescales_and_ends_in_logits_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    reference = examine(train_a_little(network(last=None), dataset))
    assert reference.gives_logits
    hold_to_keras(reference, dataset, tmp_path)


def test_one_colour_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    model = train_a_little(network(rescales=False, channels=1), dataset, "unit")
    hold_to_keras(examine(model, scaling="unit"), dataset, tmp_path)


def test_a_nested_model_of_any_size_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, network()(keras.layers.Resizing(SIDE, SIDE)(image)))
    hold_to_keras(examine(model, scaling="none", image_size=(SIDE, SIDE)), dataset, tmp_path)


def head(x: object, *, before: list[keras.layers.Layer]) -> keras.Model:
    """A small classifier behind these layers."""
    keras.utils.set_random_seed(0)
    image = x
    for layer in before:
        x = layer(x)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(keras.layers.Flatten()(x)))


def test_a_normalization_is_kept_to_though_its_numbers_are_no_weights_of_the_graph(
    dataset: Dataset, tmp_path: Path
) -> None:
    adapted = keras.layers.Normalization()
    adapted.adapt(np.asarray(dataset.train.pictures))
    for layer in (adapted, keras.layers.Normalization(mean=[120.0, 110, 100], variance=[3000.0, 2900, 2800])):
        model = train_a_little(head(keras.Input((SIDE, SIDE, 3)), before=[layer]), dataset)
        hold_to_keras(examine(model), dataset, tmp_path)


def test_a_preprocessing_of_keras_applications_inside_the_model_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    image = keras.Input((SIDE, SIDE, 3))
    body = head(keras.Input((SIDE, SIDE, 3)), before=[])
    model = keras.Model(image, body(keras.applications.resnet50.preprocess_input(image)))
    hold_to_keras(examine(train_a_little(model, dataset), scaling="none"), dataset, tmp_path)


def test_grouped_convolutions_are_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    before = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(8, 1), keras.layers.Conv2D(8, 3, groups=4)]
    model = head(keras.Input((SIDE, SIDE, 3)), before=before)  # untrained: Keras trains no groups on a CPU
    hold_to_keras(examine(model), dataset, tmp_path)


def test_an_output_in_a_dict_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    inner = train_a_little(network(), dataset)
    hold_to_keras(examine(keras.Model(inner.input, {"says": inner.output})), dataset, tmp_path)


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ConvNeXtTiny"])
def test_networks_of_keras_applications_that_rescale_by_themselves_are_kept_to(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    body = build(input_shape=(SIDE, SIDE, 3), weights=None, include_top=False, pooling="avg")
    model = keras.Model(body.input, keras.layers.Dense(6, activation="softmax")(100 * body.output))
    reference = examine(model)
    path = save(convert(reference, dataset.labels, ExportConfig()), tmp_path)
    images = random_images(3)
    assert np.allclose(Classifier(path).probabilities(images), reference.probabilities(images), atol=1e-4, rtol=0)


def test_names_types_and_the_dynamic_batch(converted: onnx.ModelProto) -> None:
    (image,), (probabilities,) = converted.graph.input, converted.graph.output
    assert (image.name, image.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert (probabilities.name, probabilities.type.tensor_type.elem_type) == ("probabilities", onnx.TensorProto.FLOAT)

    def dims(value: onnx.ValueInfoProto) -> list[str | int]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert dims(image) == ["batch", SIDE, SIDE, 3]
    assert dims(probabilities) == ["batch", 6]
    assert b"unk__" not in b"".join(value.SerializeToString() for value in converted.graph.value_info)


def test_batch_norms_are_folded_and_only_standard_operators_are_left(converted: onnx.ModelProto) -> None:
    kinds = Counter(node.op_type for node in converted.graph.node)
    assert kinds["Conv"] == 3
    assert kinds["BatchNormalization"] == 0
    assert kinds["Mul"] + kinds["Sub"] + kinds["Add"] + kinds["Div"] <= 3  # the scaling and the shortcut
    assert {opset.domain: opset.version for opset in converted.opset_import} == {"": 17}
    assert not any(tensor.external_data for tensor in converted.graph.initializer)


def test_the_file_says_its_labels_its_input_and_its_weights(converted: onnx.ModelProto, reference: Reference) -> None:
    metadata = {entry.key: entry.value for entry in converted.metadata_props}
    assert metadata.keys() == {"signs.labels", "signs.input", "signs.weights"}
    assert json.loads(metadata["signs.labels"]) == list("012345")
    assert json.loads(metadata["signs.input"]) == {"height": SIDE, "width": SIDE, "colour": "RGB", "resize": "bilinear"}
    assert metadata["signs.weights"] == weights_sha256(reference.model)
    assert converted.producer_name == "signs-edge"


def test_labels_that_do_not_fit_the_model_are_refused(reference: Reference) -> None:
    with pytest.raises(ExportError, match="6 classes, but the data has 2 labels"):
        convert(reference, ("yes", "no"), ExportConfig())


def test_an_operator_that_onnx_lacks_is_refused_though_tf2onnx_only_logs_it(dataset: Dataset) -> None:
    import tensorflow as tf

    class Unmapped(keras.layers.Layer):  # type: ignore[misc]  # Keras has no usable types
        def call(self, x: object) -> object:
            return tf.math.igamma(tf.abs(x) + 1.0, tf.abs(x))

        def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return shape

    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(keras.layers.Flatten()(Unmapped()(image))))
    with pytest.raises(ExportError, match=r"cannot be expressed in ONNX|cannot convert"):
        convert(examine(model, scaling="unit"), dataset.labels, ExportConfig())


def test_a_graph_with_a_foreign_operator_a_wrong_name_or_a_hole_is_refused(converted: onnx.ModelProto) -> None:
    def changed() -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(converted)
        return copy

    foreign = changed()
    foreign.graph.node[1].domain = "com.example"
    with pytest.raises(ExportError, match=r"outside the ONNX standard: com\.example"):
        check(foreign)
    renamed = changed()
    renamed.graph.output[0].name = "Identity:0"
    with pytest.raises(ExportError, match="not image and probabilities"):
        check(renamed)
    hole = changed()
    del hole.graph.initializer[0]
    with pytest.raises(ExportError, match="cannot be expressed"):
        check(hole)


def recurrent(layer: keras.layers.Layer, dataset: Dataset) -> Reference:
    """A classifier that reads a picture's rows one after the other."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Reshape((SIDE, SIDE * 3))(keras.layers.Rescaling(1 / 255)(image))
    return examine(train_a_little(keras.Model(image, keras.layers.Dense(6, activation="softmax")(layer(x))), dataset))


def test_a_recurrent_network_is_kept_to(dataset: Dataset, tmp_path: Path) -> None:
    hold_to_keras(recurrent(keras.layers.LSTM(8), dataset), dataset, tmp_path)


def test_a_loop_that_cannot_be_converted_is_explained_and_unrolled_it_can(dataset: Dataset, tmp_path: Path) -> None:
    looping = recurrent(keras.layers.GRU(8, name="rows"), dataset)
    with pytest.raises(ExportError, match=r"layers that loop: rows.*unroll=True"):
        convert(looping, dataset.labels, ExportConfig())
    hold_to_keras(recurrent(keras.layers.GRU(8, unroll=True), dataset), dataset, tmp_path)


def test_a_model_that_the_runtime_refuses_is_refused_in_words_for_its_owner(dataset: Dataset) -> None:
    """It was sealed until the runtime said that the bundle should be taken from its source again."""

    class Hard(keras.layers.Layer):  # type: ignore[misc]  # Keras has no usable types
        def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
            return keras.ops.sinh(x)

    image = keras.Input((SIDE, SIDE, 3))
    x = Hard(name="hard")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    reference = examine(keras.Model(image, keras.layers.Dense(6, activation="softmax")(x)))
    with pytest.raises(ExportError, match=r"the runtime does not run: .*Sinh.*Replace that layer") as caught:
        convert(reference, dataset.labels, ExportConfig())
    assert "from its source" not in str(caught.value)
