"""A job: its settings, its plan and its finished blocks, all kept in the output folder, so that it can be resumed."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow
from pyarrow import parquet

from signs_runtime.errors import OptionError, SourceError
from signs_runtime.labelling.addresses import StoreError
from signs_runtime.labelling.folder import Folder
from signs_runtime.labelling.plan import read_block, write_plan
from signs_runtime.labelling.rows import ERROR, PICTURE, Columns
from signs_runtime.labelling.sources import Entry, entries

# Readers of a folder of Parquet files skip names with "_" in front.
_JOB, _PLAN, _SUMMARY = "_job.json", "_pictures.arrow", "_summary.json"
_KEY = b"signs"  # of a Parquet file's metadata
_READERS = 16  # files that are read at once: a store takes its time for each


@dataclass(frozen=True)
class Settings:
    """What decides a job's rows; a job is resumed with the same settings only."""

    bundle: str  # digest of the bundle, or of the .onnx file
    variant: str
    threshold: float | None  # None: the bundle's own
    top_k: int
    block: int  # pictures in one file of rows
    column: str | None  # of Parquet files; None: the only one with bytes
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """An output folder with a plan, which another process can open by `open_job`."""

    folder: Folder
    settings: Settings
    id: str  # digest of the settings and the plan
    pictures: int
    blocks: int

    def entries(self, block: int) -> list[Entry]:
        """The pictures of a block. Raises OptionError if the plan cannot be read."""
        try:
            with self.folder.opened(_PLAN) as file:
                return read_block(file, block)
        except StoreError:
            raise
        except (pyarrow.ArrowException, FileNotFoundError, SourceError) as error:
            raise OptionError(
                f"{self.folder.address}/{_PLAN} is missing or damaged. Start again in another folder, by -o."
            ) from error

    def size(self, block: int) -> int:
        """How many pictures a block has."""
        return min(self.settings.block, self.pictures - block * self.settings.block)

    def finished(self) -> set[int]:
        """The blocks whose rows are written; a damaged file counts as missing. Raises OptionError for another job's."""
        names = set(self.folder.names())
        written = [block for block in range(self.blocks) if name_of(block) in names]
        with ThreadPoolExecutor(_READERS) as pool:
            makers = dict(zip(written, pool.map(self._maker, written), strict=True))
        for block, maker in makers.items():
            if maker is not None and maker != self.id:
                raise OptionError(
                    f"{self.folder.address}/{name_of(block)} was not written by this job. "
                    "Delete that file, or choose another folder by -o."
                )
        return {block for block, maker in makers.items() if maker is not None}

    def write(self, block: int, rows: Sequence[dict[str, Any]], columns: Columns) -> None:  # Any: a value of any type
        """Write a block's rows, whole or not at all."""
        metadata = {_KEY: json.dumps({"job": self.id, "bundle": self.settings.bundle}).encode()}
        table = pyarrow.Table.from_pylist(list(rows), schema=_schema(columns).with_metadata(metadata))
        with self.folder.written(name_of(block)) as file:
            parquet.write_table(table, file, compression="zstd")

    def summarise(self) -> tuple[Counter[str], int]:
        """How many pictures have each label, and how many have an error instead, over all finished blocks."""
        labels, errors = Counter[str](), 0
        with ThreadPoolExecutor(_READERS) as pool:
            for said, failed in pool.map(self._count, range(self.blocks)):
                labels.update(said)
                errors += failed
        return labels, errors

    def _count(self, block: int) -> tuple[Counter[str], int]:
        """How many pictures of a block have each label, and how many have an error instead."""
        with self.folder.opened(name_of(block)) as file:
            opened = parquet.ParquetFile(file)
            is_multi_label = "found" in opened.schema_arrow.names
            table = opened.read(["label", ERROR, *(["found"] if is_multi_label else [])])
        said = table["label"].to_pylist()
        found = table["found"].to_pylist() if is_multi_label else [None] * len(said)
        # A picture of a multi-label classifier counts for each label found, or as unsure.
        labels = Counter(label for each, first in zip(found, said, strict=True) for label in each or [first] if label)
        return labels, table.num_rows - table[ERROR].null_count

    def _maker(self, block: int) -> str | None:
        """The job that wrote a block's file, or None if the file is damaged. Raises StoreError."""
        try:
            with self.folder.opened(name_of(block)) as file:
                metadata = parquet.read_metadata(file)
                return str(json.loads(metadata.metadata[_KEY])["job"])
        except StoreError:
            raise
        except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError):
            return None

    def end(self, summary: dict[str, Any]) -> None:  # Any: JSON
        """Write the summary into the folder, which says that the job is complete."""
        with self.folder.written(_SUMMARY) as file:
            file.write(json.dumps(summary, indent=2).encode())


def start_job(address: str, settings: Settings) -> Job:
    """Plan a job in a new or empty folder. Raises SourceError, OptionError."""
    folder = Folder(address)
    names = folder.names()
    if _JOB in names:
        raise OptionError(f"{address} holds a job already. Continue it with --resume, or choose another folder by -o.")
    if set(names) - {_PLAN}:
        raise OptionError(f"{address} is not empty. Choose another folder by -o.")
    folder.create()
    folder.clear_unfinished()
    with folder.written(_PLAN) as file:
        pictures, blocks = write_plan(entries(settings.sources, settings.column), settings.block, file)
    with folder.opened(_PLAN) as file:
        digest = hashlib.sha256()
        while content := file.read(2**20):
            digest.update(content)
    about = {**asdict(settings), "plan": digest.hexdigest(), "pictures": pictures, "blocks": blocks}
    with folder.written(_JOB) as file:
        file.write(json.dumps(about, indent=2).encode())
    return _job(folder, about)


def open_job(address: str) -> Job | None:
    """The job in a folder, or None if there is none. Raises OptionError if its description cannot be read."""
    folder = Folder(address)
    if _JOB not in folder.names():
        return None
    with folder.opened(_JOB) as file:
        content = file.read()
    try:
        return _job(folder, json.loads(content))
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{address}/{_JOB} is damaged ({error!s:.100}). Choose another folder by -o.") from error


def check_same(job: Job, **settings: object) -> None:
    """Refuse to resume a job with other settings. Raises OptionError."""
    for name, now in settings.items():
        before = getattr(job.settings, name)
        if before != now:
            raise OptionError(
                f"{job.folder.address} was begun with {_NAMES[name]} {_said(before)}, not {_said(now)}. "
                "Resume it with what it began with, or choose another folder by -o."
            )


_NAMES = {  # of settings, as users know them
    "bundle": "the bundle",
    "variant": "--variant",
    "threshold": "--threshold",
    "top_k": "--top-k",
    "block": "--block-size",
    "column": "--column",
    "sources": "PICTURES",
}


def name_of(block: int) -> str:
    """The name of a block's file."""
    return f"part-{block:06d}.parquet"


def _job(folder: Folder, about: dict[str, Any]) -> Job:  # Any: JSON
    named = {each.name: about[each.name] for each in fields(Settings)}
    settings = Settings(**{**named, "sources": tuple(about["sources"])})
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return Job(folder, settings, identity, int(about["pictures"]), int(about["blocks"]))


def _schema(columns: Columns) -> Any:  # Any: pyarrow.Schema
    def kind(name: str) -> Any:
        if name == "found":
            return pyarrow.list_(pyarrow.string())
        return pyarrow.float32() if name.startswith("probability") else pyarrow.string()

    return pyarrow.schema([(name, kind(name)) for name in (PICTURE, *columns.names, ERROR)])


def _said(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else "unset" if value is None else str(value)
