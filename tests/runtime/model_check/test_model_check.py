"""A model passes a strict reader before onnxruntime sees a byte of it."""

import time

import numpy as np
import onnxruntime
import pytest

from signs_runtime import BundleFormatError
from signs_runtime.model_check import check_model
from signs_runtime.model_check.onnx_file import MAX_FIELDS

from ..tiny_onnx import (
    FLOAT,
    attribute,
    colour_classifier,
    field,
    message,
    model,
    node,
    picture_classifier,
    tensor,
    value,
)

WHOLE = colour_classifier()
RELU = node("Relu", "x", "y")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def refused(content: bytes, words: str) -> None:
    with pytest.raises(BundleFormatError, match=words) as caught:
        check_model(content)
    assert len(str(caught.value)) < 1000


def test_models_like_those_that_are_exported_pass_and_run() -> None:
    for content in (WHOLE, picture_classifier(RELU), picture_classifier(node("HardSwish", "x", "y"))):
        check_model(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (answer,) = session.run(None, {"image": np.zeros((2, 8, 6, 3), np.uint8)})
        assert np.allclose(answer.sum(axis=1), 1, atol=1e-5)


def test_weights_are_skipped_by_their_length() -> None:
    content = picture_classifier(node("Conv", "x w", "y"), weights={"w": np.zeros((3, 3, 1, 1), np.float32)})
    large = picture_classifier(RELU, weights={"unused": np.zeros(2**23, np.float32)})
    check_model(content)
    start = time.process_time()
    check_model(large)
    assert time.process_time() - start < 0.1  # 32 MiB; measured 0.5 ms


def test_a_file_cut_inside_a_field_is_refused() -> None:
    passed = []
    for end in range(len(WHOLE)):
        try:
            check_model(WHOLE[:end])
            passed.append(end)
        except BundleFormatError:
            pass
    assert len(passed) == 2  # without one or both of the entries that say what the model is


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no graph"),
        (b"not a model", "does not know|claims"),
        (WHOLE + b"\0", "field 0"),
        (WHOLE + b"\x3a", "ends in the middle"),
        (WHOLE + field(7, b""), "two of graph"),
        (WHOLE + field(8, message((1, "ai.onnx"), (2, 13))), "operators are of version"),
        (WHOLE + field(1, 8), "two of ir_version"),
        (WHOLE + field(39, 1), "field 39"),
        (WHOLE + field(5, b"text"), "field 5 of wire type 2"),
        (WHOLE + field(2, b"\xff"), "two of producer_name|UTF-8"),
        (WHOLE + b"\x28" + b"\xff" * 10 + b"\1", "64 bits"),
        (WHOLE + b"\x28" + b"\xff" * 9 + b"\x7f", "64 bits"),
        (WHOLE + b"\x3a\xff\xff\xff\xff\x0f", "claims 4,294,967,295 bytes"),
        (WHOLE + field(25, message((1, "mine"))), "functions of its own"),
        (WHOLE + field(20, b""), "training information"),
        (WHOLE + field(14, message((1, b"\xff"))), "UTF-8"),
        (WHOLE + field(14, message((1, "key"), (3, "more"))), "field 3"),
        (WHOLE + field(14, b"") * MAX_FIELDS, "more than 1,000,000 fields"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_that_is_not_plain_onnx_is_refused(content: bytes, words: str) -> None:
    refused(content, words)


@pytest.mark.parametrize(
    ("graph_fields", "words"),
    [
        ([(15, b"")], "sparse weights"),
        ([(5, message((1, 3), (2, FLOAT), (8, "w"), (13, message((1, "location"), (2, "/etc/passwd")))))], "external"),
        ([(5, message((1, 3), (2, FLOAT), (8, "w"), (14, 1)))], "outside the file"),
        ([(5, tensor("w", floats(3), (4, b"\0" * 12)))], "hold 12 bytes"),
        ([(5, message((1, 3), (2, FLOAT), (8, "w"), (9, b"\0" * 8)))], "hold 8 bytes, but their shape needs 12"),
        ([(5, message((1, 2**40), (1, 2**40), (2, FLOAT), (8, "w"), (9, b"")))], "have the shape"),
        ([(5, message((1, -1), (2, FLOAT), (8, "w"), (9, b"")))], "have the shape"),
        ([(5, message((1, 3), (2, 8), (8, "w"), (6, b"text")))], "strings"),
        ([(5, message((1, 3), (2, 16), (8, "w"), (9, b"\0" * 6)))], "element type 16"),
        ([(5, message((1, 2), (2, 3), (8, "w"), (5, 1000), (5, 0)))], "do not fit their type"),
        ([(5, tensor("x", floats(3)))], "stands for two values"),
        ([(5, tensor("image", floats(3)))], "stands for two values"),
        ([(12, value("nothing", FLOAT, [1]))], "no node makes its outputs"),
        ([(11, value("more", FLOAT, ["batch", "open"]))], "of shape"),
        ([(11, value("more", FLOAT, [2**40]))], "of shape"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_graph_with_weights_or_values_out_of_the_ordinary_is_refused(
    graph_fields: list[tuple[int, bytes]], words: str
) -> None:
    nodes = [node("Cast", "image", "x", to=FLOAT), node("ReduceMean", "x", "probabilities", axes=[1, 2], keepdims=0)]
    check_model(model(nodes))
    refused(model(nodes, graph_fields=graph_fields), words)


def with_attribute(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    return node("Relu", "x", "y", (5, message(*fields)))


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (node("Relu", "x", "y", (7, "com.microsoft")), "com.microsoft'.Relu, which is outside the ONNX standard"),
        (node("If", "x", "y", (5, message((1, "then_branch"), (6, b""), (20, 5)))), "control flow"),
        (node("Loop", "x", "y", (5, message((1, "body"), (11, b""), (20, 10)))), "control flow"),
        (node("Scan", "x", "y"), "uses 'Scan', which no exported classifier does"),
        (node("StringNormalizer", "x", "y"), "uses 'StringNormalizer'"),
        (node("RandomUniform", "", "y", shape=[10**6, 10**6]), "uses 'RandomUniform'"),
        (with_attribute((1, "a"), (22, b""), (20, 11)), "sparse"),
        (with_attribute((1, "a"), (21, "outer"), (20, 1)), "function's attribute"),
        (with_attribute((1, "a"), (3, 1), (20, 1)), "of type 1 holds"),
        (node("Relu", "x", "y", (5, attribute("a", 1)), (5, attribute("a", 1))), "attribute twice"),
        (node("Relu", "later", "y"), "no earlier node makes"),
        (node("Relu", "y", "y"), "no earlier node makes"),
        (node("Relu", "x", "x"), "stands for two values"),
        (node("Relu", "x", "y z"), "too many outputs"),
        (
            node("Constant", "", "y", (5, message((1, "value"), (20, 4), (5, message((1, 1), (2, 1), (14, 1)))))),
            "outside",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_node_that_no_exported_classifier_has_is_refused(between: bytes, words: str) -> None:
    refused(picture_classifier(between), words)


def constant(name: str, shape: list[int]) -> list[bytes]:
    return [node("Constant", "", f"{name}_shape", value=ints(*shape)), node("ConstantOfShape", f"{name}_shape", name)]


@pytest.mark.parametrize(
    ("between", "weights", "words"),
    [
        ([*constant("c", [10**9]), node("Mul", "x c", "y")], {}, "expands the constants"),
        (
            [node("Add", "a b", "c"), node("Mul", "x c", "y")],
            {"a": floats(30_000, 1), "b": floats(1, 30_000)},
            "expands the constants",
        ),
        (
            [node("Range", "a b c", "r"), node("Mul", "x r", "y")],
            {"a": ints(0), "b": ints(10**9), "c": ints(1)},
            "expands the constants",
        ),
        ([node("Tile", "x r", "y")], {"r": ints(1, 1, 10**4, 10**4)}, "memory for one picture"),
        ([node("Tile", "x r", "y")], {"r": ints(1, 1, 2**62, 2**62)}, "memory for one picture"),
        ([node("Expand", "x r", "y")], {"r": ints(2**24, 3, 8, 6)}, "memory for one picture"),
        ([node("Resize", "x - s", "y")], {"s": np.array([1, 1, 1e4, 1e4], np.float32)}, "memory for one picture"),
        ([node("Resize", "x - - s", "y")], {"s": ints(1, 3, 10**5, 10**5)}, "memory for one picture"),
        ([node("Pad", "x p", "y")], {"p": ints(0, 0, 10**5, 0, 0, 0, 0, 10**5)}, "memory for one picture"),
        ([node("Pad", "x p", "y")], {"p": ints(0, 0, -9, 0, 0, 0, 0, 0)}, "cuts"),
        ([node("Gather", "x i", "y", axis=3)], {"i": np.zeros(2**23, np.int64)}, "memory for one picture"),
        (
            [
                node("Concat", " ".join(["x"] * 999), f"c{i}" if i < 3 else "y", axis=3)
                if i == 0
                else node("Concat", " ".join([f"c{i - 1}"] * 999), f"c{i}" if i < 3 else "y", axis=3)
                for i in range(4)
            ],
            {},
            "memory for one picture",
        ),
        (
            [node("Div", "a b", "c"), node("Cast", "c", "d", to=FLOAT), node("Mul", "x d", "y")],
            {"a": ints(-(2**63)), "b": ints(-1)},
            "0 or -1",
        ),
        (
            [node("Mod", "a b", "c"), node("Cast", "c", "d", to=FLOAT), node("Mul", "x d", "y")],
            {"a": ints(1), "b": ints(0)},
            "0 or -1",
        ),
        ([node("Cast", "x", "i", to=6), node("Div", "i i", "y")], {}, "unknown before it runs"),
        ([node("DepthToSpace", "x", "y", blocksize=2**31 - 1)], {}, "blocks of"),
        ([node("DepthToSpace", "x", "y", blocksize=2**33)], {}, "blocksize="),
        ([node("ConvTranspose", "x w", "y", group=0)], {"w": floats(3, 3, 2, 2)}, "0 groups"),
        ([node("Conv", "x w", "y", group=0)], {"w": floats(3, 3, 2, 2)}, "0 groups"),
        ([node("Conv", "x w", "y", dilations=[2**31 - 1, 1])], {"w": floats(3, 3, 2, 2)}, "slides a window"),
        ([node("Conv", "x w", "y", pads=[10**5] * 4)], {"w": floats(3, 3, 2, 2)}, "memory for one picture"),
        ([node("MaxPool", "x", "y", kernel_shape=[0, 0])], {}, "less than one"),
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[2, 0, 0, 0])], {}, "slides a window"),
        ([node("Conv", "x w", "y")], {"w": floats(0, 3, 2, 2)}, "weights without any number"),
        ([node("Softmax", "x", "s", axis=1), node("LRN", "s", "y", size=2)], {}, "has size 2"),
        ([node("Sum", " ".join(["x"] * 1001), "y")], {}, "more than 1,000 inputs"),
        (
            [node("Tile", "x r", "t"), node("MaxPool", "t", "y", kernel_shape=[50, 50])],
            {"r": ints(1, 1, 300, 300)},
            "work for one picture",
        ),
        (
            [node("Tile", "x r", "t"), node("Conv", "t w", "y")],
            {"r": ints(1, 1, 500, 500), "w": floats(3, 3, 3, 3)},
            "memory for one picture",
        ),
        (
            [
                node("DynamicQuantizeLinear", "x", "q s z"),
                node("Tile", "q r", "t"),
                node("ConvInteger", "t w z", "c"),
                node("Cast", "c", "y", to=FLOAT),
            ],
            {"r": ints(1, 1, 150, 150), "w": np.ones((3, 3, 9, 9), np.int8)},
            "memory for one picture",
        ),
        ([node("Constant", "", "c", value_ints="reflect"), node("Relu", "x", "y")], {}, "holds 'value_ints'"),
        ([node("Shape", "x", "s"), node("Gather", "s i", "y")], {"i": floats(1)}, "not integers"),
        ([node("GatherND", "x i", "y")], {"i": np.array(1)}, "takes 0 of"),
        ([node("Split", "x s", "y", axis=0)], {"s": np.zeros(0, np.int64)}, "without any number"),
        ([node("Reshape", "x s", "y")], {"s": ints(-1, 5)}, "turns"),
        ([node("Slice", "x a b c", "y")], {"a": ints(9), "b": ints(9), "c": ints(2)}, "makes a value of shape"),
        ([node("Einsum", "x x", "y", equation="abcd,efgh->abcdefgh")], {}, "shape|memory"),
        ([node("MatMul", "x w", "z"), node("MatMul", "z v", "y")], {"w": floats(6, 2**18), "v": floats(2**18, 1)}, ""),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_graph_that_would_take_too_much_or_end_the_process_is_refused(
    between: list[bytes], weights: dict[str, np.ndarray], words: str
) -> None:
    content = picture_classifier(*between, weights=weights)
    if words:
        refused(content, words)
    else:
        check_model(content)


def test_work_without_end_is_refused() -> None:
    square = {"w": floats(3000, 3000)}
    products = [node("MatMul", "w w", "p0"), *(node("MatMul", f"p{i} w", f"p{i + 1}") for i in range(99))]
    end = [node("ReduceMean", "p99", "r", keepdims=0), node("Mul", "x r", "y")]
    refused(picture_classifier(*products, *end, weights=square), "more than 274,877,906,944")


def test_memory_counts_only_while_a_value_is_read() -> None:
    wide = {"r": ints(1, 1, 500, 500)}  # 144 MB
    chain = [
        node("Tile", "x r", "t0"),
        *(node("Relu", f"t{i}", f"t{i + 1}") for i in range(20)),
        node("Relu", "t20", "y"),
    ]
    check_model(picture_classifier(*chain, weights=wide))
    kept = [node("Sum", " ".join(f"t{i}" for i in range(21)), "y")]
    refused(picture_classifier(*chain[:-1], *kept, weights=wide), "memory for one picture")


@pytest.mark.parametrize(
    "between",
    [
        [node("Shape", "x", "s"), node("Tile", "x s", "y")],
        [
            node("Shape", "x", "s"),
            node("Gather", "s i", "n", axis=0),
            node("Concat", "n n n n", "r", axis=0),
            node("Tile", "x r", "y"),
        ],
        [
            node("Transpose", "x", "t", perm=[3, 1, 2, 0]),
            node("Concat", "t t", "u", axis=3),
            node("MatMul", "u v", "y"),
        ],
    ],
)
def test_pictures_that_multiply_each_other_are_refused(between: list[bytes]) -> None:
    with pytest.raises(BundleFormatError):
        check_model(picture_classifier(*between, weights={"i": ints(0), "v": floats(4, 1)}))


def test_names_in_messages_are_cut() -> None:
    refused(picture_classifier(node("R" * 10**6, "x", "y")), "which no exported classifier does")
    refused(picture_classifier(node("Relu", "n" * 10**6, "y")), "no earlier node makes")


def test_a_graph_of_many_nodes_is_checked_in_time_or_refused() -> None:
    def chain(n: int) -> list[bytes]:
        return [node("Relu", f"t{i}" if i else "x", f"t{i + 1}" if i < n - 1 else "y") for i in range(n)]

    start = time.process_time()
    check_model(picture_classifier(*chain(9_000)))
    assert time.process_time() - start < 5  # measured 0.4
    refused(picture_classifier(*chain(20_000)), "20,005 nodes")


def recurrent(op: str, gates: int, *, hidden: int = 3, direction: str = "forward", rows: int = 6) -> bytes:
    """A classifier that reads a picture row by row: (rows, pictures, columns) into a recurrent layer."""
    directions = 2 if direction == "bidirectional" else 1
    return model(
        [
            node("Cast", "image", "pixels", to=FLOAT),
            node("ReduceMean", "pixels", "grey", axes=[3], keepdims=0),
            node("Transpose", "grey", "rows", perm=[1, 0, 2]),
            node(op, "rows w r", "all last", hidden_size=hidden, direction=direction),
            node("ReduceSum", "last axis", "scores", keepdims=0),
            node("Softmax", "scores", "probabilities", axis=1),
        ],
        {
            "w": 0.01 * np.ones((directions, gates * hidden, rows), np.float32),
            "r": 0.01 * np.ones((directions, gates * 3, 3), np.float32),
            "axis": np.array([0], np.int64),
        },
        shape=["batch", 8, 6, 3],
        labels=3,
    )


@pytest.mark.parametrize(("op", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_pass_and_run_and_are_bounded(op: str, gates: int, direction: str) -> None:
    content = recurrent(op, gates, direction=direction)
    check_model(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": np.zeros((2, 8, 6, 3), np.uint8)})
    assert answer.shape == (2, 3)
    refused(recurrent(op, gates, direction=direction, rows=7), "gets")
    refused(recurrent(op, gates, direction=direction, hidden=2**20), "gets")
    refused(recurrent(op, gates, direction="sideways"), "0 directions")


def test_the_largest_numbers_pass_and_no_more_than_there_are() -> None:
    def largest(count: int) -> bytes:
        return model(
            [
                node("Cast", "image", "pixels", to=FLOAT),
                node("ReduceMean", "pixels", "grey", axes=[2, 3], keepdims=0),
                node("TopK", "grey k", "scores places"),
                node("Softmax", "scores", "probabilities", axis=1),
            ],
            {"k": np.array([count], np.int64)},
            shape=["batch", 8, 6, 3],
            labels=3,
        )

    check_model(largest(3))
    session = onnxruntime.InferenceSession(largest(3), providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": np.zeros((2, 8, 6, 3), np.uint8)})[0].shape == (2, 3)
    refused(largest(9), "takes 9 of 8 numbers")
    refused(largest(2**40), "takes")
