"""Finds the picture files in folders by their names, with the same rule for data and predictions."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from signs_runtime.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})


@dataclass(frozen=True)
class FoundPictures:
    """The picture files of some folders; a link counts as its target, and a broken link as a picture."""

    pictures: tuple[Path, ...]  # sorted, folder by folder
    others: int  # files without a picture's name, hidden ones not counted
    errors: tuple[
        tuple[Path, ImageError], ...
    ] = ()  # missing paths, and folders that cannot be read or have no pictures


def find_pictures(paths: Iterable[Path]) -> FoundPictures:
    """Take each named file as it is, and replace each folder by the picture files below it."""
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
    """Find the picture files in a folder and all folders below it, except hidden ones; links are followed.

    A folder that cannot be read is listed as an error.
    """
    pictures: list[Path] = []
    errors: list[tuple[Path, ImageError]] = []
    others = 0
    for path in _files_below(folder, (), errors):
        if _is_picture(path, SUFFIXES):
            pictures.append(path)
        elif not path.name.startswith("."):
            others += 1
    return FoundPictures(tuple(sorted(pictures)), others, tuple(errors))


def walk_pictures(
    folder: Path, errors: list[tuple[Path, ImageError]], suffixes: frozenset[str] = SUFFIXES
) -> Iterator[Path]:
    """Yield the files that `pictures_below` finds, in the order of their names, one folder's in memory at a time.

    Folders that cannot be read are added to `errors`.
    """
    return (path for path in _files_below(folder, (), errors) if _is_picture(path, suffixes))


def is_picture_name(path: Path, suffixes: frozenset[str] = SUFFIXES) -> bool:
    """Whether a file is a picture by its name: it has a known suffix and is not hidden."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def _is_picture(path: Path, suffixes: frozenset[str]) -> bool:
    return is_picture_name(path, suffixes) and (path.is_file() or leads_nowhere(path))


def leads_nowhere(path: Path) -> bool:
    """Whether this is a broken link, which version control of data leaves until the file is fetched."""
    return path.is_symlink() and not path.exists()


def _files_below(folder: Path, above: tuple[str, ...], errors: list[tuple[Path, ImageError]]) -> Iterator[Path]:
    """Everything below a folder that is not a folder; `above` are the folders around it, to detect cycles of links."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
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
