"""Reads a CSV table of pictures with any number of labels each, for multi-label classifiers."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from signs_builder.data.dataset import Dataset, Split
from signs_builder.data.sources import FETCH, SPLIT_NAMES
from signs_builder.disk import stand_in
from signs_builder.errors import DatasetError, list_first
from signs_runtime.pictures.find import SUFFIXES, leads_nowhere

TABLE = (
    "A table of labels is a CSV file with a header and these columns:\n"
    "  the first            picture files, relative to the table's folder\n"
    "  one for each label   1 or 0; or instead one column `labels`, with | between the labels\n"
    "  split (optional)     train, validation or test"
)
LARGEST = 2**28  # bytes
_YES, _NO = {"1", "1.0", "true", "yes"}, {"", "0", "0.0", "false", "no"}
_LISTS = {"labels", "tags"}
_SPLIT = {"split", "set", "subset"}


def is_label_table(source: str) -> bool:
    """Whether DATA is a table of labels, judged by its name."""
    return Path(source).suffix.lower() == ".csv"


def load_label_table(source: str, *, model_given: bool = False) -> Dataset:
    """Load the pictures that a table lists, each with any number of labels. Raises DatasetError.

    If no column gives the split, a tenth is held out, always the same one, as with folders.
    """
    path = Path(source)
    rows = _read(path)
    header, body = rows[0], rows[1:]
    split_at = next((i for i, name in enumerate(header) if i and name.casefold() in _SPLIT), None)
    columns = [i for i in range(1, len(header)) if i != split_at]
    if len(columns) == 1 and header[columns[0]].casefold() in _LISTS:
        labels, shown = _listed([row[columns[0]] for row in body])
    else:
        labels, shown = tuple(header[i] for i in columns), _ticked(path, header, body, columns)
    if len(labels) < 2:
        raise DatasetError(f"{path} has fewer than two labels; a multi-label classifier needs two or more.\n{TABLE}")
    whole = Split(_pictures(path, [row[0] for row in body]), shown)
    notes: tuple[str, ...] = ()
    if split_at is None:
        train, test = whole.hold_out(f"{path} has no column `split` and", np.random.default_rng(0))
        validation = None
        if model_given:
            notes = (
                f"The test pictures are a tenth of those in {path.name}, and the model may have been trained on them. "
                "So accuracy on them says little about new pictures. Choose others in a column `split`.",
            )
    else:
        parts = _parts(path, [row[split_at] for row in body])
        if not parts["train"] or not parts["test"]:
            lacking = " and no ".join(name for name in ("train", "test") if not parts[name])
            raise DatasetError(f"{path} lists no {lacking} pictures; check its column {header[split_at]}.")
        train, test = whole.part(np.array(parts["train"])), whole.part(np.array(parts["test"]))
        validation = whole.part(np.array(parts["validation"])) if parts["validation"] else None
    held_out = split_at is None and model_given
    return Dataset(path.stem, labels, train, validation, test, may_be_trained_on=held_out, notes=notes)


def _read(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise DatasetError(f"No table at {path}: there is no such file.\n{TABLE}")
    if (found := stand_in(path)) is not None:
        raise DatasetError(f"{path} holds no table: it {found}.")
    if path.stat().st_size > LARGEST:
        raise DatasetError(f"{path} is too large for a table of labels: over {LARGEST / 2**20:.0f} MiB.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        first, _, _ = text.partition("\n")
        separator = max(",;\t", key=first.count)  # spreadsheets write semicolons where a comma is a decimal point
        read = csv.reader(text.splitlines(), delimiter=separator)
        rows = [[cell.strip() for cell in row] for row in read if any(row)]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8 ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise DatasetError(f"{path} is not valid CSV ({error}).\n{TABLE}") from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise DatasetError(f"{path} lists no pictures with labels.\n{TABLE}")
    if twice := sorted({name for name in rows[0] if rows[0].count(name) > 1}):
        raise DatasetError(f"{path} has more than one column named {', '.join(twice[:5])}; rename or remove them.")
    if uneven := [f"{row[0]:.80}: {len(row)} cells" for row in rows if len(row) != len(rows[0])]:
        raise DatasetError(
            f"{path}: these lines do not have {len(rows[0])} cells, as the header has:{list_first(uneven)}"
        )
    return rows


def _ticked(path: Path, header: list[str], body: list[list[str]], columns: list[int]) -> np.ndarray:
    shown = np.zeros((len(body), len(columns)), np.int64)
    for line, row in enumerate(body):
        for place, i in enumerate(columns):
            if (cell := row[i].casefold()) not in _YES | _NO:
                raise DatasetError(f"{path}: {row[i]!r:.40} in column {header[i]} of {row[0]} is not 1 or 0.\n{TABLE}")
            shown[line, place] = cell in _YES
    return shown


def _listed(cells: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The labels, sorted, and which of them each cell lists; a cell may be empty."""
    found = [{label.strip() for label in cell.split("|")} - {""} for cell in cells]
    labels = tuple(sorted(set().union(*found)))
    return labels, np.array([[label in each for label in labels] for each in found], np.int64)


def _pictures(path: Path, names: list[str]) -> list[Path]:
    pictures = [path.absolute().parent / name for name in names]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DatasetError(f"{path} lists pictures more than once; merge their lines:{list_first(twice)}")
    if gone := [str(picture) for picture in pictures if not _holds(Path.is_file, picture)]:
        how = f"; {FETCH}" if any(_holds(leads_nowhere, Path(each)) for each in gone) else ""
        raise DatasetError(f"{path} lists {len(gone):,} pictures that do not exist{how}:{list_first(gone)}")
    if strange := [str(picture) for picture in pictures if picture.suffix.lower() not in SUFFIXES]:
        raise DatasetError(f"{path} lists files that do not end like pictures (.jpg, .png, ...):{list_first(strange)}")
    return pictures


def _holds(question: Callable[[Path], bool], path: Path) -> bool:
    try:
        return question(path)
    except (OSError, ValueError):  # a name that is too long or contains a zero byte
        return False


def _parts(path: Path, names: list[str]) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for i, name in enumerate(names):
        split = SPLIT_NAMES.get(name.casefold())
        if split is None:
            raise DatasetError(f"{path}: {name!r:.40} is not a split; write train, validation or test.")
        parts[split].append(i)
    return parts
