"""Lists what is to be labelled: files, folders, lists of them, and Parquet files that hold pictures."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
from pyarrow import parquet
from pyarrow.fs import FileSelector, FileType

from signs_runtime.errors import ImageError, SourceError
from signs_runtime.labelling.addresses import check_address, explained, is_uri, located
from signs_runtime.pictures.find import SUFFIXES, leads_nowhere, walk_pictures

LIST, PARQUET = ".txt", ".parquet"


class Entry(NamedTuple):
    """One picture: a file, or a row of a Parquet file."""

    address: str
    row: int | None = None

    @property
    def name(self) -> str:
        """How the output names the picture."""
        return self.address if self.row is None else f"{self.address}#{self.row}"


def entries(sources: Sequence[str], column: str | None) -> Iterator[Entry]:
    """Every picture of the sources, in order; a folder's in the order of their names. Raises SourceError.

    `column` names the column of Parquet files that holds the pictures; None finds it.
    """
    for source in sources:
        is_empty = True
        for entry in _of_one(source, column):
            is_empty = False
            yield entry
        if is_empty:
            known = ", ".join(sorted(SUFFIXES))
            raise SourceError(f"{source}: no pictures here ({known}, and rows of {PARQUET} files).")


def picture_column(schema: Any, wanted: str | None, address: str) -> tuple[str, bool]:  # Any: pyarrow.Schema
    """The column that holds the files of pictures, and whether it is a struct with a field "bytes". Raises SourceError.

    A struct of bytes and path is how the Hugging Face libraries store pictures:
    https://huggingface.co/docs/datasets/image_dataset
    """
    held = {field.name: _holds(field.type) for field in schema}
    found = [name for name, kind in held.items() if kind]
    if wanted is not None and wanted not in found:
        raise SourceError(
            f"{address}: column {wanted!r} {'holds no bytes' if wanted in held else 'does not exist'}. "
            f"Columns with bytes: {', '.join(found) or 'none'}."
        )
    if wanted is None and len(found) != 1:
        raise SourceError(
            f"{address}: {len(found)} columns hold bytes ({', '.join(found) or 'none'}); "
            + ("name the one with the pictures by --column." if found else "its pictures must be binary.")
        )
    name = wanted or found[0]
    return name, held[name] == "struct"


def _holds(kind: Any) -> str:  # Any: pyarrow.DataType
    types = pyarrow.types
    if types.is_struct(kind):
        return "struct" if kind.get_field_index("bytes") >= 0 and _holds(kind.field("bytes").type) == "bytes" else ""
    is_binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return "bytes" if is_binary else ""


def _of_one(source: str, column: str | None) -> Iterator[Entry]:
    if source.endswith(LIST):
        yield from _listed(source, column)
    elif is_uri(source):
        yield from _remote(source, column)
    else:
        yield from _local(Path(source), column)


def _local(path: Path, column: str | None) -> Iterator[Entry]:
    path = path.absolute()
    if path.is_dir():
        errors: list[tuple[Path, ImageError]] = []
        for each in walk_pictures(path, errors, suffixes=SUFFIXES | {PARQUET}):
            yield from _file(str(each), column, named=False)
        for _, error in errors:
            raise SourceError(str(error))
    elif path.exists() or leads_nowhere(path):
        yield from _file(str(path), column)
    else:
        raise SourceError(f"{path}: no such file or folder.")


def _remote(address: str, column: str | None) -> Iterator[Entry]:
    place = located(address)
    with explained(address):
        info = place.system.get_file_info(place.path.rstrip("/"))
        if info.type == FileType.NotFound:
            raise SourceError(f"{address}: no such file or folder.")
        for path in [info.path] if info.type == FileType.File else _files_below(place.system, info.path):
            yield from _file(place.address_of(path), column, named=path == info.path)


def _files_below(system: Any, folder: str) -> Iterator[str]:  # Any: FileSystem
    """All files below a folder but hidden ones, in the order of their names, one folder's in memory at a time."""
    for each in sorted(system.get_file_info(FileSelector(folder)), key=lambda each: each.path):
        if each.base_name.startswith("."):
            continue
        if each.type == FileType.Directory:
            yield from _files_below(system, each.path)
        elif each.type == FileType.File:
            yield each.path


def _listed(source: str, column: str | None) -> Iterator[Entry]:
    """A text file with one address a line; empty lines are skipped, and paths are relative to the list."""
    place = located(source)
    above = f"{source.rpartition('/')[0]}/" if is_uri(source) else f"{Path(source).absolute().parent}/"
    try:
        with explained(source), place.system.open_input_stream(place.path) as file:
            for line in io.TextIOWrapper(file, "utf-8-sig"):
                if not (address := line.strip()):
                    continue
                check_address(address)
                # A listed file is not looked for: one that is missing becomes a row with its error.
                is_whole = is_uri(address) or (not is_uri(source) and Path(address).is_absolute())
                yield from _file(address if is_whole else above + address, column)
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: not a list of pictures, since it is not text ({error.reason}).") from error
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror or error}.") from error


def _file(address: str, column: str | None, *, named: bool = True) -> Iterator[Entry]:
    """The pictures of one file. One that is not `named`, but lies in a folder, counts if it has a known suffix."""
    if address.lower().endswith(PARQUET):
        yield from (Entry(address, row) for row in range(_rows(address, column, named=named)))
    elif named or (Path(address).suffix.lower() in SUFFIXES and not Path(address).name.startswith(".")):
        yield Entry(address)


def _rows(address: str, column: str | None, *, named: bool) -> int:
    """How many rows a Parquet file has; 0 if it is not `named` and holds no bytes, as a table about pictures."""
    place = located(address)
    try:
        with explained(address), place.system.open_input_file(place.path) as file:
            opened = parquet.ParquetFile(file)
            if not named and not any(_holds(field.type) for field in opened.schema_arrow):
                return 0
            picture_column(opened.schema_arrow, column, address)
            return int(opened.metadata.num_rows)
    except SourceError:
        raise
    except pyarrow.ArrowException as error:
        raise SourceError(f"{address}: not a readable Parquet file ({error!s:.150}).") from error
    except OSError as error:
        raise SourceError(f"{address}: not a readable Parquet file ({error.strerror or error!s:.150}).") from error
