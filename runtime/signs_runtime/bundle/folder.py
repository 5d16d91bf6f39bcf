"""Opens a bundle and hands out its files: a file whose digest does not match is refused before anything reads it."""

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
    """A folder and the manifest that was found in it whole."""

    folder: Path
    manifest: Manifest

    def read(self, record: FileRecord) -> bytes:
        """Read one file; the bytes returned are the bytes that were checked.

        Raises BundleNotFoundError, BundleFormatError and BundleTamperedError.
        """
        with _open(self.folder, record) as file:
            return self._checked(record, file.read(record.bytes + 1))

    def hold(self, record: FileRecord) -> Callable[[], bytes]:
        """Open one file now and give what reads it, as `read` does, whenever it is asked: see `HeldFile`."""
        file = HeldFile(partial(_open, self.folder, record))
        return lambda: self._checked(record, file.read(record.bytes + 1))

    def check(self, record: FileRecord) -> None:
        """Check one file's digest without having it in memory. Raises as `read` does."""
        with _open(self.folder, record) as file:
            size, digest = digest_of(file, record.bytes)
        if size != record.bytes or digest != record.sha256:
            raise _tampered(self.folder / record.path)

    def _checked(self, record: FileRecord, content: bytes) -> bytes:
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise _tampered(self.folder / record.path)
        return content

    def variant(self, name: str | None = None) -> Variant:
        """The variant of this name, or the first, which is the default. Raises BundleNotFoundError."""
        if name is None:
            return self.manifest.variants[0]
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.manifest.variants)
        raise BundleNotFoundError(f"{self.folder} has no variant {name!r}; it has {names}.")

    def golden(self) -> "GoldenPictures":
        """The golden pictures. Raises as `read` does, and BundleFormatError."""
        from signs_runtime.bundle.golden import parse_golden  # a start needs none of it

        return parse_golden(self.read(self.manifest.golden.file), self.manifest)


class HeldFile:
    """A file that is opened once and read whenever asked: what it holds stays, though another takes its name.

    Windows does not replace a file that is open; there it is opened anew, by its name.
    """

    def __init__(self, open_now: Callable[[], IO[bytes]]) -> None:
        self._open, self._lock = open_now, threading.Lock()
        self._file = None if os.name == "nt" else open_now()

    def read(self, most: int) -> bytes:
        """At most so many bytes from its beginning."""
        if self._file is None:
            with self._open() as file:
                return file.read(most)
        with self._lock:
            self._file.seek(0)
            return self._file.read(most)


def digest_of(file: IO[bytes], most: int) -> tuple[int, str]:
    """A file's bytes and their SHA-256 in hex, in little memory; of one that grows beyond `most`, no more than that."""
    digest, size = hashlib.sha256(), 0
    while size <= most and (chunk := file.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def is_model_file(path: Path) -> bool:
    """Tell a bundle's single file, by its name, from a bundle's folder."""
    return path.suffix == ".onnx" and not path.is_dir()


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Open a bundle whose manifest is sealed and whose models and golden pictures are there, in the sizes it claims.

    Digests are checked as each file is read; documents, which no prediction needs, where they are asked for.

    Raises BundleNotFoundError, BundleFormatError, BundleTamperedError.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for record in (*(variant.file for variant in manifest.variants), manifest.golden.file):
        _open(folder, record).close()
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest without a look at its other files. Raises as `open_bundle` does."""
    if not os.path.exists(folder):  # noqa: PTH110  # Path.exists raises for a name that is too long
        raise BundleNotFoundError(f"No bundle at {folder}; run build-and-export first.")
    path = folder / MANIFEST
    if not os.path.lexists(path):
        raise BundleNotFoundError(f"{folder} is not a bundle: it has no {MANIFEST}. Name what build-and-export made.")
    with open_regular(path) as file:
        text = file.read(MAX_JSON_BYTES + 1)
    return parse_manifest(text)


def _open(folder: Path, record: FileRecord) -> IO[bytes]:
    """Open a file of the size that was sealed."""
    path = folder / record.path
    file = open_regular(path)
    size = os.fstat(file.fileno()).st_size
    if size == record.bytes:
        return file
    with file:
        if _has_other_line_endings(file.read(2 * record.bytes), record):
            raise BundleTamperedError(
                f"{path} was sealed with other line endings: git changes them where core.autocrlf is on. Copy the "
                "bundle as it is, with its .gitattributes, which keeps git from changing it."
            )
    raise BundleTamperedError(f"{path} has {size:,} bytes and was sealed with {record.bytes:,}; copy it again.")


def _has_other_line_endings(content: bytes, record: FileRecord) -> bool:
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == record.sha256


def _tampered(path: Path) -> BundleTamperedError:
    return BundleTamperedError(f"{path} is not the file that was sealed; copy the bundle again from its source.")


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, or a link to one, as caches and mounted volumes lay files out; a pipe would block.

    What a link leads to is held to its digest like any other file.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  # the caller closes it
    except FileNotFoundError as error:
        if path.is_symlink():
            raise BundleNotFoundError(
                f"{path} is a link to {path.readlink()}, which is not there; copy the bundle with what its links lead "
                "to: cp -rL."
            ) from error
        raise BundleNotFoundError(f"{path} is missing; copy the whole bundle again from its source.") from error
    except OSError as error:
        raise BundleNotFoundError(f"{path} cannot be read ({error.strerror}); copy the bundle again.") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleFormatError(f"{path} is no regular file; copy the whole bundle again from its source.")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for a pipe's other end; Windows knows no such flag."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
