"""Looks for room before long work, not after it, and puts files into place whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_builder.errors import DiskFullError


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise OSError where `folder` cannot be made or written to, DiskFullError where its disk lacks the room."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable", str(folder))
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DiskFullError(
            f"The disk of {folder} is full: {free / 1e6:,.0f} MB are free and about "
            f"{needed_bytes / 1e6:,.0f} MB are needed. Free some space or choose another place."
        )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a file name beside `path`, with its ending, that becomes `path` at the end or vanishes with any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
