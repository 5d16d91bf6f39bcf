"""The second door, in three parts: a bundle's manifest, its golden pictures and its model."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from signs_runtime.bundle.golden import parse_golden
from signs_runtime.bundle.manifest import (
    OLDEST_SCHEMA,
    Budget,
    FileRecord,
    Golden,
    Manifest,
    Parity,
    Provenance,
    Run,
    Speed,
    Variant,
    dump_manifest,
    parse_manifest,
    seals_of,
)
from signs_runtime.engine.session import import_onnxruntime
from signs_runtime.errors import SignsError
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.model_check import check_model
from signs_runtime.model_check.onnx_file import DTYPES, read_graph
from signs_runtime.model_check.operators import RULES
from signs_runtime.model_check.sizes import Walk
from signs_runtime.pictures.input_spec import InputSpec

Mutate = Callable[[bytes], bytes]

LABELS = ("red", "green", "blue")
SIDES = (8, 6)
_RECORD = FileRecord("fp32.onnx", "0" * 64, 1000)
MANIFEST = Manifest(
    schema=OLDEST_SCHEMA,
    labels=LABELS,
    input=InputSpec(*SIDES),
    variants=(
        Variant(
            "fp32",
            _RECORD,
            "float32",
            1e-5,
            Budget(1.0, 1e-5, None),
            Parity(3, (1, 2), 1e-7, 1e-7, 1e-8, 3),
            Accuracy(3, 3),
            Paired(3, 0, 0),
            in_float=("conv1",),
        ),
    ),
    golden=Golden(FileRecord("golden.npz", "1" * 64, 1000), 3),
    provenance=Provenance("colours", "0" * 64, {"test": 3}, "0" * 64, "none", None, {"numpy": "2"}),
    run=Run(
        "2026-01-01T00:00:00+00:00",
        "pytest",
        speeds={"fp32": Speed(1.0, 2, False)},
        peak_memory={"fp32": 2**27},
        documents=(FileRecord("report.html", "2" * 64, 1000),),
    ),
)
MANIFESTS = (
    ("whole", dump_manifest(MANIFEST).encode()),
    ("alone", dump_manifest(replace(MANIFEST, run=replace(MANIFEST.run, speeds={}, documents=()))).encode()),
    ("seeded", dump_manifest(replace(MANIFEST, provenance=replace(MANIFEST.provenance, seed=7))).encode()),
    ("bad_deep", b'{"schema": %d, "deep": ' % OLDEST_SCHEMA + b"[" * 900 + b"]" * 900 + b"}"),
)
# A model that is small may still compute long; what is allowed to take more than a second is not run here.
_MAX_WORK = 10**9


def _brief(error: SignsError) -> str:
    if len(str(error)) > 2000:
        raise AssertionError(f"a message of {len(str(error))} characters") from error
    return "refused"


def read_manifest(data: bytes) -> str:
    """Parse it; what passes is written as it was read."""
    try:
        manifest = parse_manifest(data)
    except SignsError as error:
        return _brief(error)
    if parse_manifest(dump_manifest(manifest).encode()) != manifest:
        raise AssertionError("what was read is not what is written")
    return "read"


def read_golden(data: bytes) -> str:
    """Parse it for a manifest of three labels and pictures of 8x6."""
    try:
        golden = parse_golden(data, MANIFEST)
    except SignsError as error:
        return _brief(error)
    if golden.images.shape != (3, *SIDES, 3) or len(golden.labels) != 3:
        raise AssertionError(f"{golden.images.shape} {golden.labels}")
    return "read"


def run_model(data: bytes) -> str:
    """Check it, and run what passes on two pictures: onnxruntime may refuse, but must not die."""
    try:
        check_model(data)
    except SignsError as error:
        return _brief(error)
    graph = read_graph(data)
    if Walk(graph, 2).walk()[1] > _MAX_WORK:
        return "large"
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's exceptions share no base class but this
        return "not loaded"
    given = {}
    for each in graph.inputs:
        shape = [2 if isinstance(side, str) else side for side in each.shape]
        size = int(np.prod(shape))
        numbers = np.arange(size, dtype=np.uint32) * 37 % 251
        given[each.name] = numbers.astype(DTYPES[each.kind]).reshape(shape)
    try:
        session.run(None, given)
    except Exception:  # as above
        return "not run"
    return "run"


_TEXTS = ("", "../x", "/etc/passwd", "a" * 5000, "\x1b[31m", "\ud800", "\u2028", "NaN", "fp32.onnx", "Ünï", "0" * 64)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    10**400,
    0.5,
    1e308,
    -0.0,
    [],
    {},
    [[]],
    *_TEXTS,
)


def mutate_manifest(data: bytes, rng: random.Random, other: bytes, blind: Mutate) -> bytes:
    """Change the JSON somewhere and seal it again, or change its bytes."""
    if rng.random() < 0.15:
        return blind(data)
    try:
        raw = json.loads(data)
        raw.pop("seal", None)
        raw.pop("run_seal", None)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            raw = _change_json(raw, rng)
        text = json.dumps({**raw, **seals_of(raw)}, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.1:
            text = text.replace('"labels"', '"labels": [], "labels"', 1)
        return text.encode("utf-8", "surrogatepass")
    except Exception:  # what blind changes made is no JSON, or cannot be sealed
        return blind(data)


def _change_json(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        way = rng.random()
        if way < 0.06:
            return {each: value[each] for each in value if each != key}
        if way < 0.1:
            return {**value, rng.choice(_TEXTS): rng.choice(_VALUES)}
        return {**value, key: _change_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        way = rng.random()
        if way < 0.1:
            return value[:i] + value[i + 1 :]
        if way < 0.3:
            return value + [value[i]] * rng.choice((1, 2, 300))
        return [*value[:i], _change_json(value[i], rng), *value[i + 1 :]]
    if rng.random() < 0.03:
        deep: Any = value
        for _ in range(rng.choice((10, 200, 900))):
            deep = [deep]
        return deep
    if isinstance(value, str) and value and rng.random() < 0.4:
        i = rng.randrange(len(value))
        return value[:i] + chr(rng.choice((0, 10, 0x41, 0x2F, 0x1F600, 0x7F, 0x85, 0x202E))) + value[i + 1 :]
    if isinstance(value, int) and rng.random() < 0.4:
        return value + rng.choice((-1, 1, 10, 10**6, -(10**6)))
    return rng.choice(_VALUES)


def mutate_golden(data: bytes, rng: random.Random, other: bytes, blind: Mutate) -> bytes:
    """Change one array inside, its header or its place in the archive; or the archive's bytes."""
    if rng.random() < 0.3:
        return blind(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                name: archive.read(name) for name in archive.namelist()[:12] if archive.getinfo(name).file_size < 10**5
            }
    except Exception:  # what blind changes made is no archive
        return blind(data)
    if not members:
        return blind(data)
    name = rng.choice(list(members))
    way = rng.random()
    content = members[name]
    if way < 0.3:
        members[name] = blind(content)
    elif way < 0.65:
        members[name] = _change_header(content, rng)
    elif way < 0.75:
        members[name] = members[rng.choice(list(members))]
    elif way < 0.8:
        members[rng.choice(("images", "x.npy", "../images.npy", "images.npy/"))] = members.pop(name)
    elif way < 0.9:
        members[name] = content[: rng.randrange(len(content) + 1)]
    else:
        members[name] = content + bytes(rng.choice((1, 100, 10_000)))
    stream = io.BytesIO()
    with zipfile.ZipFile(
        stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _change_header(content: bytes, rng: random.Random) -> bytes:
    kind = rng.choice(
        ("|u1", "<f4", "<U5", "<i8", "|O", "<U0", "<M8[s]", "|V1", "|S3", "<f2", ">u1", "u1,u1", "", "|b1", "<c16")
    )
    side = rng.choice(
        ("0", "3", "-1", "10**12", "1000000000000", "99999999999999999999", "True", "3, 8, 6, 3", "3, 3", "1,")
    )
    header = rng.choice(
        (
            f"{{'descr': '{kind}', 'fortran_order': {rng.choice(('True', 'False', '0'))}, 'shape': ({side},)}}",
            f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {'(' * rng.choice((1, 50, 5000))}",
            f"{{'descr': [('a', '{kind}')], 'fortran_order': False, 'shape': ({side})}}",
            "{" + "'a': " * 300,
            "9" * rng.choice((10, 4300, 60_000)),
            "-" * rng.choice((10, 100, 9000)) + "1",
        )
    ).encode()
    body = content[content.find(b"\n") + 1 :]
    version = rng.choice((1, 1, 2, 3, 9))
    length = (
        struct.pack("<H", len(header) + 1) if version == 1 else struct.pack("<I", rng.choice((len(header) + 1, 2**31)))
    )
    return b"\x93NUMPY" + bytes((version, 0)) + length + header + b"\n" + body


_OPERATORS = tuple(RULES)
_ATTRIBUTES = (
    *("axis", "axes", "to", "perm", "pads", "strides", "dilations", "kernel_shape", "group", "auto_pad", "ceil_mode"),
    *("keepdims", "blocksize", "mode", "equation", "epsilon", "alpha", "beta", "size", "num_groups", "value"),
    *("value_ints", "coordinate_transformation_mode", "nearest_mode", "output_shape", "output_padding", "transA"),
    *("transB", "count_include_pad", "allowzero", "fmod", "exclusive", "reverse", "batch_dims", "start", "end", "p"),
    *("saturate", "select_last_index", "noop_with_empty_axes", "approximate", "stash_type", "storage_order"),
)
_WORDS = (
    *_OPERATORS,
    *_ATTRIBUTES,
    "image",
    "x",
    "y",
    "pixels",
    "scores",
    "probabilities",
    "",
    "batch",
    "SAME_UPPER",
    "reflect",
    "linear",
    "cubic",
    "DCR",
    "bhwc,bhwc->bc",
    "bhwc->bc",
)
_INTEGERS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    16,
    17,
    64,
    255,
    1000,
    65536,
    10**6,
    2**31 - 1,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64 - 2,
    2**64 - 8,
)

