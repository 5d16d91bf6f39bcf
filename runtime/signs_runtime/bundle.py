"""Opens a bundle and hands out its files: a file whose digest does not match is refused before anything reads it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from signs_runtime.errors import BundleFormatError, BundleNotFoundError, BundleTamperedError
from signs_runtime.golden import GoldenPictures, parse_golden
from signs_runtime.manifest import MAX_MANIFEST_BYTES, FileRecord, Manifest, Variant, parse_manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A folder and the manifest that was found in it whole."""

    folder: Path
    manifest: Manifest

    def read(self, record: FileRecord) -> bytes:
        """Read one file; the bytes returned are the bytes that were checked.

        Raises BundleNotFoundError and BundleTamperedError.
        """
        with _path(self.folder, record).open("rb") as file:
            content = file.read(record.bytes + 1)
        if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
            raise BundleTamperedError(
                f"{self.folder / record.path} is not the file that was sealed; copy the bundle again from its source."
            )
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

    def golden(self) -> GoldenPictures:
        """The golden pictures. Raises as `read` does, and BundleFormatError."""
        return parse_golden(self.read(self.manifest.golden.file), self.manifest)


def is_model_file(path: Path) -> bool:
    """Tell a bundle's single file, by its name, from a bundle's folder."""
    return path.suffix == ".onnx" and not path.is_dir()


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Open a bundle whose manifest is sealed and whose files are all there, in the sizes it claims.

    Digests are checked as each file is read. Raises BundleNotFoundError, BundleFormatError, BundleTamperedError.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for record in manifest.files:
        size = _path(folder, record).stat().st_size
        if size != record.bytes:
            raise BundleTamperedError(
                f"{folder / record.path} has {size:,} bytes and was sealed with {record.bytes:,}; copy it again."
            )
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest without a look at its other files. Raises as `open_bundle` does."""
    path = folder / MANIFEST
    if not folder.exists():
        raise BundleNotFoundError(f"No bundle at {folder}; run build-and-export first.")
    if not path.is_file():
        raise BundleNotFoundError(f"{folder} is not a bundle: it has no {MANIFEST}. Name what build-and-export made.")
    with path.open("rb") as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    return parse_manifest(text)


def _path(folder: Path, record: FileRecord) -> Path:
    path = folder / record.path
    if path.is_symlink():
        raise BundleFormatError(f"{path} is a link: a bundle's files lie in its own folder.")
    if not path.is_file():
        raise BundleNotFoundError(f"{path} is missing; copy the whole bundle again from its source.")
    return path
