"""Ranges before a rectifier leave out what it cuts off."""

from pathlib import Path

import numpy as np
import onnx

from signs_export.int8.summed_ranges import Summand, choose_ranges, find_summands


def test_ranges_of_rectified_sums_leave_out_what_the_rectifier_cuts_off(tmp_path: Path) -> None:
    """A convolution that reaches far below what its rectified sum with another can use."""
    rng = np.random.default_rng(0)
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
        make("Transpose", ["pixels"], ["x"], perm=[0, 3, 1, 2]),
        make("Conv", ["x", "w"], ["summand"], kernel_shape=[1, 1]),
        make("Conv", ["x", "v"], ["raw"], kernel_shape=[1, 1]),
        make("Relu", ["raw"], ["other"]),
        make("Add", ["other", "summand"], ["sum"]),
        make("Relu", ["sum"], ["rectified"]),
    ]
    weights = {
        "w": np.array([[1.0, -9.0, 0.0]], np.float32).reshape(1, 3, 1, 1),
        "v": np.array([[0.0, 0.0, 1.0]], np.float32).reshape(1, 3, 1, 1),
    }
    graph = onnx.helper.make_graph(
        nodes,
        "sum",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 4, 4, 3])],
        [onnx.helper.make_tensor_value_info("rectified", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    summands = find_summands(model)
    assert summands == [Summand("summand", "other")]
    images = rng.integers(0, 256, (40, 4, 4, 3), np.uint8)
    ((low, high),) = choose_ranges(model, summands, {"summand": (-2295.0, 255.0)}, images).values()
    assert high == 255
    assert -0.4 * 2295 <= low <= -255  # what the other summand can lift above zero
