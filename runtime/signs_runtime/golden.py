"""The golden pictures: what a device is asked, what Keras answered, and what training saw of picture files."""

import io
import zipfile
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_runtime.errors import BundleFormatError
from signs_runtime.manifest import Manifest, check_labels

_ARRAYS = ("images", "probabilities", "labels", "files", "file_sizes", "file_images")


@dataclass(frozen=True)
class GoldenPictures:
    """Pixels with Keras's answers to them, and picture files with the pixels that training saw of them."""

    images: NDArray[np.uint8]  # (n, h, w, c)
    probabilities: NDArray[np.float32]  # (n, labels), Keras's
    labels: tuple[str, ...]  # as the data named them, in the order of the answers
    files: tuple[bytes, ...]  # m picture files
    file_images: NDArray[np.uint8]  # (m, h, w, c)


def dump_golden(golden: GoldenPictures) -> bytes:
    """Write golden pictures as an uncompressed .npz; the files' bytes are in one array, one after the other."""
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
    """Read golden pictures and hold them to their manifest: all but the labels, which the device's proof compares.

    Raises BundleFormatError.
    """
    path = manifest.golden.file.path
    try:
        arrays = _unpack(content)
    except Exception as error:  # numpy and zipfile raise whatever a damaged archive leads them to
        raise BundleFormatError(f"{path} is not a golden file ({error}).") from error
    n, m = manifest.golden.pictures, arrays["file_sizes"].size
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
        labels=_labels(arrays["labels"]),
        files=_split(arrays["files"].tobytes(), arrays["file_sizes"].tolist(), path),
        file_images=arrays["file_images"],
    )


def _unpack(content: bytes) -> dict[str, NDArray[Any]]:  # Any: of whatever dtypes the file has
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in _ARRAYS:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > len(content):  # numpy.savez does not compress
                raise ValueError(f"{name} unpacks to {size:,} bytes, more than the file has")
    arrays = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
        for name in _ARRAYS:
            array = loaded[name]
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is no array")
            arrays[name] = array
    return arrays


def _labels(array: NDArray[np.generic]) -> tuple[str, ...]:
    labels = tuple(array.tolist())
    check_labels(labels)
    return labels


def _split(content: bytes, sizes: list[int], path: str) -> tuple[bytes, ...]:
    """Part what was joined; there is at least one file."""
    if not sizes or min(sizes) < 1 or sum(sizes) != len(content):
        raise BundleFormatError(f"{path}: picture files of {sizes} bytes do not make up {len(content):,} bytes.")
    ends = list(accumulate(sizes))
    return tuple(content[end - size : end] for end, size in zip(ends, sizes, strict=True))
