"""Converts a graph from float32 to float16 with onnxruntime's converter: half the bytes, and fast on GPUs."""

import copy
import warnings

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.numpy_helper import to_array

from signs_export.onnx_graph import inner_values

LARGEST = float(np.finfo(np.float16).max)  # 65504


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a model to float16; its input stays uint8, its softmax and its output stay float32."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about weights too small for float16, which the gate judges
        converted = convert_float_to_float16(
            copy.deepcopy(model), keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Softmax"]
        )
    ordered = ONNXModel(converted)
    ordered.topological_sort()  # the converter appends its casts at the end
    halved: onnx.ModelProto = ordered.model
    return halved


def beyond_float16(model: onnx.ModelProto, images: NDArray[np.uint8]) -> str:
    """A description of a number too large for float16 that a float32 model holds or computes on these images, or "".

    `images` are pixels (n, h, w, c).
    """
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and (largest := _largest(to_array(tensor))) > LARGEST:
            return f"the constant {tensor.name} is {largest:.3g}"
    names = [name for node in model.graph.node for name in node.output if name]
    for values in inner_values(model, names, images):
        for name, each in values.items():
            if each.dtype == np.float32 and (largest := _largest(each)) > LARGEST:
                return f"{name} reaches {largest:.3g}"
    return ""


def _largest(values: NDArray[np.generic]) -> float:
    return float(np.abs(values.astype(np.float64)).max(initial=0.0))
