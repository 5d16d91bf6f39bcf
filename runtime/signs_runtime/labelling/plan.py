"""The plan of a job: every picture, in blocks, in one file. A block becomes one file of rows."""

from collections.abc import Iterable
from itertools import islice
from typing import IO, Any

import pyarrow

from signs_runtime.labelling.sources import Entry

_SCHEMA = pyarrow.schema([("address", pyarrow.binary()), ("row", pyarrow.int64())])
_TEXT = ("utf-8", "surrogatepass")  # names of files may be no text


def write_plan(entries: Iterable[Entry], block: int, file: IO[bytes]) -> tuple[int, int]:
    """Write the entries in blocks of `block`; return the number of pictures and of blocks."""
    pictures = blocks = 0
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    left = iter(entries)
    with pyarrow.ipc.new_file(file, _SCHEMA, options=options) as writer:
        while part := list(islice(left, block)):
            addresses = [entry.address.encode(*_TEXT) for entry in part]
            rows = [entry.row for entry in part]
            writer.write_batch(pyarrow.record_batch([addresses, rows], schema=_SCHEMA))
            pictures, blocks = pictures + len(part), blocks + 1
    return pictures, blocks


def read_block(file: Any, block: int) -> list[Entry]:  # Any: pyarrow.NativeFile
    """The entries of one block of a plan, from a file that can seek."""
    batch = pyarrow.ipc.open_file(file).get_batch(block)
    addresses, rows = (column.to_pylist() for column in batch.columns)
    return [Entry(address.decode(*_TEXT), row) for address, row in zip(addresses, rows, strict=True)]
