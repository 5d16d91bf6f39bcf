"""Reads the pictures of a block ahead of the classifier: local files, remote ones, rows of Parquet files."""

import io
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import IO, Any, cast

import pyarrow
from pyarrow import parquet

from signs_runtime.errors import SourceError
from signs_runtime.labelling.addresses import StoreError, explained, is_uri, located
from signs_runtime.labelling.sources import Entry, picture_column

_AHEAD = 16  # remote pictures that are fetched at once: what a store delays, not what it delivers, is the limit
_MOST_BYTES = 2**26  # of one remote picture
_HELD = 2**28  # bytes of pictures that wait for the classifier, or one larger picture
_TRIES, _PAUSE = 3, 2.0  # for a remote picture; seconds before the second try, twice as many before the third
_ROWS = 16  # rows of a Parquet file that are decoded at once
_BUFFER = 2**20  # bytes of a Parquet file that are read at once


class Budget:
    """Bounds the bytes that are held for pictures between their reading and their outcome, in order."""

    def __init__(self, most: int = _HELD) -> None:
        self._most, self._held = most, 0
        self._sizes: deque[int] = deque()
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until there is room for the next picture's bytes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + size <= self._most)
            self._sizes.append(size)
            self._held += size

    def free_first(self) -> None:
        """Give back what the first picture took; its outcome is there."""
        with self._changed:
            self._held -= self._sizes.popleft()
            self._changed.notify()


class _Unread(io.RawIOBase):
    """A picture whose bytes could not be had; reading it raises the reason, so that it becomes a row with an error."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self._reason = name, reason

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise OSError(1, self._reason)


def opened(entries: Sequence[Entry], column: str | None, budget: Budget) -> Iterator[str | IO[bytes]]:
    """Yield the picture of each entry, in order: its path, or its bytes as a file. Raises SourceError.

    Each takes its bytes from the `budget`, whose user frees them in the same order.
    """
    for (kind, *_), group in groupby(enumerate(entries), _kind):
        alike = [entry for _, entry in group]
        if kind == "local":
            for entry in alike:
                budget.take(0)
                yield entry.address
            continue
        for entry, content in zip(alike, _rows(alike, column) if kind == "rows" else _fetched(alike), strict=True):
            budget.take(len(content) if isinstance(content, bytes) else 0)
            yield _named(content, entry.name) if isinstance(content, bytes) else _unread(entry.name, content)


def _kind(placed: tuple[int, Entry]) -> tuple[str, ...] | tuple[str, str, int]:
    """What is read together: rows that follow each other in one file, remote files, local ones."""
    place, (address, row) = placed
    if row is not None:
        return "rows", address, row - place
    return ("remote",) if is_uri(address) else ("local",)


def _named(content: bytes, name: str) -> IO[bytes]:
    file = io.BytesIO(content)
    file.name = name  # errors name it
    return file


def _unread(name: str, reason: str) -> IO[bytes]:
    return cast(IO[bytes], _Unread(name, reason))


def _fetched(entries: Sequence[Entry]) -> Iterator[bytes | str]:
    """The bytes of remote files, or why one cannot be had; many are fetched at once. Raises StoreError."""
    waiting: deque[Future[bytes | str]] = deque()
    pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="fetch")
    fetching = _Fetching()
    try:
        for entry in entries:
            waiting.append(pool.submit(fetching.fetch, entry.address))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Fetching:
    """Fetches remote files, and tells a file that cannot be had from a store that cannot be reached."""

    def __init__(self) -> None:
        self._last_success = -math.inf

    def fetch(self, address: str) -> bytes | str:
        """A file's bytes, or why it cannot be had. Raises StoreError if no other file can be had either."""
        began = time.monotonic()
        for i in range(_TRIES):
            try:
                place = located(address)
                with explained(address), place.system.open_input_stream(place.path) as file:
                    content: bytes = file.read(_MOST_BYTES + 1)
                self._last_success = time.monotonic()
                return content if len(content) <= _MOST_BYTES else f"more than {_MOST_BYTES:,} bytes"
            except StoreError as error:
                if i + 1 == _TRIES:
                    if self._last_success < began:
                        raise
                    return str(error).removeprefix(f"{address}: ")
            except SourceError as error:
                is_gone = isinstance(error.__cause__, FileNotFoundError)
                return "no such file" if is_gone else str(error).removeprefix(f"{address}: ")
            time.sleep(_PAUSE * 2**i)
        raise AssertionError("the last try returns or raises")


def _rows(entries: Sequence[Entry], column: str | None) -> Iterator[bytes | str]:
    """Pictures in rows of one Parquet file, one after the other, or why one cannot be had. Raises StoreError."""
    address, first, done = entries[0].address, entries[0].row or 0, 0
    reason = "the Parquet file does not have this row any more"
    try:
        place = located(address)
        with explained(address), place.system.open_input_file(place.path) as file:
            for content in _contents(file, column, address, first, len(entries)):
                yield "no picture in this row" if content is None else content
                done += 1
    except StoreError:
        raise
    except (SourceError, pyarrow.ArrowException, OSError) as error:
        reason = f"the Parquet file cannot be read: {error!s:.150}"
    yield from [reason] * (len(entries) - done)


def _contents(file: Any, column: str | None, address: str, first: int, count: int) -> Iterator[bytes | None]:
    """The binary values of `count` rows from row `first` on; only the row groups that hold them are read."""
    opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    name, is_struct = picture_column(opened.schema_arrow, column, address)
    groups: list[int] = []
    start = skipped = 0
    for i in range(opened.metadata.num_row_groups):
        end = start + opened.metadata.row_group(i).num_rows
        if start < first + count and end > first:
            if not groups:
                skipped = first - start
            groups.append(i)
        start = end
    if not groups:
        return
    wanted = f"{name}.bytes" if is_struct else name
    place = -skipped
    for batch in opened.iter_batches(_ROWS, row_groups=groups, columns=[wanted]):
        for value in batch.column(0).to_pylist():
            if 0 <= place < count:
                yield (value or {}).get("bytes") if is_struct else value
            place += 1
        if place >= count:
            return
