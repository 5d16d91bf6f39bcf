"""The Open Inference Protocol, version 2, over HTTP: JSON, and its extensions for binary tensors and classification.

https://github.com/open-inference/open-inference-protocol, and for the extensions
https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.onnx_metadata import INPUT, OUTPUT
from signs_runtime.bundle.strict_json import brief
from signs_runtime.pictures.input_spec import InputSpec

HEADER_LENGTH = "inference-header-content-length"
PICTURE = "picture"  # an input of encoded picture files, instead of the graph's own input of pixels
EXTENSIONS = ("binary_tensor_data", "classification")
_MOST_AXES = 4
_MOST_SIDE = 2**31
Json = dict[str, Any]  # Any: JSON


class ProtocolError(ValueError):
    """The request is not one of the protocol, or does not fit the model."""


@dataclass(frozen=True)
class Asked:
    """A request: pixels or files, and the form in which the answer is wanted."""

    id: str | None
    images: NDArray[np.uint8] | None  # (n, height, width, channels)
    files: tuple[bytes, ...]  # of encoded pictures, if `images` is None
    is_binary: bool
    classes: int  # labels for each picture instead of all probabilities; 0: probabilities


def parse_request(body: bytes, header_length: str | None, spec: InputSpec, most: int) -> Asked:
    """Read the body of an inference request for at most `most` pictures. Raises ProtocolError."""
    length = len(body) if header_length is None else _whole_number(header_length, f"The header {HEADER_LENGTH}")
    if length > len(body):
        raise ProtocolError(f"The header {HEADER_LENGTH} is {length}, but the body has only {len(body)} bytes.")
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The request is not valid JSON ({error}).") from None
    if not isinstance(document, dict):
        raise ProtocolError("The request must be a JSON object with inputs.")
    own = document.get("id")
    if own is not None and not isinstance(own, str):
        raise ProtocolError(f"The id must be a text, not {brief(own)}.")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ProtocolError(f"The request must have one input, {INPUT!r} or {PICTURE!r}.")
    tensor = inputs[0]
    raw = _raw(tensor, body[length:])
    images: NDArray[np.uint8] | None = None
    files: tuple[bytes, ...] = ()
    if tensor.get("name") == INPUT:
        images = _pixels(tensor, raw, spec, most)
    elif tensor.get("name") == PICTURE:
        files = _files(tensor, raw, most)
    else:
        raise ProtocolError(f"The input must be named {INPUT!r} or {PICTURE!r}, not {brief(tensor.get('name'))}.")
    return Asked(own, images, files, *_form(document))


def make_response(
    asked: Asked, name: str, version: str, labels: Sequence[str], probabilities: NDArray[np.float32]
) -> tuple[bytes, dict[str, str]]:
    """The body of the answer and its headers; `probabilities` is (n, labels)."""
    output: Json
    if asked.classes:
        k = min(asked.classes, len(labels))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
        said = [f"{row[i]:f}:{i}:{labels[i]}" for row, best in zip(probabilities, order, strict=True) for i in best]
        output = {"name": OUTPUT, "datatype": "BYTES", "shape": [len(probabilities), k]}
        encoded = [each.encode() for each in said]
        raw = b"".join(struct.pack("<I", len(each)) + each for each in encoded)
        values: list[Any] = said  # Any: texts or numbers
    else:
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
        raw = probabilities.astype("<f4").tobytes()
        values = [] if asked.is_binary else probabilities.ravel().tolist()
    output |= {"parameters": {"binary_data_size": len(raw)}} if asked.is_binary else {"data": values}
    document = {"model_name": name, "model_version": version, "outputs": [output]}
    text = json.dumps(document if asked.id is None else {**document, "id": asked.id}).encode()
    if asked.is_binary:
        return text + raw, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return text, {"content-type": "application/json"}


def describe_model(name: str, version: str, spec: InputSpec, labels: Sequence[str]) -> Json:
    """The model's metadata, as the protocol has it, with more keys; -1 stands for the number of pictures."""
    return {
        "name": name,
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *spec.shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(labels)]}],
        "or_input": {"name": PICTURE, "datatype": "BYTES", "shape": [-1]},
        "labels": list(labels),
        "reading": spec.describe(),
    }