Fields = list[tuple[int, int, Any]]  # number, wire type, and a number, bytes or the fields of a message


def mutate_model(data: bytes, rng: random.Random, other: bytes, blind: Mutate) -> bytes:
    """Change fields of the model, or put some of another in; lengths are made to fit again. Rarely its bytes."""
    fields = _parse(data)
    if fields is None or rng.random() < 0.05:
        return blind(data)
    stock = _lists(_parse(other) or [])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = [each for each in _lists(fields) if each]
        if places:
            _change_fields(rng.choice(places), rng, stock, blind)
    return _write(fields)


def _parse(data: bytes, depth: int = 0) -> Fields | None:
    """The fields of a message; None for what is none."""
    fields: Fields = []
    at, end = 0, len(data)
    while at < end:
        tag, at = _take(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, at = _take(data, at)
        elif wire == 5:
            value, at = data[at : at + 4], at + 4
        elif wire == 2:
            length, at = _take(data, at)
            value, at = data[at : at + length], at + length
            if depth < 7 and len(value) > 1 and not value.isalnum():
                value = _parse(value, depth + 1) or value
        else:
            return None
        if not 0 < number < 40 or at > end:
            return None
        fields.append((number, wire, value))
    return fields


def _take(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
    return 0, len(data) + 1


def _write(fields: Fields) -> bytes:
    parts = []
    for number, wire, value in fields:
        parts.append(_varint(number << 3 | wire))
        if wire == 0:
            parts.append(_varint(value))
        elif wire == 5:
            parts.append(value)
        else:
            content = _write(value) if isinstance(value, list) else value
            parts += [_varint(len(content)), content]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _lists(fields: Fields) -> list[Fields]:
    found = [fields]
    for _, _, value in fields:
        if isinstance(value, list):
            found += _lists(value)
    return found


def _copy(field: tuple[int, int, Any]) -> tuple[int, int, Any]:
    number, wire, value = field
    return number, wire, [_copy(each) for each in value] if isinstance(value, list) else value


def _change_fields(fields: Fields, rng: random.Random, stock: list[Fields], blind: Mutate) -> None:
    i = rng.randrange(len(fields))
    number, wire, value = fields[i]
    way = rng.random()
    if way < 0.08:
        del fields[i]
    elif way < 0.16:
        fields.insert(rng.randrange(len(fields) + 1), _copy(fields[i]))
    elif way < 0.24:
        spare = rng.choice(stock)
        same = [each for each in spare if each[0] == number and each[1] == wire]
        if same:
            fields[i] = _copy(rng.choice(same))
        elif spare:
            fields.insert(i, _copy(rng.choice(spare)))
    elif way < 0.28:
        fields.insert(i, (rng.randrange(1, 30), 0, rng.choice(_INTEGERS)))
    elif way < 0.32:
        attribute: Fields = [
            (1, 2, rng.choice(_ATTRIBUTES).encode()),
            (20, 0, 7),
            *((8, 0, rng.choice(_INTEGERS)) for _ in range(rng.choice((1, 2, 4, 8)))),
        ]
        if rng.random() < 0.5:
            attribute = [(1, 2, rng.choice(_ATTRIBUTES).encode()), (20, 0, 2), (3, 0, rng.choice(_INTEGERS))]
        fields.append((5, 2, attribute))
    elif wire == 0:
        fields[i] = (number, 0, rng.choice(_INTEGERS) if rng.random() < 0.7 else (value + rng.choice((-1, 1))) % 2**64)
    elif wire == 5:
        fields[i] = (
            number,
            5,
            struct.pack("<f", rng.choice((0.0, 1.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), 0.5))),
        )
    elif isinstance(value, bytes):
        if len(value) in (4, 8, 12, 16, 24, 32, 64) and rng.random() < 0.6:
            numbers = bytearray(value)
            size = 8 if len(value) % 8 == 0 and rng.random() < 0.7 else 4
            at = rng.randrange(len(value) // size) * size
            numbers[at : at + size] = (rng.choice(_INTEGERS) % 256**size).to_bytes(size, "little")
            fields[i] = (number, 2, bytes(numbers))
        else:
            fields[i] = (number, 2, rng.choice(_WORDS).encode() if rng.random() < 0.7 else blind(value))
    else:
        fields.append(fields.pop(rng.randrange(len(fields))))
