"""Replaces a folder as a whole: writes the new one next to it, flushes it to disk, and swaps them in one step."""

import ctypes
import errno
import glob
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_builder.disk import check_room
from signs_export.bundle_files import BUNDLE_FILES, FAILED_FILES, GIT_ATTRIBUTES
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import MANIFEST, read_manifest
from signs_runtime.bundle.manifest import OLDEST_SCHEMA
from signs_runtime.bundle.strict_json import parse_json
from signs_runtime.errors import BundleError, BundleFormatError

WINDOWS = os.name == "nt"
_ABANDONED = 24 * 60 * 60  # seconds; on Windows, an older work folder belongs to a dead process
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def check_destination(destination: Path, needed_bytes: int) -> None:
    """Check, before any long work, that the destination may be replaced and that the disk has room.

    Raises ExportError, OSError and DiskFullError.
    """
    if destination.exists() or destination.is_symlink():
        _check_replaceable(destination)
    aside = failed_folder(destination)
    if aside.exists() and not (aside.is_dir() and {path.name for path in aside.iterdir()} <= FAILED_FILES):
        raise ExportError(
            f"{aside} is where a failed export would be kept, but it holds something else. Move it or choose "
            "another -o."
        )
    check_room(destination.parent, needed_bytes)


def _check_replaceable(destination: Path) -> None:
    """Raise ExportError unless the destination is an empty folder or a bundle with nothing added."""
    if destination.is_symlink() or not destination.is_dir():
        raise ExportError(f"{destination} is not a folder. Choose another -o.")
    if os.path.ismount(destination):
        raise ExportError(f"{destination} is a mount point, which cannot be replaced. Choose a folder inside it as -o.")
    found = {path.name for path in destination.iterdir()} - _unlisted(destination)
    if not found:
        return
    try:
        listed = _bundle_files(destination)
    except BundleError as error:
        raise ExportError(
            f"{destination} was not overwritten: it holds files but no readable bundle. Choose another -o. ({error})"
        ) from error
    if added := sorted(found - listed):
        raise ExportError(
            f"{destination} was not overwritten: it holds more than its bundle ({', '.join(added)}). "
            "Move that away, or choose another -o."
        )


def _unlisted(folder: Path) -> set[str]:
    """The names of files that an export wrote but the manifest does not list, if they are unchanged."""
    name, content = GIT_ATTRIBUTES
    path = folder / name
    return {name} if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content else set()


def _bundle_files(folder: Path) -> set[str]:
    """The names of a bundle's files; if its schema is too old to read, the names that any bundle's files may have.

    Raises BundleError.
    """
    try:
        return {MANIFEST, *(record.path for record in read_manifest(folder).files)}
    except BundleFormatError:
        raw = parse_json((folder / MANIFEST).read_bytes(), MANIFEST)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if type(schema) is int and 0 < schema < OLDEST_SCHEMA:
            return BUNDLE_FILES
        raise


@contextmanager
def replaced_whole(destination: Path, *, keep_after: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Yield an empty folder that becomes `destination` at the end, or is removed after an error.

    After an error of the types `keep_after`, it is kept as `<destination>.failed`.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{destination.name}.{platform.node()}."
    remove_leftovers(destination.parent, prefix)
    work = destination.with_name(f"{prefix}{os.getpid()}")
    work.mkdir()
    try:
        yield work
        _make_durable(work)
        _put_into_place(work, destination)
    except keep_after:
        aside = failed_folder(destination)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(work, aside)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove the work folders of killed processes of this machine."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        number = path.name.removeprefix(prefix)
        if number.isdigit() and (int(number) == os.getpid() or not _is_running(int(number), path)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int, folder: Path) -> bool:
    """Whether the process that works in `folder` is still running."""
    if WINDOWS:  # there, os.kill(process, 0) would end the process
        return time.time() - folder.stat().st_mtime < _ABANDONED
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def failed_folder(destination: Path) -> Path:
    """The folder in which a model that failed the gate is kept for inspection."""
    return destination.with_name(f"{destination.name}.failed")


def _make_durable(folder: Path) -> None:
    """Flush all files to disk before the folder gets its final name, in case the power fails."""
    folders = [folder] if hasattr(os, "O_DIRECTORY") else []  # Windows cannot open folders
    for path in [*folder.iterdir(), *folders]:
        # Windows flushes only files that are open for writing.
        descriptor = os.open(path, os.O_RDONLY if path == folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_into_place(work: Path, destination: Path) -> None:
    """Rename `work` to `destination`; an old folder there ends up at `work`, where the caller removes it."""
    if not destination.exists():
        os.rename(work, destination)
    elif not _exchange(work, destination):
        # No atomic exchange on this system: for an instant the destination is missing, but the old bundle is whole.
        old = work.with_name(f"{work.name}.old")
        try:
            os.rename(destination, old)
        except PermissionError as error:
            raise ExportError(
                f"{destination} was not replaced and is unchanged. You cannot rename it, or a program has one of its "
                f"files open ({error}). Close that program, or choose another -o."
            ) from error
        try:
            os.rename(work, destination)
        except BaseException:
            os.rename(old, destination)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (renameat2(2), Linux); False if the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        rename = libc.renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
