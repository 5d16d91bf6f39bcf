"""Sums and products of int8 tensors are the same integers in either arithmetic that onnxruntime has for them."""

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig, Int8Config
from signs_export.convert.convert import convert
from signs_export.int8.calibration import Calibration
from signs_export.int8.prepare import prepare
from signs_export.int8.quantize import quantize
from signs_export.int8.same_rounding import round_the_same
from signs_export.onnx_graph import weights_of
from signs_export.source.reference import examine

A, B = np.meshgrid(np.arange(256), np.arange(256))


def branching() -> keras.Model:
    """Shortcuts as they are, pooled and convolved; squeeze-and-excite, swish and hard-swish; a tensor in two sums."""
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D
    x = conv(8, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    for _ in range(4):
        x = keras.layers.ReLU()(x + conv(8, 3, padding="same")(x))
    x = x + conv(8, 3, padding="same")(x)
    x = keras.layers.MaxPooling2D()(x) + conv(8, 3, strides=2, padding="same")(x)
    x = conv(8, 3, padding="same", activation="swish")(x)
    x = conv(8, 3, padding="same", activation="hard_swish")(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = conv(8, 3, padding="same", activation="relu")(x * conv(8, 1, activation="sigmoid")(gate))
    y = x + conv(8, 3, padding="same")(x)
    x = conv(8, 3, padding="same")(y) + x
    x = keras.layers.GlobalAveragePooling2D()(conv(8, 3, activation="relu")(x))
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(x))


def joints(model: onnx.ModelProto, tmp_path: Path) -> list[tuple[str, list[float]]]:
    """The sums and products of a session's graph, each with scale and zero point of both inputs and of the output."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    weights = weights_of(optimized)
    return [
        (node.op_type, [onnx.numpy_helper.to_array(weights[node.input[i]]).item() for i in (1, 2, 4, 5, 6, 7)])
        for node in optimized.graph.node
        if node.op_type in ("QLinearAdd", "QLinearMul")
    ]


def levels(values: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.integer]:
    cut: NDArray[np.integer] = np.clip(values, 0, 255).astype(int)
    return cut


def sum_in_float32(a: float, za: int, b: float, zb: int, c: float, zc: int) -> NDArray[np.integer]:
    """mlas/lib/qladd.cpp on x86."""
    r, s = np.float32(a) / np.float32(c), np.float32(b) / np.float32(c)
    fixed = np.float32(zc) - (r * np.float32(za) + s * np.float32(zb))
    return levels(np.rint(fixed + r * A.astype(np.float32) + s * B.astype(np.float32)))


def sum_in_integers(a: float, za: int, b: float, zb: int, c: float, zc: int) -> NDArray[np.integer]:
    """The same on ARM: the larger ratio in 22 bits, halves away from zero."""
    ratios = np.array([a, b], np.float32) / np.float32(c)
    shift = 21 - (int(np.frexp(ratios.max())[1]) - 1)
    r, s = np.rint(ratios.astype(float) * 2.0**shift).astype(int)
    total = (A - za) * r + (B - zb) * s
    total -= total < 0
    return levels(((total + (1 << (shift - 1))) >> shift) + zc)


def product(a: float, za: int, b: float, zb: int, c: float, zc: int, *, fused: bool) -> NDArray[np.integer]:
    """mlas/lib/qlmul.cpp: the zero point is added behind a rounding on x86, in one operation on ARM."""
    ratio = np.float32(a) * np.float32(b) / np.float32(c)
    exact = ((A - za) * (B - zb)).astype(float) * float(ratio)
    return levels(np.rint(np.float32(exact + zc) if fused else np.float32(exact) + np.float32(zc)))


def differ(found: list[tuple[str, list[float]]]) -> list[int]:
    """Of all pairs of levels, how many each sum or product takes to another on another CPU."""
    counts = []
    for kind, numbers in found:
        one, other = (
            (sum_in_float32(*numbers), sum_in_integers(*numbers))  # type: ignore[arg-type]
            if kind == "QLinearAdd"
            else (product(*numbers, fused=False), product(*numbers, fused=True))  # type: ignore[arg-type]
        )
        counts.append(int((one != other).sum()))
    return counts


def test_sums_and_products_round_the_same_on_every_cpu(
    pictures: Dataset, calibration: Calibration, tmp_path: Path
) -> None:
    model = convert(examine(branching()), pictures.labels, ExportConfig())
    exact = joints(quantize(prepare(model, calibration, Int8Config())), tmp_path)
    kinds = [kind for kind, _ in exact]
    assert (kinds.count("QLinearAdd"), kinds.count("QLinearMul")) == (8, 3)
    assert sum(count > 0 for count in differ(exact)) <= 1  # of two sums that read one tensor
    loose = joints(quantize(prepare(model, calibration, Int8Config(exact_everywhere=False))), tmp_path)
    assert sum(count > 0 for count in differ(loose)) >= 4
    for (_, narrow), (_, wide) in zip(loose, exact, strict=True):
        assert np.all(np.array(wide[::2]) >= np.array(narrow[::2]) * (1 - 1e-6))  # nothing is cut off
        assert np.all(np.array(wide[::2]) <= np.array(narrow[::2]) * 1.05)


def test_what_is_small_in_its_sum_keeps_its_steps_for_other_readers() -> None:
    make = onnx.helper.make_node
    ranges = {"a": (0.0, 1e-4), "b": (0.0, 1.0), "c": (0.0, 1.0)}
    alone = onnx.helper.make_model(onnx.helper.make_graph([make("Add", ["a", "b"], ["c"])], "alone", [], []))
    assert round_the_same(alone, ranges, {})["a"][1] > 2e-4
    nodes = [make("Add", ["a", "b"], ["c"]), make("Relu", ["a"], ["d"])]
    read = onnx.helper.make_model(onnx.helper.make_graph(nodes, "read", [], []))
    assert round_the_same(read, ranges, {}) == ranges
    # As what a rectifier alone reads, and a pool that keeps its levels.
    nodes = [make("Relu", ["r"], ["s"]), make("MaxPool", ["s"], ["a"], kernel_shape=[1]), nodes[0]]
    pooled = onnx.helper.make_model(onnx.helper.make_graph(nodes, "pooled", [], []))
    found = round_the_same(pooled, {"s": (0.0, 1e-4), "b": (0.0, 1.0), "c": (0.0, 1.0)}, {"r": "s", "s": "s"})
    assert found["s"][1] > 2e-4


def test_what_has_levels_of_its_own_is_not_fitted() -> None:
    make = onnx.helper.make_node
    ranges = {"a": (0.0, 5.9), "b": (0.0, 1.0), "c": (0.0, 6.1)}
    for kind in ("Clip", "DequantizeLinear"):
        nodes = [make(kind, ["r"], ["a"]), make("Add", ["a", "b"], ["c"])]
        model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "own", [], []))
        assert round_the_same(model, ranges, {}) == ranges


@pytest.mark.parametrize("output", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(20))
def test_fitted_scales_have_no_halves(seed: int, output: float) -> None:
    """Any scales, all pairs of levels; also where the output's are far coarser."""
    rng = np.random.default_rng(seed)
    ranges = {name: (-float(rng.random()), float(10 ** rng.uniform(-1, 1))) for name in "abc"}
    ranges["c"] = (ranges["c"][0] * output, ranges["c"][1] * output)
    for kind in ("Add", "Mul"):
        graph = onnx.helper.make_graph([onnx.helper.make_node(kind, ["a", "b"], ["c"])], "joint", [], [])
        found = round_the_same(onnx.helper.make_model(graph), ranges, {})
        scales = {name: np.float32((high - low) / 255) for name, (low, high) in found.items()}
        zeros = {name: int(np.rint(-low / scales[name])) for name, (low, high) in found.items()}
        numbers = [each for name in "abc" for each in (float(scales[name]), zeros[name])]
        assert differ([(f"QLinear{kind}", numbers)]) == [0], numbers
