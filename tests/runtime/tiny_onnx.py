"""Writes a tiny ONNX classifier without the onnx package, which an edge device does not have.

The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding), the field numbers are onnx.proto's
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The model tells a picture's colour from its mean:
softmax(sharpness * (mean red, mean green, mean blue)).
"""

import json
import struct
from collections.abc import Mapping, Sequence

FLOAT, UINT8 = 1, 2  # TensorProto.DataType


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _message(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _node(op_type: str, inputs: Sequence[str], output: str, *attributes: bytes) -> tuple[int, bytes]:
    return 1, _message(*((1, name) for name in inputs), (2, output), (4, op_type), *((5, each) for each in attributes))


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = [(1, _message((2 if isinstance(side, str) else 1, side))) for side in shape]
    return _message((1, name), (2, _message((1, _message((1, kind), (2, _message(*dims)))))))


def colour_classifier(
    labels: Sequence[str] = ("red", "green", "blue"),
    size: tuple[int, int] = (8, 6),
    *,
    sharpness: float = 0.1,
    metadata: Mapping[str, str] | None = None,
    domain: str = "",
) -> bytes:
    """A model that is sure of a pure colour; `metadata` replaces the description that a real export carries."""
    height, width = size
    if metadata is None:
        spec = {"height": height, "width": width, "colour": "RGB", "resize": "bilinear"}
        metadata = {"signs.labels": json.dumps(labels), "signs.input": json.dumps(spec)}
    scale = _message((1, 3), (2, FLOAT), (8, "sharpness"), (9, struct.pack("<3f", *[sharpness] * 3)))
    softmax = _node("Softmax", ["scores"], "probabilities", _message((1, "axis"), (3, 1), (20, 2)))
    graph = _message(
        _node("Cast", ["image"], "pixels", _message((1, "to"), (3, FLOAT), (20, 2))),
        _node(
            "ReduceMean",
            ["pixels"],
            "means",
            _message((1, "axes"), (8, 1), (8, 2), (20, 7)),
            _message((1, "keepdims"), (3, 0), (20, 2)),
        ),
        _node("Mul", ["means", "sharpness"], "scores"),
        (1, softmax[1] + (_field(7, domain) if domain else b"")),
        (2, "colours"),
        (5, scale),
        (11, _value("image", UINT8, ["batch", height, width, 3])),
        (12, _value("probabilities", FLOAT, ["batch", len(labels)])),
    )
    opset = [(8, _message((1, ""), (2, 13)))]
    properties = [(14, _message((1, key), (2, value))) for key, value in metadata.items()]
    return _message((1, 8), (2, "tests"), (7, graph), *opset, *properties)
