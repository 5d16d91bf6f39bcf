"""Which files are pictures, by their names, and which of them lie in a folder."""

from pathlib import Path

from signs_runtime.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})


def find_pictures(paths: tuple[Path, ...] | list[Path]) -> list[Path]:
    """List the files named, and in place of a folder the picture files below it, sorted.

    Raises ImageError for a path that does not exist and for a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_picture_name(p) and p.is_file())
            if not inside:
                raise ImageError(f"{path}: no pictures in this folder ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ImageError(f"{path}: no such file or folder.")
    return found


def is_picture_name(path: Path) -> bool:
    """Tell by its name whether a file is a picture: a known suffix, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
