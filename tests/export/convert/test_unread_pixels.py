"""Strides of 1x1 convolutions move to where pixels are made that nothing reads; all numbers stay the same."""

from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
import onnx
import pytest
from onnx.helper import make_node, make_tensor_value_info

from signs_builder.data.hands import LABELS
from signs_builder.network.resnet import resnet50, start_independently
from signs_export.config import ExportConfig
from signs_export.convert.convert import convert
from signs_export.convert.unread_pixels import leave_out_unread_pixels
from signs_export.onnx_graph import answers, attribute, inner_values
from signs_export.source.reading import strides_of_readers
from signs_export.source.reference import examine

from ..networks import SIDE

layers = keras.layers
Body = Callable[[keras.KerasTensor], keras.KerasTensor]


class Squared(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A user's own layer."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x * x - 0.5


def residual(x: keras.KerasTensor) -> keras.KerasTensor:
    """A ResNet's block, which the next stage reads at every second pixel."""
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same")(x))
    inner = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="inner")(layers.Conv2D(8, 1)(x)))
    x = layers.ReLU()(layers.Add(name="sum")([layers.Conv2D(8, 1, name="expanded")(inner), x]))
    return layers.Add()([layers.Conv2D(6, 1, strides=2)(x), layers.Conv2D(6, 1, strides=2)(x)])


def twice(x: keras.KerasTensor) -> keras.KerasTensor:
    """Strides that follow each other: the first convolution makes every fourth pixel."""
    x = layers.Conv2D(8, 5, padding="same", name="inner")(x)
    return layers.Conv2D(6, 1, strides=2)(layers.LeakyReLU()(layers.Conv2D(8, 1, strides=2)(x)))


def oblong(x: keras.KerasTensor) -> keras.KerasTensor:
    """Other strides down than across, read by a pool that picks pixels, and a convolution in groups before it."""
    x = layers.Conv2D(8, 3, groups=4, name="inner")(layers.Conv2D(8, 3)(x))
    return layers.Conv2D(6, 1)(layers.MaxPooling2D(1, strides=(2, 3))(Squared()(layers.Activation("hard_silu")(x))))


def gated(x: keras.KerasTensor) -> keras.KerasTensor:
    """A gate has one number for each channel, and is left as it is."""
    x = layers.Conv2D(8, 3, name="inner")(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(layers.ReLU()(x)))
    spread = layers.Multiply()([layers.Conv2D(8, 3, padding="same", name="thinned")(x), gate])
    return layers.Conv2D(6, 1, strides=2)(spread)


def nested(x: keras.KerasTensor) -> keras.KerasTensor:
    """A model inside the model, whose output is read at every third pixel."""
    inside = keras.Input(x.shape[1:])
    inner = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner")
    backbone = keras.Model(inside, layers.BatchNormalization()(layers.ReLU()(inner(inside))))
    return layers.Conv2D(6, 1, strides=3)(backbone(x))


def read_in_full(x: keras.KerasTensor) -> keras.KerasTensor:
    """A 3x3 convolution with strides reads every pixel, and so does a second reader."""
    x = layers.ReLU()(layers.Conv2D(8, 3, name="inner")(x))
    x = layers.Conv2D(8, 3, strides=2)(x)
    picked = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1, strides=3)(x))
    return layers.Reshape((1, 1, 6))(layers.Add()([layers.Dense(6)(layers.GlobalMaxPooling2D()(x)), picked]))


