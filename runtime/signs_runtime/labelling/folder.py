"""The folder that a job writes into, local or remote: its files are whole or absent."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pyarrow.fs import FileSelector, LocalFileSystem

from signs_runtime.labelling.addresses import explained, is_uri, located

_UNFINISHED = ".unfinished-"


class Folder:
    """A folder of flat files. Raises SourceError if a remote one cannot be used, OSError for a local one."""

    def __init__(self, address: str) -> None:
        self.address = address if is_uri(address) else str(Path(address).absolute())
        self._place = located(self.address)
        self._is_local = isinstance(self._place.system, LocalFileSystem)

    def names(self) -> list[str]:
        """The names of its files and folders, sorted; a folder that does not exist has none."""
        with explained(self.address):
            selector = FileSelector(self._place.path.rstrip("/"), allow_not_found=True)
            found = self._place.system.get_file_info(selector)
        names = [each.base_name for each in found]
        return sorted(name for name in names if name and not name.startswith(_UNFINISHED))

    @contextmanager
    def opened(self, name: str) -> Iterator[Any]:  # Any: pyarrow.NativeFile
        """A file to read from, at any place."""
        with explained(self.address), self._place.system.open_input_file(self._path(name)) as file:
            yield file

    @contextmanager
    def written(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write into, which takes its name at the end of the context, unless that raises."""
        if self._is_local:
            with self._replaced(name) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with explained(self.address), self._place.system.open_output_stream(self._path(name)) as stream:
                shutil.copyfileobj(file, stream, 2**20)

    def clear_unfinished(self) -> None:
        """Delete what killed processes left half-written."""
        if self._is_local:
            for path in Path(self._place.path).glob(f"{_UNFINISHED}*"):
                path.unlink(missing_ok=True)

    def create(self) -> None:
        """Create it, and the folders above it."""
        with explained(self.address):
            self._place.system.create_dir(self._place.path.rstrip("/"), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._place.path.rstrip('/')}/{name}"

    @contextmanager
    def _replaced(self, name: str) -> Iterator[IO[bytes]]:
        handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._place.path)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(unfinished, 0o666 & ~_umask())  # noqa: PTH101  # mkstemp keeps it from everybody else
            os.replace(unfinished, self._path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                Path(unfinished).unlink()
            raise


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
