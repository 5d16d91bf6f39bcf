"""Files by their addresses: a local path, or a URI that pyarrow reads, such as s3://, gs:// or hf://."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import ArrowInvalid
from pyarrow.fs import FileSystem, LocalFileSystem

from signs_runtime.errors import SourceError

_ADVICE = {
    "s3": "Check the bucket's name, the region (AWS_REGION) and the credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY).",
    "gs": "Check the bucket's name and the credentials (GOOGLE_APPLICATION_CREDENTIALS).",
    "hf": "Check the name and the token (HF_TOKEN). It needs two packages: pip install fsspec huggingface_hub",
}
_OTHER_ADVICE = "Check the address and the credentials."


def is_uri(address: str) -> bool:
    """Whether an address is a URI, not a local path."""
    return "://" in address


class StoreError(SourceError):
    """A store cannot be reached, or refuses; later it may not."""


class Place(NamedTuple):
    """Where an address leads: a path in one of pyarrow's file systems."""

    system: Any  # FileSystem
    path: str
    root: str  # what an address has before the path
    top: str  # what the path has before an address's own

    def address_of(self, path: str) -> str:
        """The address of another path of the same file system."""
        return self.root + path.removeprefix(self.top)


def located(address: str) -> Place:
    """Find the file system of an address; a URI's key is taken as it stands, without %-codes. Raises SourceError."""
    if not is_uri(address):
        return Place(LocalFileSystem(), str(Path(address).absolute()), "", "")
    check_address(address)
    scheme, _, rest = address.partition("://")
    host, _, key = rest.partition("/")
    root = f"{scheme}://{host}/"
    with explained(address):
        system, top = _remote(root)
    top = f"{top.rstrip('/')}/"
    return Place(system, top + key, root, top)


def check_address(address: str) -> None:
    """Raise SourceError if a URI holds credentials, which would end up in the output."""
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    port = host.partition(":")[2]
    if is_uri(address) and ("@" in host or (port and not port.isdigit())):
        raise SourceError(
            f"An address on {scheme}:// holds credentials, which would end up in the output. Leave them out. "
            f"{_ADVICE.get(scheme, _OTHER_ADVICE)}"
        )


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what file systems raise into a SourceError that names the address and the next step."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # file systems that pyarrow wraps raise their own kinds
        if not is_uri(address):
            raise
        is_missing = isinstance(error, FileNotFoundError | ArrowInvalid)  # invalid: an address, or a file's content
        reason = " ".join(str(error).split())
        advice = _ADVICE.get(address.partition("://")[0], _OTHER_ADVICE)
        kind = SourceError if is_missing else StoreError
        raise kind(f"{address}: cannot be used ({reason:.150}). {advice}") from error


@functools.cache
def _remote(root: str) -> Any:  # Any: (FileSystem, str)
    return FileSystem.from_uri(root)
