"""Computes the machine's speed limit, from a picture's multiply-adds and bytes and the machine's rates for both."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

_SIDE = 1024  # of the matrices whose product is timed
_ROUNDS = 15


@dataclass(frozen=True)
class Limit:
    """What a picture needs, and the machine's rates on a number of threads."""

    threads: int
    multiply_adds: float  # of a picture
    weight_bytes: int
    multiply_adds_per_second: float  # measured, in products of large matrices
    bytes_per_second: float  # measured, by repeatedly reading as many bytes as the weights have

    def milliseconds(self, batch: int) -> float:
        """The least time for a picture: its sums, or its share of reading the weights once, whichever takes longer."""
        reading = self.weight_bytes / self.bytes_per_second / batch
        return 1000 * max(self.multiply_adds / self.multiply_adds_per_second, reading)


def limit_of(float32: Path, file: Path, threads: int, *, in_int8: bool) -> Limit:
    """The limit of the variant in `file`; its multiply-adds are counted in the float32 graph."""
    weight_bytes = sum(len(tensor.raw_data) for tensor in onnx.load(file).graph.initializer)
    return Limit(
        threads,
        multiply_adds(onnx.load(float32)),
        weight_bytes,
        _SIDE**3 / _fastest(_product(threads, in_int8=in_int8)),
        weight_bytes / _fastest(_reading(weight_bytes, threads)),
    )


def multiply_adds(model: onnx.ModelProto) -> float:
    """The multiply-adds of convolutions and dense layers, for one picture."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    total = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights:
            filters, *each = weights[node.input[1]]
            outputs = math.prod(shapes[node.output[0]])
            total += outputs * math.prod(each) if node.op_type == "Conv" else filters * math.prod(each)
    return total


def _product(threads: int, *, in_int8: bool) -> Callable[[], object]:
    kind, left = ("MatMulInteger", onnx.TensorProto.UINT8) if in_int8 else ("MatMul", onnx.TensorProto.FLOAT)
    given = onnx.TensorProto.INT32 if in_int8 else onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    right = rng.integers(-63, 64, (_SIDE, _SIDE)).astype(np.int8 if in_int8 else np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, ["a", "b"], ["c"])],
        "product",
        [onnx.helper.make_tensor_value_info("a", left, [_SIDE, _SIDE])],
        [onnx.helper.make_tensor_value_info("c", given, [_SIDE, _SIDE])],
        [onnx.numpy_helper.from_array(right, "b")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    a = rng.integers(0, 255, (_SIDE, _SIDE)).astype(np.uint8 if in_int8 else np.float32)
    return lambda: session.run(None, {"a": a})


def _reading(size: int, threads: int) -> Callable[[], object]:
    parts = np.array_split(np.ones(size // 8, np.uint64), threads)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.max, parts))


def _fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    run()
    taken = []
    for _ in range(_ROUNDS):
        before = time.perf_counter()
        run()
        taken.append(time.perf_counter() - before)
    return min(taken)
