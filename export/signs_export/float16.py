"""float32 ONNX to float16, weights and arithmetic, by onnxruntime's converter: half the bytes, and what GPUs like."""

import copy
import warnings

import onnx


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Halve a model; its input stays uint8, its softmax and its output float32."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights too small for float16, which the gate judges
        converted = convert_float_to_float16(
            copy.deepcopy(model), keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, "Softmax"]
        )
    ordered = ONNXModel(converted)
    ordered.topological_sort()  # the converter appends its casts
    halved: onnx.ModelProto = ordered.model
    return halved
