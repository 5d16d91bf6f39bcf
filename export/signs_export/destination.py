"""Puts a folder into place whole: written beside its destination, made durable, exchanged in one step."""

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
_ABANDONED = 24 * 60 * 60  # seconds after which a folder is a dead process's, where no process can be asked about
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def check_destination(destination: Path, needed_bytes: int) -> None:
    """Refuse, before any long work, a destination that is not ours to replace, or a disk without room.

    Raises ExportError, OSError and DiskFullError.
    """
    if destination.exists() or destination.is_symlink():
        _check_replaceable(destination)
    aside = failed_folder(destination)
    if aside.exists() and not (aside.is_dir() and {path.name for path in aside.iterdir()} <= FAILED_FILES):
        raise ExportError(
            f"{aside}, where a failed export would go, holds something else; move it or choose another -o."
        )
    check_room(destination.parent, needed_bytes)


def _check_replaceable(destination: Path) -> None:
    """Only an empty folder and a bundle with nothing added are replaced."""
    if destination.is_symlink() or not destination.is_dir():
        raise ExportError(f"{destination} is not a folder; choose another -o.")
    if os.path.ismount(destination):
        raise ExportError(f"{destination} is a mount point, which cannot be replaced; choose a folder inside it as -o.")
    found = {path.name for path in destination.iterdir()} - _unlisted(destination)
    if not found:
        return
    try:
        listed = _bundle_files(destination)
    except BundleError as error:
        raise ExportError(
            f"{destination} is not overwritten, for it holds files and no bundle that this signs-edge can read: "
            f"{error} Choose another -o."
        ) from error
    if added := sorted(found - listed):
        raise ExportError(f"{destination} holds more than its bundle ({', '.join(added)}); it is not overwritten.")


def _unlisted(folder: Path) -> set[str]:
    """The names of a bundle's files that no manifest lists, if they are as an export wrote them."""
    name, content = GIT_ATTRIBUTES
    path = folder / name
    return {name} if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content else set()


def _bundle_files(folder: Path) -> set[str]:
    """The names of a bundle's files; for one of a schema that is too old, those that any bundle's files have.

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
    """Yield an empty folder that becomes `destination` at the end, or vanishes with any error.

    After an error of the kinds `keep_after` it is kept aside as `<destination>.failed`.
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
    """Remove what processes of this machine left behind that were killed."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        number = path.name.removeprefix(prefix)
        if number.isdigit() and (int(number) == os.getpid() or not _is_running(int(number), path)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int, folder: Path) -> bool:
    """Tell whether the process that works in `folder` still runs."""
    if WINDOWS:  # there os.kill ends the process that it is asked about
        return time.time() - folder.stat().st_mtime < _ABANDONED
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def failed_folder(destination: Path) -> Path:
    """Where a bundle that failed its gate is kept for a look."""
    return destination.with_name(f"{destination.name}.failed")


def _make_durable(folder: Path) -> None:
    """Have the bytes on the disk before the name points to them, in case the power fails."""
    folders = [folder] if hasattr(os, "O_DIRECTORY") else []  # Windows opens none
    for path in [*folder.iterdir(), *folders]:
        # To be written to, as Windows demands of what is made durable.
        descriptor = os.open(path, os.O_RDONLY if path == folder else os.O_RDWR)
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
        try:
            os.rename(destination, old)
        except PermissionError as error:
            raise ExportError(
                f"{destination} was not replaced, and is as it was: it is not yours to rename, or a program has one of "
                f"its files open ({error}). End that program, or choose another -o."
            ) from error
        try:
            os.rename(work, destination)
        except BaseException:
            os.rename(old, destination)
            raise
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
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))