@pytest.mark.parametrize(
    ("body", "strides", "pools"),
    [
        (residual, {"inner": [2, 2], "expanded": [1, 1]}, 1),
        (twice, {"inner": [4, 4]}, 0),
        (oblong, {"inner": [2, 3]}, 1),  # the pool of the network itself
        (nested, {"inner": [3, 3]}, 0),
        (gated, {"inner": [1, 1], "thinned": [2, 2]}, 0),
        (read_in_full, {"inner": [1, 1]}, 0),
    ],
)
@pytest.mark.parametrize("side", [SIDE, 27])
def test_only_pixels_that_are_read_are_computed(
    body: Body, strides: dict[str, list[int]], pools: int, side: int
) -> None:
    model = _model(body, side)
    before, after = _both(model)
    found = {node.name: list(attribute(node, "strides", [1, 1])) for node in after.graph.node if node.op_type == "Conv"}
    assert {name: found[name] for name in strides} == strides
    assert Counter(node.op_type for node in after.graph.node)["MaxPool"] == pools
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    for count in (1, 3):
        assert np.allclose(answers(before, images[:count]), answers(after, images[:count]), rtol=0, atol=1e-6)
    names = sorted({name for node in before.graph.node for name in node.output})
    assert set(names) <= {name for node in after.graph.node for name in node.output}
    (whole,), (part,) = inner_values(before, names, images), inner_values(after, names, images)
    read_at = strides_of_readers(model)
    for name in names:
        down, across = read_at.get(name.split("/")[0], (1, 1)) if whole[name].shape != part[name].shape else (1, 1)
        picked = whole[name][:, :, ::down, ::across] if whole[name].ndim == 4 else whole[name]
        assert np.allclose(picked, part[name], rtol=0, atol=1e-4), name


def test_nothing_is_left_to_leave_out() -> None:
    for body in (residual, twice, oblong, nested, gated, read_in_full):
        _, after = _both(_model(body, SIDE))
        again = onnx.ModelProto.FromString(after.SerializeToString())
        leave_out_unread_pixels(again)
        assert again == after


def test_the_stages_of_resnet_50_end_at_half_the_size() -> None:
    keras.utils.set_random_seed(0)
    model = resnet50((64, 64, 3), 6, width=0.125)
    start_independently(model, 0)
    exported = convert(examine(model), LABELS, ExportConfig())
    strided = {node.name for node in exported.graph.node if list(attribute(node, "strides", [1, 1])) == [2, 2]}
    assert {"res2c_branch2b", "res3d_branch2b", "res4f_branch2b"} <= strided
    assert not {"res3a_branch1", "res4a_branch1", "res5a_branch2a"} & strided


def test_a_graph_whose_pads_depend_on_its_strides_or_that_loops_stays() -> None:
    picture = make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 9, 9])
    result = make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, 5, 5])
    pick = make_node("MaxPool", ["p"], ["y"], kernel_shape=[1, 1], strides=[2, 2])
    same = make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], auto_pad="SAME_UPPER")
    rounded_up = make_node("AveragePool", ["x"], ["p"], kernel_shape=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1)
    plain = make_node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    bodies = [onnx.helper.make_graph([make_node("Identity", ["p"], [f"z{i}"])], "b", [], [result]) for i in range(2)]
    chooses = make_node("If", ["yes"], ["z"], then_branch=bodies[0], else_branch=bodies[1])
    yes = onnx.numpy_helper.from_array(np.array(True), "yes")
    for nodes, changes in (([plain], True), ([same], False), ([rounded_up], False), ([plain, chooses], False)):
        graph = onnx.helper.make_graph([*nodes, pick], "g", [picture], [result], [yes])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
        before = model.SerializeToString()
        leave_out_unread_pixels(model)
        assert (model.SerializeToString() != before) == changes


def _model(body: Body, side: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((side, side, 3))
    x = layers.GlobalAveragePooling2D()(body(layers.Rescaling(1 / 64, offset=-2)(image)))
    return keras.Model(image, layers.Dense(6, activation="softmax")(x))


def _both(model: keras.Model) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """An export as it is, without and with what is tested here."""
    reference = examine(model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("signs_export.convert.convert.leave_out_unread_pixels", lambda model: None)
        before = convert(reference, LABELS, ExportConfig())
    return before, convert(reference, LABELS, ExportConfig())
