"""Tables of the fields of an ONNX file: those that are read, and those that are refused by name.

The wire format is protobuf's (https://protobuf.dev/programming-guides/encoding), the fields are onnx.proto's
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIRES = {"int": VARINT, "float": FIXED32, "text": BYTES, "bytes": BYTES}

# message -> field number -> name and kind. A star: repeated. "bytes" (messages and data) are not read at once.
FIELDS: dict[str, dict[int, str]] = {
    "model": {
        1: "ir_version int",
        2: "producer_name text",
        3: "producer_version text",
        4: "domain text",
        5: "model_version int",
        6: "doc_string text",
        7: "graph bytes",
        8: "opset_import bytes*",
        14: "metadata_props bytes*",
    },
    "opset import": {1: "domain text", 2: "version int"},
    "metadata entry": {1: "key text", 2: "value text"},
    "graph": {
        1: "node bytes*",
        2: "name text",
        5: "initializer bytes*",
        10: "doc_string text",
        11: "input bytes*",
        12: "output bytes*",
        13: "value_info bytes*",
        14: "quantization_annotation bytes*",
        16: "metadata_props bytes*",
    },
    "annotation": {1: "tensor_name text", 2: "parameters bytes*"},
    "node": {
        1: "input text*",
        2: "output text*",
        3: "name text",
        4: "op_type text",
        5: "attribute bytes*",
        6: "doc_string text",
        7: "domain text",
        9: "metadata_props bytes*",
    },
    "attribute": {
        1: "name text",
        2: "f float",
        3: "i int",
        4: "s bytes",
        5: "t bytes",
        7: "floats float*",
        8: "ints int*",
        9: "strings bytes*",
        13: "doc_string text",
        20: "type int",
    },
    "tensor": {
        1: "dims int*",
        2: "data_type int",
        4: "float_data float*",
        5: "int32_data int*",
        7: "int64_data int*",
        8: "name text",
        9: "raw_data bytes",
        12: "doc_string text",
        14: "data_location int",
        16: "metadata_props bytes*",
    },
    "value": {1: "name text", 2: "type bytes", 3: "doc_string text", 4: "metadata_props bytes*"},
    "type": {1: "tensor_type bytes", 6: "denotation text"},
    "tensor type": {1: "elem_type int", 2: "shape bytes"},
    "shape": {1: "dim bytes*"},
    "dimension": {1: "dim_value int", 2: "dim_param text", 3: "denotation text"},
}
REFUSED = {  # message and field number -> what the field would add
    ("model", 20): "training information",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse weights",
    ("attribute", 6): "a graph inside a node (control flow)",
    ("attribute", 11): "graphs inside a node (control flow)",
    ("attribute", 21): "a reference to a function's attribute",
    ("attribute", 22): "sparse weights",
    ("attribute", 23): "sparse weights",
    ("tensor", 6): "strings in place of numbers",
    ("tensor", 13): "weights outside the file (external data)",
}


def _tags(fields: dict[int, str]) -> dict[int, tuple[str, str, bool]]:
    """Map each tag, which precedes a field in the file, to the field's name, its kind, and whether it may repeat."""
    tags = {}
    for number, text in fields.items():
        name, kind = text.split()
        repeated, kind = kind.endswith("*"), kind.rstrip("*")
        tags[number << 3 | _WIRES[kind]] = (name, kind, repeated)
        if repeated and kind in ("int", "float"):
            tags[number << 3 | BYTES] = (name, f"packed {kind}", True)
    return tags


TAGS = {message: _tags(fields) for message, fields in FIELDS.items()}
NO_FIELDS: dict[str, Any] = {
    message: {name: [] for name, _, repeated in tags.values() if repeated} for message, tags in TAGS.items()
}
ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}  # AttributeProto.AttributeType
