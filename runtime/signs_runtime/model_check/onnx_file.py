"""Reads an ONNX file strictly, without onnx or protobuf, and refuses anything that no exported classifier has.

Fields (`onnx_fields`), operators and element types that are not listed are refused. Weights are skipped by their
length, so that the check takes milliseconds for any size.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from signs_runtime.errors import BundleFormatError
from signs_runtime.model_check.onnx_fields import ATTRIBUTES, NO_FIELDS, REFUSED, TAGS

MAX_BYTES = 2**31 - 1  # protobuf's own limit
MAX_FIELDS = 1_000_000  # keeps reading under a second; ResNet-50 has 3,400, in int8 9,300, DenseNet-121 12,000
MAX_NODES = 10_000  # ConvNeXt-Tiny has 990; onnxruntime loads 10,000 convolutions in 3 s
MAX_TENSORS = 20_000  # in the file; onnxruntime loads 60,000 in 5 s
MAX_ARGUMENTS = 1000  # of a node; onnxruntime needs 24 s to load a sum of 100,000
MAX_RANK = 8  # dimensions of a value
OPSETS = range(13, 22)  # the versions whose shape rules `sizes` follows; exports have 17
IR_VERSIONS = range(4, 14)  # before 4, weights had to be inputs too
STANDARD_DOMAINS = ("", "ai.onnx")
_MAX_TYPED = 65_536  # values that a tensor may hold in a typed field; more must be raw bytes

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, BOOL, FLOAT16, DOUBLE, UINT32, UINT64 = (*range(1, 8), *range(9, 14))
DTYPES: dict[int, np.dtype[Any]] = {  # TensorProto.DataType, without strings, complex numbers and less than 8 bits
    FLOAT: np.dtype("<f4"),
    UINT8: np.dtype("u1"),
    INT8: np.dtype("i1"),
    UINT16: np.dtype("<u2"),
    INT16: np.dtype("<i2"),
    INT32: np.dtype("<i4"),
    INT64: np.dtype("<i8"),
    BOOL: np.dtype("?"),
    FLOAT16: np.dtype("<f2"),
    DOUBLE: np.dtype("<f8"),
    UINT32: np.dtype("<u4"),
    UINT64: np.dtype("<u8"),
}

Span = tuple[int, int]  # a position in the file: from, to


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers in the file: raw bytes at a position in it, or a few values in a typed field."""

    name: str
    kind: int  # a key of DTYPES
    shape: tuple[int, ...]
    raw: Span | None
    values: tuple[float, ...]  # if there are no raw bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One operator with its attributes as Python has them: numbers, text, tensors, and tuples of numbers."""

    op: str
    inputs: tuple[str, ...]  # "": omitted
    outputs: tuple[str, ...]
    attributes: dict[str, Any]  # Any: as above


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the graph; an open dimension has a name in place of a number."""

    name: str
    kind: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """The parts of a model that define what it computes."""

    content: bytes
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]

    @cached_property
    def is_quantized(self) -> bool:
        """Whether any node computes in 8 bits."""
        return any("Quantize" in node.op or "Integer" in node.op or "QLinear" in node.op for node in self.nodes)

    def array(self, tensor: Tensor) -> NDArray[Any]:  # Any: of the tensor's dtype
        """The numbers of a tensor; raw ones are not copied."""
        dtype = DTYPES[tensor.kind]
        if tensor.raw is None:
            bits = np.array(tensor.values, np.uint16 if tensor.kind == FLOAT16 else dtype)
            return bits.view(dtype).reshape(tensor.shape)
        count = prod(tensor.shape)
        return np.frombuffer(self.content, dtype, count, tensor.raw[0]).reshape(tensor.shape)


def read_graph(content: bytes) -> Graph:
    """Read the graph of an ONNX file and check the file's format. Raises BundleFormatError."""
    if len(content) > MAX_BYTES:
        refuse(f"it has {len(content):,} bytes, more than the {MAX_BYTES:,} that protobuf allows")
    try:
        return _Reader(content).graph()
    except (IndexError, struct.error):
        refuse("it ends in the middle of a field")
    except UnicodeDecodeError as error:
        refuse(f"a name in it is not UTF-8 ({error.reason})")
    except (OverflowError, ValueError) as error:
        if isinstance(error, BundleFormatError):
            raise
        refuse(f"a number in it does not fit its type ({error})")


class ModelRefusedError(BundleFormatError):
    """The model is not one that a device runs; the error's only argument is the evidence, such as an operator."""

    def __str__(self) -> str:
        return f"The model is not one that signs-edge exports: {self.args[0]}. Copy the bundle again from its source."


def refuse(evidence: str) -> NoReturn:
    """Raise ModelRefusedError; the evidence is cut, because it may quote long names from the file."""
    raise ModelRefusedError(evidence[:500])