def _raw(tensor: Json, rest: bytes) -> bytes | None:
    """The tensor's bytes behind the JSON; None if its data are in the JSON."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    if size is None:
        if rest:
            raise ProtocolError(f"{len(rest)} bytes follow the JSON, but the input has no binary_data_size.")
        return None
    if type(size) is not int or size != len(rest):
        raise ProtocolError(f"binary_data_size is {brief(size)}, but {len(rest)} bytes follow the JSON.")
    return rest


def _pixels(tensor: Json, raw: bytes | None, spec: InputSpec, most: int) -> NDArray[np.uint8]:
    shape = _shape(tensor, "UINT8", most)
    if shape[1:] != spec.shape:
        raise ProtocolError(f"Images must be of shape [n, {', '.join(map(str, spec.shape))}], not {list(shape)}.")
    count = math.prod(shape)
    if raw is None:
        try:
            raw = bytes(_numbers(tensor.get("data"), count))
        except (TypeError, ValueError):  # not a number, or outside 0 to 255
            raise ProtocolError(f"The data of {INPUT!r} must be whole numbers from 0 to 255.") from None
    if len(raw) != count:
        raise ProtocolError(f"The input {INPUT!r} has {len(raw)} numbers, but its shape is {list(shape)}.")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _numbers(data: object, most: int) -> Iterator[int]:
    """The numbers of nested lists, in order, and at most one more than `most`. Raises TypeError for anything else."""
    left = [iter(data)] if isinstance(data, list) else []
    if not left:
        raise TypeError
    count = 0
    while left:
        for each in left[-1]:
            if isinstance(each, list):
                if len(left) >= _MOST_AXES:
                    raise TypeError
                left.append(iter(each))
                break
            if type(each) is not int:
                raise TypeError
            yield each
            count += 1
            if count > most:
                return
        else:
            left.pop()


def _files(tensor: Json, raw: bytes | None, most: int) -> tuple[bytes, ...]:
    shape = _shape(tensor, "BYTES", most)
    if raw is None:
        raise ProtocolError(f"The input {PICTURE!r} must be sent as binary data; JSON cannot hold files.")
    files: list[bytes] = []
    at = 0
    while at < len(raw) and len(files) <= most:
        if at + 4 > len(raw) or (end := at + 4 + struct.unpack_from("<I", raw, at)[0]) > len(raw):
            raise ProtocolError(f"The data of {PICTURE!r} end in the middle of an element.")
        files.append(raw[at + 4 : end])
        at = end
    if math.prod(shape) != shape[0] or len(files) != shape[0]:
        raise ProtocolError(f"The input {PICTURE!r} has {len(files)} elements, but its shape is {list(shape)}.")
    return tuple(files)


def _shape(tensor: Json, datatype: str, most: int) -> tuple[int, ...]:
    name = tensor["name"]
    if tensor.get("datatype") != datatype:
        raise ProtocolError(f"The datatype of {name!r} must be {datatype}, not {brief(tensor.get('datatype'))}.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= _MOST_AXES:
        raise ProtocolError(f"The shape of {name!r} must be a list of 1 to {_MOST_AXES} numbers, not {brief(shape)}.")
    if any(type(side) is not int or not 1 <= side < _MOST_SIDE for side in shape):
        raise ProtocolError(f"The shape of {name!r} must be a list of numbers from 1, not {brief(shape)}.")
    if shape[0] > most:
        raise ProtocolError(f"A request may have {most} pictures, not {shape[0]}. Send several requests.")
    return tuple(shape)


def _form(document: Json) -> tuple[bool, int]:
    """Whether the answer is binary, and how many labels for each picture it has (0: all probabilities)."""
    parameters = document.get("parameters")
    is_binary = bool(parameters.get("binary_data_output")) if isinstance(parameters, Mapping) else False
    outputs = document.get("outputs", [])
    if not isinstance(outputs, list) or len(outputs) > 1 or not all(isinstance(each, dict) for each in outputs):
        raise ProtocolError(f"The request may ask for one output, {OUTPUT!r}.")
    classes = 0
    for each in outputs:
        if each.get("name") != OUTPUT:
            raise ProtocolError(f"The output must be named {OUTPUT!r}, not {brief(each.get('name'))}.")
        own = each.get("parameters")
        if isinstance(own, Mapping):
            is_binary = bool(own.get("binary_data", is_binary))
            classes = _whole_number(own.get("classification", 0), "classification")
    return is_binary, classes


def _whole_number(value: object, what: str) -> int:
    text = str(value) if type(value) in (int, str) else ""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ProtocolError(f"{what} must be a whole number from 0, not {brief(value)}.")
    return int(text)
