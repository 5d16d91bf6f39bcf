"""Which files are pictures, by their names, and which lie in a folder: the one rule for data and predictions."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from signs_runtime.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True)
class FoundPictures:
    """The picture files of some folders; links count as what they lead to, and those that lead nowhere as pictures."""

    pictures: tuple[Path, ...]  # sorted, folder by folder
    others: int  # files that are no pictures by their names, hidden ones apart
    errors: tuple[tuple[Path, ImageError], ...] = ()  # of paths that are not there, and of folders without pictures


def find_pictures(paths: Iterable[Path]) -> FoundPictures:
    """Take the files named as they are, and in place of a folder the picture files below it."""
    pictures: list[Path] = []
    errors: list[tuple[Path, ImageError]] = []
    others = 0
    for path in paths:
        if path.is_dir():
            found = pictures_below(path)
            pictures += found.pictures
            others += found.others
            if not found.pictures:
                errors.append(
                    (path, ImageError(f"{path}: no pictures in this folder ({', '.join(sorted(SUFFIXES))})."))
                )
        elif os.path.lexists(path):
            pictures.append(path)
        else:
            errors.append((path, ImageError(f"{path}: no such file or folder.")))
    return FoundPictures(tuple(pictures), others, tuple(errors))


def pictures_below(folder: Path) -> FoundPictures:
    """The picture files in a folder and in all folders below it but hidden ones; links are followed."""
    pictures: list[Path] = []
    others = 0
    for path in _files_below(folder, ()):
        if is_picture_name(path):
            pictures.append(path)
        elif not path.name.startswith("."):
            others += 1
    return FoundPictures(tuple(sorted(pictures)), others)


def is_picture_name(path: Path) -> bool:
    """Tell by its name whether a file is a picture: a known suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def leads_nowhere(path: Path) -> bool:
    """Whether this is a link to what is not there, as version control of data leaves them until they are fetched."""
    return path.is_symlink() and not path.exists()


def _files_below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Regular files and links that lead nowhere; `above` are the real folders that this one is in, against circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name.startswith("."):  # thumbnails, checkpoints of notebooks
                    continue
                yield from _files_below(Path(entry.path), (*above, real))
            elif entry.is_file() or leads_nowhere(Path(entry.path)):
                yield Path(entry.path)
