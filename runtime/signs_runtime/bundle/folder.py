"""Opens a bundle and reads its files; a file whose digest does not match is refused before anything uses it."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from signs_runtime.bundle.manifest import FileRecord, Manifest, Variant, parse_manifest
from signs_runtime.bundle.strict_json import MAX_JSON_BYTES
from signs_runtime.errors import BundleFormatError, BundleNotFoundError, BundleTamperedError

if TYPE_CHECKING:
    from signs_runtime.bundle.golden import GoldenPictures

MANIFEST = "manifest.json"
_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder, and its manifest, whose seal was checked."""

    folder: Path
    manifest: Manifest

    def read(self, record: FileRecord) -> bytes:
        """Read one file; the bytes returned are the bytes that were checked.

        Raises BundleNotFoundError, BundleFormatError and BundleTamperedError.
        """
        with _open(self.folder, record) as file:
            return self._checked(record, file.read(record.bytes + 1))

    def hold(self, record: FileRecord) -> Callable[[], bytes]:
        """Open one file now, and return a function that reads it later, as `read` does; see `HeldFile`."""
        file = HeldFile(partial(_open, self.folder, record))
        return lambda: self._checked(record, file.read(record.bytes + 1))

    def check(self, record: FileRecord) -> None:
        """Check one file's digest without loading it into memory. Raises as `read` does."""
        with _open(self.folder, record) as file:
            size, digest = digest_of(file, record.bytes)
        if size != record.bytes or digest != record.sha256:
            raise _tampered(self.folder / record.path)

    def _checked(self, record: FileRecord, content: bytes) -> bytes:
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise _tampered(self.folder / record.path)
        return content

    def variant(self, name: str | None = None) -> Variant:
        """The variant with this name, or the first one, which is the default. Raises BundleNotFoundError."""
        if name is None:
            return self.manifest.variants[0]
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.manifest.variants)
        raise BundleNotFoundError(f"{self.folder} has no variant {name!r}; it has {names}.")

    def golden(self) -> "GoldenPictures":
        """The golden pictures. Raises as `read` does, and BundleFormatError."""
        from signs_runtime.bundle.golden import parse_golden  # most starts do not need it

        return parse_golden(self.read(self.manifest.golden.file), self.manifest)


class HeldFile:
    """A file that is opened once and can be read again later, with the same content even if its name is replaced.

    On Windows, an open file could not be replaced, so there it is opened by name for each read.
    """

    def __init__(self, open_now: Callable[[], IO[bytes]]) -> None:
        self._open, self._lock = open_now, threading.Lock()
        self._file = None if os.name == "nt" else open_now()

    def read(self, most: int) -> bytes:
        """Read at most this many bytes from the beginning."""
        if self._file is None:
            with self._open() as file:
                return file.read(most)
        with self._lock:
            self._file.seek(0)
            return self._file.read(most)


def digest_of(file: IO[bytes], most: int) -> tuple[int, str]:
    """A file's size in bytes and its SHA-256 in hex, in little memory; stops soon after `most` bytes."""
    digest, size = hashlib.sha256(), 0
    while size <= most and (chunk := file.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def is_model_file(path: Path) -> bool:
    """Whether a path names a single model file and not a bundle's folder."""
    return path.suffix == ".onnx" and not path.is_dir()


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Open a bundle: check the manifest's seal, and that its models and golden pictures exist with their sealed sizes.

    Digests are checked when a file is read. Documents are checked only on request, because no prediction needs them.

    Raises BundleNotFoundError, BundleFormatError, BundleTamperedError.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for record in (*(variant.file for variant in manifest.variants), manifest.golden.file):
        _open(folder, record).close()
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest without checking its other files. Raises as `open_bundle` does."""
    if not os.path.exists(folder):  # noqa: PTH110  # Path.exists raises for a name that is too long
        raise BundleNotFoundError(f"No bundle at {folder}; run build-and-export first.")
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise BundleNotFoundError(
            f"{folder} is not a bundle: it has no {MANIFEST}. Name the folder that build-and-export wrote."
        )
    with open_regular(path) as file:
        text = file.read(MAX_JSON_BYTES + 1)
    return parse_manifest(text)


def _open(folder: Path, record: FileRecord) -> IO[bytes]:
    """Open a file and check that it has its sealed size."""
    path = folder / record.path
    file = open_regular(path)
    size = os.fstat(file.fileno()).st_size
    if size == record.bytes:
        return file
    with file:
        if _has_other_line_endings(file.read(2 * record.bytes), record):
            raise BundleTamperedError(
                f"{path} was sealed with other line endings: git changes them if core.autocrlf is on. Copy the "
                "bundle again, with its .gitattributes, which keeps git from changing it."
            )
    raise BundleTamperedError(
        f"{path} has {size:,} bytes, but was sealed with {record.bytes:,}; copy the bundle again from its source."
    )


def _has_other_line_endings(content: bytes, record: FileRecord) -> bool:
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == record.sha256


def _tampered(path: Path) -> BundleTamperedError:
    return BundleTamperedError(f"{path} is not the file that was sealed; copy the bundle again from its source.")


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, or a link to one, which caches and mounted volumes use. A pipe is refused: it would block.

    The digest of a link's target is checked like that of any other file.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  # the caller closes it
    except FileNotFoundError as error:
        if path.is_symlink():
            raise BundleNotFoundError(
                f"{path} is a link to {path.readlink()}, which does not exist here. Copy the bundle with the files "
                "behind its links: cp -rL."
            ) from error
        raise BundleNotFoundError(f"{path} is missing; copy the whole bundle again from its source.") from error
    except OSError as error:
        raise BundleNotFoundError(f"{path} cannot be read ({error.strerror}); copy the bundle again.") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleFormatError(f"{path} is not a regular file; copy the whole bundle again from its source.")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe; Windows has no such flag."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
