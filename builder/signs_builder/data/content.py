"""What pictures are by their content: copies of each other, and turned by their EXIF or not."""

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
    """How many of `pictures` also occur among `others`: files byte for byte, pixels value for value."""
    own, theirs = [(each, _size(each)) for each in pictures], [(each, _size(each)) for each in others]
    sizes = {size for _, size in own} & {size for _, size in theirs} - {None}  # nothing else need be read
    there = {*_digests(each for each, size in theirs if size in sizes)} - {None}
    return sum(digest in there for digest in _digests(each for each, size in own if size in sizes))


def count_repeated(pictures: Iterable[Picture]) -> int:
    """How many of `pictures` occur more than once among them."""
    own = [(each, _size(each)) for each in pictures]
    sizes = Counter(size for _, size in own)
    digests = Counter(_digests(each for each, size in own if size is not None and sizes[size] > 1))
    return sum(count for digest, count in digests.items() if digest is not None and count > 1)


def count_turned(pictures: Sequence[Path]) -> int:
    """How many files have an EXIF orientation that turns or mirrors them; of each the header is read."""
    with ThreadPoolExecutor() as pool:
        return sum(pool.map(_is_turned, pictures))


def _is_turned(picture: Path) -> bool:
    try:
        with decode(picture) as image:
            return orientation_of(image) != 1
    except (
        Exception
    ):  # damaged EXIF raises whatever its bytes lead to; a bad picture is named by whoever reads it whole
        return False


def _size(picture: Picture) -> int | None:
    """Bytes; None where a file cannot be read."""
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
    """A digest of a picture's content; None where a file cannot be read."""
    if isinstance(picture, np.ndarray):
        return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).digest()
    try:
        with picture.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
