"""Checks free space before long work, writes files whole or not at all, and recognizes stand-ins for files."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_builder.errors import DiskFullError
from signs_runtime.pictures.find import leads_nowhere

_BLOCK = 2**20  # bytes of zeros at a time

_STAND_INS = {  # first bytes of a file -> what it is, and what to do
    b"version https://git-lfs.github.com/spec/": "is a Git LFS pointer, not the file itself; run git lfs pull",
    b"/annex/objects/": "is a git-annex pointer, not the file itself; run git annex get",
    **dict.fromkeys(
        (b"<!doctype", b"<html", b"<?xml", b"<head", b"<error"),
        "is a web page that a server sent instead of the file; open the link in a browser and download the file",
    ),
}
_HEAD = 512  # bytes


def stand_in(path: Path) -> str | None:
    """What `path` holds in place of the real file, and what to do, as in "is empty; ..."; None if it may be the file.

    Judged by its first bytes.
    """
    if leads_nowhere(path):
        return f"is a link to {path.readlink()}, which does not exist; fetch it first (dvc pull, git annex get)"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None  # reported when the file is read
    if not head:
        return "is empty; copy, download or save it again"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for bytes_, what in _STAND_INS.items() if start.startswith(bytes_)), None)


def allocate(file: Path, start: int, end: int) -> None:
    """Reserve a file's bytes from `start` to `end` on the disk, as zeros. Raises OSError if there is no space.

    If the disk fills up while a mapped file is written, the process is killed; this prevents it.
    """
    with file.open("r+b") as opened:
        if hasattr(os, "posix_fallocate"):  # missing on macOS and Windows
            try:
                os.posix_fallocate(opened.fileno(), start, end - start)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the file system does not support it
                    raise
            else:
                return
        opened.seek(start)
        for place in range(start, end, _BLOCK):
            opened.write(bytes(min(_BLOCK, end - place)))


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise OSError if `folder` cannot be created or written to, DiskFullError if its disk lacks the space."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:  # a missing drive is its own parent
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable", str(folder))
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DiskFullError(
            f"The disk of {folder} is too full: about {needed_bytes / 1e6:,.0f} MB are needed, but only "
            f"{free / 1e6:,.0f} MB are free. Free some space, or choose another place."
        )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name next to `path`, with its ending; rename it to `path` at the end, delete it on error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
