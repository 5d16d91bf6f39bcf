"""The first door: a picture's bytes. Whatever they are, `read_image` gives pixels or an error of ours."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np

from signs_runtime.errors import ImageError
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image

Mutate = Callable[[bytes], bytes]

SPECS = (InputSpec(8, 6), InputSpec(5, 7, "L", "lanczos"))
_MARKS = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"P6", b"ftypavif", b"Exif\0\0")
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 9458, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def read(data: bytes) -> str:
    """Read it; returns "refused" or "read", and raises where the runtime breaks its word."""
    spec = SPECS[len(data) % 2]
    try:
        pixels = read_image(io.BytesIO(data), spec)
    except ImageError as error:
        if len(str(error)) > 1000:
            raise AssertionError(f"a message of {len(str(error))} characters") from error
        return "refused"
    if pixels.dtype != np.uint8 or pixels.shape != spec.shape:
        raise AssertionError(f"{pixels.dtype} {pixels.shape} in place of {spec.shape}")
    return "read"


def mutate(data: bytes, rng: random.Random, other: bytes, blind: Mutate) -> bytes:
    """Change a picture: blindly, number by number, chunk by chunk with the checksum right, or mix two."""
    way = rng.random()
    if data.startswith(b"\x89PNG") and way < 0.5:
        return _png(data, rng, blind)
    if way < 0.6:
        return blind(data)
    if way < 0.85 and len(data) > 8:
        return _number(data, rng)
    if way < 0.95 and other:
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_MARKS) + data[at:]


def _number(data: bytes, rng: random.Random) -> bytes:
    """Put a number that headers care for somewhere, mostly near the front."""
    form = rng.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    end = len(data) - size
    at = rng.randrange(min(end, 64) + 1) if rng.random() < 0.6 else rng.randrange(end + 1)
    return data[:at] + struct.pack(form, rng.choice(_NUMBERS) % 256**size) + data[at + size :]


def _png(data: bytes, rng: random.Random, blind: Mutate) -> bytes:
    chunks = []
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + min(length, len(data))]))
        at += 12 + length
    if not chunks:
        return blind(data)
    i = rng.randrange(len(chunks))
    kind, content = chunks[i]
    way = rng.randrange(6)
    if way == 0:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
    elif way == 1 and len(chunks) > 1:
        del chunks[i]
    elif way == 2:
        kinds = (
            b"tRNS",
            b"PLTE",
            b"eXIf",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"iCCP",
            b"zTXt",
            b"iTXt",
            b"pHYs",
            b"gAMA",
            b"IDAT",
        )
        chunks.insert(i, (rng.choice(kinds), blind(content)))
    elif way == 3 and kind == b"IDAT":
        try:
            content = zlib.compress(blind(zlib.decompress(content)[:4096]), 1)
        except zlib.error:
            content = blind(content)
        chunks[i] = (kind, content)
    else:
        chunks[i] = (kind, _number(content, rng) if len(content) > 8 and way == 4 else blind(content))
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
