"""The pictures that the tiny model tells apart, and records of files."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.manifest import FileRecord

LABELS = ("red", "green", "blue")
SIZE = (8, 6)  # height, width
PURE = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def record(folder: Path, name: str) -> FileRecord:
    content = (folder / name).read_bytes()
    return FileRecord(name, hashlib.sha256(content).hexdigest(), len(content))


def plain(colour: str, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.full((*size, 3), PURE[colour], np.uint8)
