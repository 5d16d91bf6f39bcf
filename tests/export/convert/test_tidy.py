"""A converted graph has no node that only says at length what one says, or nothing."""

from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
import onnx
import pytest
from onnx.numpy_helper import from_array

from signs_builder.data.hands import LABELS
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.convert.tidy import tidy
from signs_export.onnx_graph import answers
from signs_export.source.reference import examine

from ..networks import SIDE

IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


def ends(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(6, activation="softmax")(x)


def squeezed_and_excited(x: keras.KerasTensor) -> keras.KerasTensor:
    """As MobileNetV3 and EfficientNet have it, by turns: hard-swish, means that keep their axes, a Reshape."""
    x = keras.layers.Activation("hard_silu")(keras.layers.Conv2D(16, 3)(x))
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = keras.layers.Conv2D(4, 1, activation="relu")(weights)
    weights = keras.layers.ReLU(6.0)(keras.layers.Conv2D(16, 1)(weights) + 3.0) * (1.0 / 6.0)
    x = keras.layers.Conv2D(16, 3, activation="swish")(keras.layers.Multiply()([x, weights]))
    weights = keras.layers.Reshape((1, 1, 16))(keras.layers.GlobalAveragePooling2D()(x))
    weights = keras.layers.Conv2D(16, 1, activation="sigmoid")(weights)
    return ends(keras.layers.GlobalMaxPooling2D()(keras.layers.Multiply()([x, weights])))


def flattened(x: keras.KerasTensor) -> keras.KerasTensor:
    return ends(keras.layers.Flatten()(keras.layers.MaxPooling2D(4)(keras.layers.Conv2D(5, 3)(x))))


def reshaped_to_and_fro(x: keras.KerasTensor) -> keras.KerasTensor:
    """Of these only the first and the last stay: one makes the maps of columns, one flattens."""
    x = keras.layers.Conv2D(5, 3)(x)
    x = keras.layers.Reshape((*x.shape[1:], 1))(keras.layers.Reshape((-1, 5))(x))
    x = keras.layers.Reshape((45, 20, 5))(x)
    return ends(keras.layers.Flatten()(keras.layers.ReLU()(x)))


def looks_alike(x: keras.KerasTensor) -> keras.KerasTensor:
    """Near a hard sigmoid, and none: another number, another bound, a sum that is read twice, divided the wrong way."""
    first, second, third, fourth, fifth = (keras.layers.Conv2D(6, 3)(x) for _ in range(5))
    more = third + 3.0
    near = [
        keras.layers.ReLU(6.0)(first + 2.5) * (1.0 / 6.0),
        keras.layers.ReLU(5.0)(second + 3.0) * (1.0 / 6.0),
        keras.layers.ReLU(6.0)(more) / 6.0 + more,
        6.0 / (keras.layers.ReLU(6.0)(fourth + 3.0) + 1.0),
        keras.layers.ReLU(6.0)(fifth + 3.0) / 5.0,
    ]
    return ends(keras.layers.GlobalAveragePooling2D()(keras.layers.Concatenate()(near)))


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        (squeezed_and_excited, {"HardSigmoid": 2, "GlobalAveragePool": 2, "Clip": 0, "Reshape": 0}),
        (flattened, {"Reshape": 1, "Shape": 0, "Gather": 0, "Concat": 0}),
        (reshaped_to_and_fro, {"Reshape": 2, "Shape": 0}),
        (looks_alike, {"HardSigmoid": 0}),
    ],
)
@pytest.mark.parametrize("opset", [17, 18])
def test_it_says_the_same_with_fewer_nodes(
    body: Callable[[keras.KerasTensor], keras.KerasTensor],
    operators: dict[str, int],
    opset: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    reference = examine(keras.Model(image, body(keras.layers.Rescaling(1 / 64, offset=-2)(image))))
    tidied = convert(reference, LABELS, ExportConfig(opset=opset))
    monkeypatch.setattr("signs_export.convert.convert.tidy", lambda model: None)
    at_length = convert(reference, LABELS, ExportConfig(opset=opset))
    computed = Counter(node.op_type for node in tidied.graph.node)
    if opset == 17:  # tf2onnx transposes less with others
        assert {name: computed[name] for name in operators} == operators
    assert len(tidied.graph.node) <= len(at_length.graph.node)
    for count in (1, 3):
        assert np.allclose(answers(tidied, IMAGES[:count]), answers(at_length, IMAGES[:count]), rtol=0, atol=1e-6)
    assert stages(tidied) >= stages(at_length)


def stages(model: onnx.ModelProto) -> set[str]:
    """The layers whose tensors are known, but for those that a tidied graph may lack."""
    names = {name for node in model.graph.node for name in node.output if "/" not in name}
    return {name for name in names if not name.startswith(("re_lu", "reshape"))}


def test_what_is_no_mean_over_a_picture_or_no_hard_sigmoid_stays() -> None:
    """Graphs as others write them: another rank, another type, an order of axes that is left out, more axes."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2, 2, 4, 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node
    mean = [node("ReduceMean", ["x"], ["y"], axes=[2, 3])]
    transposed = [
        node("Transpose", ["x"], ["t"], perm=[0, 1, 2, 4, 3]),
        node("Flatten", ["t"], ["f"]),
        node("Transpose", ["f"], ["y"]),
    ]
    more = [
        node("Add", ["x", "three"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["c"]),
        node("Mul", ["c", "sixth"], ["y"]),
    ]
    numbers = {"three": np.full((1,) * 6, 3), "zero": np.array(0), "six": np.array(6), "sixth": np.array(1 / 6)}
    initializers = [from_array(values.astype(np.float32), name) for name, values in numbers.items()]
    for nodes in (mean, transposed, more):
        graph = onnx.helper.make_graph(nodes, "g", [x], [y], initializers)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
        before = [each.op_type for each in model.graph.node]
        tidy(model)
        assert [each.op_type for each in model.graph.node] == before


def test_a_view_inside_a_hard_sigmoid_takes_no_layers_name_along() -> None:
    """What relu6 gives would else be compared with what the sigmoid gives."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(16, 3)(image))
    x = keras.layers.Reshape((4, 4))(keras.layers.ReLU(6.0, name="bounded")(x + 3.0)) * (1.0 / 6.0)
    reference = examine(keras.Model(image, ends(keras.layers.Flatten()(x))), scaling="unit")
    model = convert(reference, LABELS, ExportConfig())
    assert [node.op_type for node in model.graph.node].count("HardSigmoid") == 1
    assert not {"bounded", "reshape"} & stages(model)