class _Reader:
    """Parses a file by the tables of `onnx_fields`, and counts the fields."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.left = MAX_FIELDS

    def graph(self) -> Graph:
        model = self.read("model", (0, len(self.content)))
        if "graph" not in model:
            refuse("it has no graph, so it is not an ONNX file")
        if model.get("ir_version") not in IR_VERSIONS:
            refuse(f"its format version is {model.get('ir_version')}, not {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}")
        opsets = [self.read("opset import", span) for span in model["opset_import"]]
        versions = {each.get("domain", ""): each.get("version", 0) for each in opsets}
        if foreign := versions.keys() - set(STANDARD_DOMAINS):
            refuse(f"it needs operators of {sorted(foreign)!r:.200}, outside the ONNX standard")
        if len(opsets) != 1 or next(iter(versions.values())) not in OPSETS:
            refuse(f"its operators are of version {list(versions.values())!r:.100}, not {OPSETS[0]} to {OPSETS[-1]}")
        self.metadata(model)
        return self._graph(self.read("graph", model["graph"]))

    def _graph(self, graph: dict[str, Any]) -> Graph:  # Any: by the tables
        self.metadata(graph)
        for field, most in (("node", MAX_NODES), ("initializer", MAX_TENSORS), ("value_info", 2 * MAX_NODES)):
            if len(graph[field]) > most:
                refuse(f"it has {len(graph[field]):,} {field}s, more than {most:,}")
        for span in graph["quantization_annotation"]:
            for parameter in self.read("annotation", span)["parameters"]:
                self.read("metadata entry", parameter)
        for span in (*graph["value_info"], *graph["output"]):
            self.value(span)
        return Graph(
            self.content,
            tuple(map(self.value, graph["input"])),
            tuple(self.value(span).name for span in graph["output"]),
            tuple(map(self.tensor, graph["initializer"])),
            tuple(map(self.node, graph["node"])),
        )

    def read(self, message: str, span: Span) -> dict[str, Any]:  # Any: by the tables
        """The fields of a message by name, each of its kind; a field that may repeat is a list."""
        content, tags, left = self.content, TAGS[message], self.left
        found: dict[str, Any] = {name: [] for name in NO_FIELDS[message]}
        at, end = span
        while at < end:
            tag = content[at]
            at += 1
            if tag > 0x7F:
                tag, at = self.varint(at - 1)
            if tag not in tags:
                self.refuse_field(message, tag)
            name, kind, repeated = tags[tag]
            left -= 1
            value: Any
            if kind == "int":
                value = content[at]
                at += 1
                if value > 0x7F:
                    value, at = self.varint(at - 1)
                    value -= (value >> 63) << 64
            elif kind == "float":
                (value,) = struct.unpack_from("<f", content, at)
                at += 4
            else:
                length = content[at]
                at += 1
                if length > 0x7F:
                    length, at = self.varint(at - 1)
                if length > end - at:
                    refuse(f"the {name} of a {message} claims {length:,} bytes, but {max(0, end - at):,} are left")
                value = content[at : at + length].decode() if kind == "text" else (at, at + length)
                at += length
            if not repeated:
                if name in found:
                    refuse(f"a {message} has two of {name}")
                found[name] = value
            elif kind == "packed int":
                numbers = self.packed(value)
                left -= len(numbers)
                found[name] += numbers
            elif kind == "packed float":
                found[name] += struct.unpack(f"<{(value[1] - value[0]) / 4:.0f}f", content[value[0] : value[1]])
            else:
                found[name].append(value)
            if left < 0:
                refuse(f"it has more than {MAX_FIELDS:,} fields")
        if at > end:
            refuse(f"a {message} is longer than it claims")
        self.left = left
        return found

    def packed(self, span: Span) -> list[int]:
        at, end = span
        if end - at > 10 * _MAX_TYPED:
            refuse(f"a list of numbers takes {end - at:,} bytes; so many must be raw bytes")
        if (part := self.content[at:end]).isascii():  # each in one byte: zero points
            return list(part)
        numbers = []
        value = shift = 0
        for byte in part:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if value >> 64:
                    refuse("a number in it has more than 64 bits")
                numbers.append(value - ((value >> 63) << 64))
                value = shift = 0
            elif shift > 63:
                refuse("a number in it has more than 64 bits")
        if shift:
            refuse("a list of numbers ends in the middle of one")
        return numbers

    def varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self.content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                refuse("a number in it has more than 64 bits")
        if value >> 64:
            refuse("a number in it has more than 64 bits")
        return value, at

    def refuse_field(self, message: str, tag: int) -> NoReturn:
        if what := REFUSED.get((message, tag >> 3)):
            refuse(f"it has {what}")
        refuse(f"a {message} has field {tag >> 3} of wire type {tag & 7}, which this runtime does not know")

    def metadata(self, holder: dict[str, Any]) -> None:  # Any: by the tables
        for span in holder["metadata_props"]:
            self.read("metadata entry", span)

    def value(self, span: Span) -> Input:
        value = self.read("value", span)
        self.metadata(value)
        name = value.get("name", "")
        tensor_type = self.read("tensor type", self._part("type", value, "type", "tensor_type", name))
        kind = tensor_type.get("elem_type")
        if kind not in DTYPES:
            refuse(f"{name!r:.100} is of element type {kind}, which this runtime does not accept")
        if "shape" not in tensor_type:
            return Input(name, kind, ("unknown",) * (MAX_RANK + 1))
        dims = [self.read("dimension", each) for each in self.read("shape", tensor_type["shape"])["dim"]]
        return Input(name, kind, tuple(each.get("dim_value", each.get("dim_param", "")) for each in dims))

    def _part(self, message: str, holder: dict[str, Any], field: str, inner: str, name: str) -> Span:  # Any: as read
        part = self.read(message, holder[field]) if field in holder else {}
        if inner not in part:
            refuse(f"{name!r:.100} is not a tensor")
        span: Span = part[inner]
        return span

    def tensor(self, span: Span) -> Tensor:
        tensor = self.read("tensor", span)
        self.metadata(tensor)
        name, kind, shape = tensor.get("name", ""), tensor.get("data_type"), tuple(tensor["dims"])
        if tensor.get("data_location", 0) != 0:
            refuse(f"the weights {name!r:.100} lie outside the file (external data)")
        if kind not in DTYPES:
            refuse(f"the weights {name!r:.100} are of element type {kind}, which this runtime does not accept")
        if len(shape) > MAX_RANK or any(not 0 <= side <= MAX_BYTES for side in shape):
            refuse(f"the weights {name!r:.100} have the shape {shape!r:.200}")
        count, raw = prod(shape), tensor.get("raw_data")
        typed = {field: tensor[field] for field in ("float_data", "int32_data", "int64_data") if tensor[field]}
        size = count * DTYPES[kind].itemsize
        if raw is not None:
            if typed or raw[1] - raw[0] != size:
                refuse(f"the weights {name!r:.100} hold {raw[1] - raw[0]:,} bytes, but their shape needs {size:,}")
            return Tensor(name, kind, shape, raw, ())
        field = {FLOAT: "float_data", INT64: "int64_data"}.get(kind, "int32_data")
        values = tuple(typed.pop(field, ()))
        if typed or len(values) != count or count > _MAX_TYPED or kind in (DOUBLE, UINT32, UINT64):
            refuse(f"the weights {name!r:.100} hold {len(values):,} values, but their shape {shape} needs {count:,}")
        if kind != FLOAT and values:
            limits = np.iinfo(np.uint16 if kind == FLOAT16 else np.uint8 if kind == BOOL else DTYPES[kind])
            if min(values) < limits.min or max(values) > limits.max:
                refuse(f"the weights {name!r:.100} hold numbers that do not fit their type")
        return Tensor(name, kind, shape, None, values)

    def node(self, span: Span) -> Node:
        node = self.read("node", span)
        self.metadata(node)
        op = node.get("op_type", "")
        if node.get("domain", "") not in STANDARD_DOMAINS:
            refuse(f"it uses {node['domain']!r:.100}.{op:.100}, which is outside the ONNX standard")
        attributes = dict(map(self.attribute, node["attribute"]))
        if len(attributes) != len(node["attribute"]):
            refuse(f"a {op:.100} has an attribute twice")
        if max(len(node["input"]), len(node["output"])) > MAX_ARGUMENTS:
            refuse(f"a {op:.100} has more than {MAX_ARGUMENTS:,} inputs or outputs")
        return Node(op, tuple(node["input"]), tuple(node["output"]), attributes)

    def attribute(self, span: Span) -> tuple[str, Any]:  # Any: as Node says
        attribute = self.read("attribute", span)
        name, kind = attribute.get("name", ""), attribute.get("type")
        field = ATTRIBUTES.get(kind or 0)
        given = [key for key in ATTRIBUTES.values() if attribute.get(key) not in (None, [])]
        if field is None or any(key != field for key in given):
            refuse(f"the attribute {name!r:.100} of type {kind} holds {given}")
        value: Any = attribute.get(field, 0 if field in ("i", "f") else (0, 0))
        if field == "t":
            return name, self.tensor(value)
        if field == "s":
            return name, self.text(value)
        if field == "strings":
            return name, tuple(map(self.text, value))
        return name, tuple(value) if isinstance(value, list) else value

    def text(self, span: Span) -> str:
        return self.content[slice(*span)].decode()


def names(values: Iterable[str]) -> str:
    """Names for an error message, cut to one line."""
    return f"{', '.join(map(repr, values)):.200}"
