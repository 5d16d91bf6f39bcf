"""The golden pictures: images with Keras's answers, and picture files with the pixels that training saw."""

import io
import math
import re
import sys
import zipfile
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.manifest import MAX_GOLDEN_PICTURES, Manifest, check_labels
from signs_runtime.bundle.strict_json import brief
from signs_runtime.errors import BundleFormatError
from signs_runtime.labels import Thresholds

_ARRAYS = ("images", "probabilities", "labels", "files", "file_sizes", "file_images")


@dataclass(frozen=True)
class GoldenPictures:
    """Images with Keras's answers to them, and picture files with the pixels that training saw."""

    images: NDArray[np.uint8]  # (n, h, w, c)
    probabilities: NDArray[np.float32]  # (n, labels), Keras's
    labels: tuple[str, ...]  # the data's, in the order of the answers
    files: tuple[bytes, ...]  # m picture files
    file_images: NDArray[np.uint8]  # (m, h, w, c)
    thresholds: Thresholds = ()  # the manifest's


def dump_golden(golden: GoldenPictures) -> bytes:
    """Write golden pictures as an uncompressed .npz; one array holds the bytes of all files, one after the other."""
    stream = io.BytesIO()
    np.savez(
        stream,
        images=golden.images,
        probabilities=golden.probabilities,
        labels=np.array(golden.labels),
        files=np.frombuffer(b"".join(golden.files), np.uint8),
        file_sizes=np.array([len(file) for file in golden.files], np.int64),
        file_images=golden.file_images,
    )
    return stream.getvalue()


def parse_golden(content: bytes, manifest: Manifest) -> GoldenPictures:
    """Read golden pictures and check them against the manifest, except the labels: the device's proof compares those.

    Raises BundleFormatError.
    """
    path = manifest.golden.file.path
    try:
        arrays = _unpack(content)
    except Exception as error:  # numpy and zipfile raise all kinds of errors for a damaged archive
        raise BundleFormatError(f"{path} is not a file of golden pictures ({error!s:.200}).") from error
    n, m = manifest.golden.pictures, arrays["file_sizes"].size
    if m > MAX_GOLDEN_PICTURES:
        raise BundleFormatError(f"{path}: {m:,} golden picture files exceed the limit of {MAX_GOLDEN_PICTURES:,}.")
    shape, labels = manifest.input.shape, len(manifest.labels)
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "images": (np.uint8, (n, *shape)),
        "probabilities": (np.float32, (n, labels)),
        "labels": (np.str_, (labels,)),
        "files": (np.uint8, (arrays["files"].size,)),
        "file_sizes": (np.int64, (m,)),
        "file_images": (np.uint8, (m, *shape)),
    }
    for name, (kind, size) in expected.items():
        array = arrays[name]
        if array.dtype.type is not kind or array.shape != size:
            raise BundleFormatError(
                f"{path}: the golden {name} must be {kind.__name__} {size}, not {array.dtype} {array.shape}."
            )
    return GoldenPictures(
        images=arrays["images"],
        probabilities=arrays["probabilities"],
        labels=_labels(arrays["labels"], path),
        files=_split(arrays["files"].tobytes(), arrays["file_sizes"].tolist(), path),
        file_images=arrays["file_images"],
        thresholds=manifest.thresholds,
    )


def _unpack(content: bytes) -> dict[str, NDArray[Any]]:  # Any: of whatever dtypes the file has
    """The arrays of an .npz as numpy.savez writes it; the archive's claims about itself are not trusted."""
    if content[-22:-18] != _END or content[-42:-38] == _END_64 or content[-12:-10] != bytes([len(_ARRAYS), 0]):
        raise ValueError(f"it is not an archive of {len(_ARRAYS)} arrays")
    arrays, left = {}, len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in _ARRAYS:
            member = archive.getinfo(f"{name}.npy")
            left -= member.file_size
            if left < 0 or member.compress_type != zipfile.ZIP_STORED:  # numpy.savez does not compress
                raise ValueError(f"{name} unpacks to {member.file_size:,} bytes, more than the file has")
            arrays[name] = _parse_array(archive.read(member))
    return arrays


_END, _END_64 = b"PK\5\6", b"PK\6\7"  # the end records of an archive's directory; zipfile would prefer the second


def _parse_array(content: bytes) -> NDArray[Any]:  # Any: of whatever dtype it is
    """Read an .npy with a header as numpy writes it (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

    numpy itself would evaluate the header as a Python expression of any depth.
    """
    found = _HEADER.match(content)
    if found is None:
        raise ValueError("an array's header is not as numpy writes it")
    kind, order, sides = (group.decode() for group in found.groups())
    shape = tuple(int(side) for side in sides.split(",") if side.strip())
    dtype = np.dtype(kind)
    if len(content) - found.end() != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(content) - found.end():,} bytes")
    flat = np.frombuffer(content, dtype, math.prod(shape), found.end())
    return flat.reshape(shape, order="F" if order == "True" else "C")


_HEADER = re.compile(
    rb"\x93NUMPY[\1-\3]\0.{2,4}?\{'descr': '([<|][uifU]\d{1,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,12}, ?){0,8}(?:\d{1,12})?)\), \} *\n",
    re.DOTALL,
)


def _labels(array: NDArray[np.str_], path: str) -> tuple[str, ...]:
    if array.size and array.view(np.uint32).max() > sys.maxunicode:  # numpy would turn them into broken strings
        raise BundleFormatError(f"{path}: a golden label holds an invalid character.")
    labels = tuple(array.tolist())
    check_labels(labels)
    return labels


def _split(content: bytes, sizes: list[int], path: str) -> tuple[bytes, ...]:
    """Split the joined files again; there is at least one."""
    if not sizes or min(sizes) < 1 or sum(sizes) != len(content):
        raise BundleFormatError(
            f"{path}: the sizes of the picture files, {brief(sizes)}, do not add up to {len(content):,} bytes."
        )
    ends = list(accumulate(sizes))
    return tuple(content[end - size : end] for end, size in zip(ends, sizes, strict=True))
