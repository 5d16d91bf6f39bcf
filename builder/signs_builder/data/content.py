"""Finds copies among pictures, by their content, and pictures that their EXIF orientation rotates."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.pictures.orientation import orientation_of
from signs_runtime.pictures.read import decode

Picture = Path | NDArray[np.uint8]


def count_copies(pictures: Iterable[Picture], others: Iterable[Picture]) -> int:
    """Count the `pictures` that also occur among `others`; files are compared by bytes, pixels by values."""
    own, theirs = [(each, _size(each)) for each in pictures], [(each, _size(each)) for each in others]
    sizes = {size for _, size in own} & {size for _, size in theirs} - {None}  # only files of these sizes can be copies
    there = {*_digests(each for each, size in theirs if size in sizes)} - {None}
    return sum(digest in there for digest in _digests(each for each, size in own if size in sizes))


def count_repeated(pictures: Iterable[Picture]) -> int:
    """Count the `pictures` that occur more than once."""
    own = [(each, _size(each)) for each in pictures]
    sizes = Counter(size for _, size in own)
    digests = Counter(_digests(each for each, size in own if size is not None and sizes[size] > 1))
    return sum(count for digest, count in digests.items() if digest is not None and count > 1)


def count_turned(pictures: Sequence[Path]) -> int:
    """Count the files whose EXIF orientation rotates or mirrors them. Reads only the headers."""
    with ThreadPoolExecutor() as pool:
        return sum(pool.map(_is_turned, pictures))


def _is_turned(picture: Path) -> bool:
    try:
        with decode(picture) as image:
            return orientation_of(image) != 1
    except Exception:  # damaged EXIF can raise anything; a bad picture is reported when it is read whole
        return False


def _size(picture: Picture) -> int | None:
    """Size in bytes; None if the file cannot be read."""
    if isinstance(picture, np.ndarray):
        return picture.nbytes
    try:
        return picture.stat().st_size
    except OSError:
        return None


def _digests(pictures: Iterable[Picture]) -> Iterable[bytes | None]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_digest, pictures))


def _digest(picture: Picture) -> bytes | None:
    """Digest of a picture's content; None if the file cannot be read."""
    if isinstance(picture, np.ndarray):
        return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).digest()
    try:
        with picture.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
