"""Puts a folder into place whole: written beside its destination, made durable, exchanged in one step."""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_builder.model_file import check_room
from signs_export.errors import ExportError, ParityError
from signs_runtime.bundle import MANIFEST

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def check_destination(destination: Path, needed_bytes: int) -> None:
    """Refuse, before any long work, a destination that holds something else or a disk without room.

    Raises ExportError and DiskFullError.
    """
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise ExportError(f"{destination} is not a folder; choose another -o.")
    if destination.is_dir() and any(destination.iterdir()) and not (destination / MANIFEST).is_file():
        raise ExportError(f"{destination} holds files and is not a bundle; it is not overwritten. Choose another -o.")
    check_room(destination.parent, needed_bytes)


@contextmanager
def sealed_folder(destination: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `destination` at the end, or vanishes with any error.

    After a ParityError it is kept aside as `<destination>.failed`.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = destination.with_name(f".{destination.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed and had our number
    work.mkdir()
    try:
        yield work
        _make_durable(work)
        _put_into_place(work, destination)
    except ParityError:
        aside = failed_folder(destination)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(work, aside)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def failed_folder(destination: Path) -> Path:
    """Where a bundle that failed its gate is kept for a look."""
    return destination.with_name(f"{destination.name}.failed")


def _make_durable(folder: Path) -> None:
    """Have the bytes on the disk before the name points to them, in case the power fails."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_into_place(work: Path, destination: Path) -> None:
    """Rename `work` to `destination`; an old folder there ends up at `work`, to be removed."""
    if not destination.exists():
        os.rename(work, destination)
    elif not _exchange(work, destination):
        # No atomic exchange on this system: for an instant the destination is missing, but the old bundle is whole.
        old = work.with_name(f"{work.name}.old")
        os.rename(destination, old)
        os.rename(work, destination)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (renameat2(2), Linux); False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        rename = libc.renameat2
    except AttributeError:
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
