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
    errors: tuple[tuple[Path, ImageError], ...] = ()  # of paths that are not there, and of folders that give nothing


def find_pictures(paths: Iterable[Path]) -> FoundPictures:
    """Take the files named as they are, and in place of a folder the picture files below it."""
    pictures: list[Path] = []
    errors: list[tuple[Path, ImageError]] = []
    others = 0
    for path in paths:
        try:
            is_folder, is_there = path.is_dir(), os.path.lexists(path)
        except OSError as error:
            errors.append((path, _unreadable(path, error)))
            continue
        if is_folder:
            found = pictures_below(path)
            pictures += found.pictures
            errors += found.errors
            others += found.others
            if not found.pictures and not found.errors:
                known = ", ".join(sorted(SUFFIXES))
                errors.append((path, ImageError(f"{path}: no pictures in this folder ({known}).")))
        elif is_there:
            pictures.append(path)
        else:
            errors.append((path, ImageError(f"{path}: no such file or folder.")))
    return FoundPictures(tuple(pictures), others, tuple(errors))


def pictures_below(folder: Path) -> FoundPictures:
    """The picture files in a folder and in all folders below it but hidden ones; links are followed.

    A folder that cannot be read is an error.
    """
    pictures: list[Path] = []
    errors: list[tuple[Path, ImageError]] = []
    others = 0
    for path in _files_below(folder, (), errors):
        if is_picture_name(path) and (path.is_file() or leads_nowhere(path)):
            pictures.append(path)
        elif not path.name.startswith("."):
            others += 1
    return FoundPictures(tuple(sorted(pictures)), others, tuple(errors))


def is_picture_name(path: Path) -> bool:
    """Tell by its name whether a file is a picture: a known suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def leads_nowhere(path: Path) -> bool:
    """Whether this is a link to what is not there, as version control of data leaves them until they are fetched."""
    return path.is_symlink() and not path.exists()


def _files_below(folder: Path, above: tuple[str, ...], errors: list[tuple[Path, ImageError]]) -> Iterator[Path]:
    """All that is no folder; `above` are the real folders that this one is in, against circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            inside = list(entries)
    except OSError as error:
        errors.append((folder, _unreadable(folder, error)))
        return
    for entry in inside:
        if not _is_folder(entry):
            yield Path(entry.path)
        elif not entry.name.startswith("."):  # hidden: thumbnails, checkpoints of notebooks
            yield from _files_below(Path(entry.path), (*above, real), errors)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path}: cannot be read ({error.strerror}).")
