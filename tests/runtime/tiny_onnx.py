"""Writes tiny ONNX classifiers without the onnx package, which an edge device does not have.

The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding), the field numbers are onnx.proto's
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import json
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLOAT, UINT8, INT8, INT32, INT64 = 1, 2, 3, 6, 7  # TensorProto.DataType
_KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int8): INT8}
_KINDS |= {np.dtype(np.int32): INT32, np.dtype(np.int64): INT64}

Field = tuple[int, int | float | str | bytes]
Attribute = int | float | str | Sequence[int] | NDArray[np.generic]


def varint(value: int) -> bytes:
    """A number of 64 bits, seven at a time."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message; text and bytes are also messages inside it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(*fields: Field) -> bytes:
    """A message of these fields."""
    return b"".join(field(number, value) for number, value in fields)


def tensor(name: str, values: ArrayLike, *fields: Field) -> bytes:
    """Weights: raw bytes in a shape; `fields` come on top."""
    array = np.asarray(values)
    kind = _KINDS[array.dtype]
    return message(*((1, side) for side in array.shape), (2, kind), (8, name), (9, array.tobytes()), *fields)


def attribute(name: str, value: Attribute) -> bytes:
    """An attribute of a node, of the type of its value."""
    if isinstance(value, int):
        return message((1, name), (3, value), (20, 2))
    if isinstance(value, float):
        return message((1, name), (2, value), (20, 1))
    if isinstance(value, str):
        return message((1, name), (4, value), (20, 3))
    if isinstance(value, np.ndarray):
        return message((1, name), (5, tensor("", value)), (20, 4))
    return message((1, name), *((8, each) for each in value), (20, 7))


def node(op_type: str, inputs: str, outputs: str, *fields: Field, **attributes: Attribute) -> bytes:
    """An operator; names are separated by spaces, and "-" is an input that is not given."""
    return message(
        *((1, "" if name == "-" else name) for name in inputs.split()),
        *((2, name) for name in outputs.split()),
        (4, op_type),
        *((5, attribute(name, value)) for name, value in attributes.items()),
        *fields,
    )


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """An input or output of the graph."""
    dims = [(1, message((2 if isinstance(side, str) else 1, side))) for side in shape]
    return message((1, name), (2, message((1, message((1, kind), (2, message(*dims)))))))


def model(
    nodes: Sequence[bytes],
    weights: Mapping[str, ArrayLike] | None = None,
    *,
    shape: Sequence[int | str] = ("batch", 8, 6, 3),
    labels: int = 3,
    opset: int = 17,
    graph_fields: Sequence[Field] = (),
    fields: Sequence[Field] = (),
) -> bytes:
    """A model from `image`, uint8, to `probabilities`, float32 (batch, labels); the fields come on top."""
    graph = message(
        *((1, each) for each in nodes),
        (2, "tiny"),
        *((5, tensor(name, array)) for name, array in (weights or {}).items()),
        (11, value("image", UINT8, shape)),
        (12, value("probabilities", FLOAT, ["batch", labels])),
        *graph_fields,
    )
    return message((1, 8), (2, "tests"), (7, graph), (8, message((1, ""), (2, opset))), *fields)


def colour_classifier(
    labels: Sequence[str] = ("red", "green", "blue"),
    size: tuple[int, int] = (8, 6),
    *,
    sharpness: float = 0.1,
    metadata: Mapping[str, str] | None = None,
    domain: str = "",
) -> bytes:
    """A model that is sure of a pure colour: softmax(sharpness * (mean red, mean green, mean blue)).

    `metadata` replaces the description that a real export carries.
    """
    height, width = size
    if metadata is None:
        spec = {"height": height, "width": width, "colour": "RGB", "resize": "bilinear"}
        metadata = {"signs.labels": json.dumps(labels), "signs.input": json.dumps(spec)}
    return model(
        [
            node("Cast", "image", "pixels", to=FLOAT),
            node("ReduceMean", "pixels", "means", axes=[1, 2], keepdims=0),
            node("Mul", "means sharpness", "scores"),
            node("Softmax", "scores", "probabilities", *([(7, domain)] if domain else []), axis=1),
        ],
        {"sharpness": np.full(3, sharpness, np.float32)},
        shape=["batch", height, width, 3],
        labels=len(labels),
        opset=13,
        fields=[(14, message((1, key), (2, text))) for key, text in metadata.items()],
    )


def picture_classifier(*between: bytes, weights: Mapping[str, ArrayLike] | None = None, opset: int = 17) -> bytes:
    """A model whose nodes `between` take `x`, float32 (batch, 3, 8, 6), to `y` of three channels."""
    return model(
        [
            node("Cast", "image", "pixels", to=FLOAT),
            node("Transpose", "pixels", "x", perm=[0, 3, 1, 2]),
            *between,
            node("GlobalAveragePool", "y", "pooled"),
            node("Flatten", "pooled", "scores"),
            node("Softmax", "scores", "probabilities"),
        ],
        weights,
        opset=opset,
    )
