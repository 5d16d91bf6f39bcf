"""Looks for room before long work, not after it, puts files into place whole, and knows what stands in for files."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_builder.errors import DiskFullError
from signs_runtime.pictures.find import leads_nowhere

_BLOCK = 2**20  # bytes of zeros at a time

_STAND_INS = {  # first bytes -> what a file with them is, and what to do
    b"version https://git-lfs.github.com/spec/": "is a Git LFS pointer, not the file itself; run git lfs pull",
    b"/annex/objects/": "is a git-annex pointer, not the file itself; run git annex get",
    **dict.fromkeys(
        (b"<!doctype", b"<html", b"<?xml", b"<head", b"<error"),
        "is a web page, which a server sent in place of the file; open the link in a browser and download the file",
    ),
}
_HEAD = 512  # bytes


def stand_in(path: Path) -> str | None:
    """What is in a file's place, and the way on, by its first bytes: "is empty; ..."; None where it may be the file."""
    if leads_nowhere(path):
        return f"is a link to {path.readlink()}, which is not there; fetch it first (dvc pull, git annex get)"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None  # said by whoever reads it
    if not head:
        return "is empty; copy, download or save it again"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for bytes_, what in _STAND_INS.items() if start.startswith(bytes_)), None)


def allocate(file: Path, start: int, end: int) -> None:
    """Have the disk hold a file's bytes from `start` to `end`, as zeros. Raises OSError where there is no room.

    Writing to a mapped file whose disk fills up ends the process.
    """
    with file.open("r+b") as opened:
        if hasattr(os, "posix_fallocate"):  # neither macOS nor Windows has it
            try:
                os.posix_fallocate(opened.fileno(), start, end - start)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that lacks it
                    raise
            else:
                return
        opened.seek(start)
        for place in range(start, end, _BLOCK):
            opened.write(bytes(min(_BLOCK, end - place)))


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise OSError where `folder` cannot be made or written to, DiskFullError where its disk lacks the room."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:  # a drive that is not there is its own parent
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
