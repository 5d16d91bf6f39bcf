"""Graphs are named after the Keras layers, and the same weights give the same bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.network.model_file import save_model
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.convert.graph_names import Marks, name_graph
from signs_export.gate.trace import keras_stages, walk_layers
from signs_export.source.layers import layer_outputs, layers_of
from signs_export.source.reference import examine

from ..networks import branched_network, hands, mobile_network, network, train_a_little

SIGNS = Path(sys.executable).with_name("signs")


def nested_network() -> keras.Model:
    """A model inside a model, and a layer that is called twice."""
    inner_image = keras.Input((32, 32, 8))
    twice = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="twice")
    inner = keras.Model(inner_image, keras.layers.BatchNormalization(name="inside")(twice(twice(inner_image))))
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", name="first")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.ReLU(name="rectified")(inner(x))
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax", name="image")(x))  # an awkward name


@pytest.mark.parametrize("make", [network, mobile_network, branched_network, nested_network])
def test_a_tensor_with_a_layers_name_is_what_the_layer_gives(make: Callable[[], keras.Model], dataset: Dataset) -> None:
    reference = examine(train_a_little(make(), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    side = keras_stages(reference, reference.in_float64(), pixels(dataset))
    stages = walk_layers(side, model, "float32")
    assert all(stage.passed for stage in stages), [stage for stage in stages if not stage.passed]
    named = {stage.name for stage in stages}
    assert named >= {"logits", "probabilities"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(named & {layer.name for layer in layers_of(reference.model)}) >= len(convolutions) - 2


def separable_network() -> keras.Model:
    """A separable convolution that a batch norm is folded into: its depthwise half alone bears its scope's name."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, name="first")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="halved")(x)
    x = keras.layers.BatchNormalization(name="folded")(x)
    x = keras.layers.SeparableConv2D(12, 3, activation="swish", name="whole")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))


def test_a_tensor_inside_a_layer_is_not_taken_for_what_it_gives(dataset: Dataset) -> None:
    reference = examine(train_a_little(separable_network(), dataset))
    model = convert(reference, dataset.labels, ExportConfig())
    stages = walk_layers(keras_stages(reference, reference.in_float64(), pixels(dataset)), model, "float32")
    assert all(stage.passed for stage in stages), [stage for stage in stages if not stage.passed]
    named = {stage.name for stage in stages}
    assert named >= {"first", "folded", "whole", "pooled", "logits"}
    assert "halved" not in named


def pixels(dataset: Dataset) -> NDArray[np.uint8]:
    return np.asarray(dataset.test.pictures)[:4]


def test_layers_that_are_called_twice_are_left_out(dataset: Dataset) -> None:
    model = nested_network()
    outputs = layer_outputs(model, pixels(dataset).astype("float32"))
    assert "inside" in outputs
    assert "twice" not in outputs


def test_names_do_not_depend_on_the_order_in_which_nodes_were_made() -> None:
    """The same diamond, its branches written down in either order under other names."""
    graphs = []
    for left, right in (("a", "b"), ("z", "y")):
        nodes = [
            onnx.helper.make_node("Relu", ["pixels"], [left]),
            onnx.helper.make_node("Neg", ["pixels"], [right]),
        ]
        nodes = nodes if left == "a" else nodes[::-1]
        nodes.append(onnx.helper.make_node("Add", [left, right], ["sum"]))
        graph = onnx.helper.make_graph(
            nodes,
            "diamond",
            [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 2])],
            [onnx.helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, ["n", 2])],
        )
        graphs.append(onnx.helper.make_model(graph))
        name_graph(graphs[-1], Marks([]))
    one, other = (model.SerializeToString(deterministic=True) for model in graphs)
    assert one == other


def test_the_same_weights_give_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    save_model(train_a_little(branched_network(), hands(96, 24)), tmp_path / "my.keras")
    found = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        bundle = tmp_path / seed
        command = [
            SIGNS,
            "export",
            tmp_path / "my.keras",
            "synthetic",
            "--int8",
            "-o",
            bundle,
            "--parity-pictures",
            "60",
        ]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment)
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        digests = {each["name"]: each["file"]["sha256"] for each in manifest["variants"]}
        found.append((manifest["seal"], manifest["golden"]["file"]["sha256"], digests))
    assert found[0] == found[1]
    assert found[0][2].keys() == {"fp32", "int8"}
