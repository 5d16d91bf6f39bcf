"""Labelled pictures in splits, from any source: files that are read on demand, or pixels in memory."""

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_builder.data.content import count_copies, count_repeated, count_turned
from signs_builder.errors import DatasetError, list_first
from signs_builder.progress import ignore_progress
from signs_runtime.bundle.strict_json import is_text
from signs_runtime.errors import ImageError
from signs_runtime.labels import find_lookalikes
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import fit, read_image

TURNED_AMONG = 2000  # pictures at most whose headers are searched for an EXIF orientation


@dataclass(frozen=True)
class Split:
    """Pictures (files, or uint8 of shape (n, h, w, 3)) and their labels.

    `labels` are indices into Dataset.labels, (n,). For a multi-label classifier they are (n, labels): 1 for each
    label that a picture shows, 0 for the others.
    """

    pictures: Sequence[Path] | NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_multi_label(self) -> bool:
        return self.labels.ndim == 2

    def shown(self, count: int) -> NDArray[np.bool_]:
        """Which of `count` labels each picture shows, (n, count)."""
        if self.is_multi_label:
            return self.labels.astype(np.bool_)
        shown: NDArray[np.bool_] = self.labels[:, None] == np.arange(count)
        return shown

    def __add__(self, other: "Split") -> "Split":
        labels = np.concatenate([self.labels, other.labels])
        if isinstance(self.pictures, np.ndarray) and isinstance(other.pictures, np.ndarray):
            return Split(np.concatenate([self.pictures, other.pictures]), labels)
        return Split([*self.pictures, *other.pictures], labels)

    def images(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> NDArray[np.uint8]:
        """Read all pictures as the model takes them, uint8 (n, *spec.shape), by the runtime's own function.

        Raises one ImageError that names all pictures that cannot be read.
        """
        images = np.empty((len(self), *spec.shape), np.uint8)
        self.read_into(images, spec, on_done)
        return images

    def image(self, i: int, spec: InputSpec) -> NDArray[np.uint8]:
        """Read picture `i` as the model takes it, uint8 spec.shape. Raises ImageError."""
        picture = self.pictures[i]
        if isinstance(picture, Path):
            return read_image(picture, spec)
        return fit(Image.fromarray(picture), spec)

    def read_into(
        self, images: NDArray[np.uint8], spec: InputSpec, on_done: Callable[[int], None] = ignore_progress
    ) -> None:
        """Read all pictures into `images`, uint8 (n, *spec.shape), in memory or on the disk. Raises ImageError."""

        def read(i: int) -> None:
            images[i] = self.image(i, spec)

        _refuse(self._errors(read, on_done), len(self))

    def check(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> None:
        """Read all pictures and discard them. Raises one ImageError that names all that cannot be read."""
        _refuse(self.unreadable(spec, on_done), len(self))

    def unreadable(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> list[ImageError]:
        """Read all pictures and discard them. Returns the errors of those that cannot be read."""
        return self._errors(lambda i: self.image(i, spec), on_done)

    def _errors(self, read: Callable[[int], object], on_done: Callable[[int], None]) -> list[ImageError]:
        def attempt(i: int) -> ImageError | None:
            try:
                read(i)
            except ImageError as error:
                return error
            finally:
                on_done(1)
            return None

        with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes
            try:
                return [error for error in pool.map(attempt, range(len(self))) if error is not None]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def part(self, indices: NDArray[np.int64]) -> "Split":
        """The pictures with these indices, in this order."""
        if isinstance(self.pictures, np.ndarray):
            return Split(self.pictures[indices], self.labels[indices])
        return Split([self.pictures[i] for i in indices], self.labels[indices])

    def thin(self, limit: int) -> "Split":
        """At most `limit` pictures, evenly spaced."""
        if len(self) <= limit:
            return self
        return self.part(np.linspace(0, len(self) - 1, max(limit, 0)).round().astype(np.int64))

    def mixed(self) -> NDArray[np.int64]:
        """All indices in a random order that is always the same.

        Any first part of it has about the same share of each class as the whole.
        """
        order = np.random.default_rng(0).permutation(len(self))
        if self.is_multi_label:
            return order
        ranks = np.empty(len(order))
        for label in np.unique(self.labels):
            own = order[self.labels[order] == label]
            ranks[own] = (np.arange(len(own)) + 0.5) / len(own)
        return np.argsort(ranks, kind="stable")

    def hold_out(self, name: str, rng: np.random.Generator) -> tuple["Split", "Split"]:
        """Hold out a tenth of each class, at least one picture: (the rest, what was held out).

        `name` begins the message of the DatasetError for a class with one picture.
        """
        if self.is_multi_label:
            apart = np.zeros(len(self), np.bool_)
            apart[rng.permutation(len(self))[: max(1, len(self) // 10)]] = True
            for shown in self.labels.T > 0:  # keep at least one picture of a rare label in the rest
                if shown.any() and not (shown & ~apart).any():
                    apart[np.flatnonzero(shown)[0]] = False
            return self.part(np.flatnonzero(~apart)), self.part(np.flatnonzero(apart))
        held: list[int] = []
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            if len(members) < 2:
                raise DatasetError(
                    f"{name} one of its classes has only one picture, so none can be held out. Add more to that class."
                )
            held += rng.permutation(members)[: max(1, len(members) // 10)].tolist()
        apart = np.isin(np.arange(len(self)), held)
        return self.part(np.flatnonzero(~apart)), self.part(np.flatnonzero(apart))

    def files(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """The picture files; pixels are first written to `folder`, losslessly, as `{label}_IMG_{number}.png`."""
        if not isinstance(self.pictures, np.ndarray):
            return list(self.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for i, (picture, label) in enumerate(zip(self.pictures, self.labels, strict=True)):
            path = folder / f"{as_file_name(names[label])}_IMG_{i:04d}.png"
            Image.fromarray(picture).save(path)
            paths.append(path)
        return paths


def as_file_name(label: str) -> str:
    """The label as a file name: characters that some system forbids become `-`."""
    return re.sub(r'[<>:"/\\|?*]', "-", label)


def _refuse(errors: Sequence[ImageError], pictures: int) -> None:
    """Raise the errors of some of `pictures` pictures as one error, if there are any."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ImageError(
            f"{len(errors):,} of {pictures:,} pictures cannot be read; replace or remove them:"
            + list_first([str(error) for error in errors])
        )


@dataclass(frozen=True)
class Dataset:
    """A data set with its labels, in the order of the model's outputs."""

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    skipped: int = 0  # files in the splits without a picture's ending, or outside the classes' folders
    passed_over: tuple[str, ...] = ()  # names of other folders next to the splits; they are not read
    may_be_trained_on: bool = False  # the test pictures were taken from train, and the model came from elsewhere
    notes: tuple[str, ...] = ()  # sentences on the origin of the test pictures, if there is no test split

    def __post_init__(self) -> None:
        if unprintable := [label for label in self.labels if not is_text(label)]:
            raise DatasetError(
                f"{self.name}: these labels are not a line of printable text: {unprintable!r}; rename them."
            )
        if (alike := find_lookalikes(self.labels)) is not None:
            raise DatasetError(
                f"{self.name}: the labels {alike[0]!a} and {alike[1]!a} look the same to a reader; rename one."
                if alike[0]
                else f"{self.name}: the label {alike[1]!a} is invisible to a reader; rename it."
            )
        for name, split in self.splits.items():
            if len(split) == 0:
                raise DatasetError(f"{self.name}: the {name} split is empty; add pictures to it.")
            if not split.is_multi_label and len(np.unique(split.labels)) < 2:
                only = self.labels[split.labels[0]]
                raise DatasetError(
                    f"{self.name}: all {len(split):,} pictures of the {name} split are labelled {only!r}; "
                    "a classifier needs two classes or more."
                )
        for i in np.flatnonzero(~self.train.shown(len(self.labels)).any(axis=0)):
            label = self.labels[i]
            raise DatasetError(f"{self.name}: no training picture shows {label!r}; add some, or remove the class.")

    @property
    def splits(self) -> dict[str, Split]:
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def all_but_test(self) -> Split:
        """Training and validation pictures together, for recipes that do not validate."""
        return self.train if self.validation is None else self.train + self.validation

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences to print with every accuracy on the test pictures."""
        if not self.duplicates:
            return self.notes
        occur = "occurs" if self.duplicates == 1 else "occur"
        among = "training" if self.validation is None else "training or validation"
        copies = f"{self.duplicates:,} of the {len(self.test):,} test pictures also {occur} among the {among} pictures."
        return (*self.notes, copies)

    @cached_property
    def duplicates(self) -> int:
        """How many test pictures also occur in another split; files are compared by bytes, pixels by values."""
        return count_copies(self.test.pictures, self.all_but_test_pictures)

    @cached_property
    def repeated(self) -> int:
        """How many of the training and validation pictures occur more than once."""
        return count_repeated(self.all_but_test_pictures)

    @property
    def all_but_test_pictures(self) -> list[Path | NDArray[np.uint8]]:
        """Training and validation pictures, which may differ in size."""
        return [picture for name, split in self.splits.items() if name != "test" for picture in split.pictures]

    def turned(self) -> tuple[int, int]:
        """How many pictures have an EXIF orientation that rotates them, and how many were looked at.

        Looks at TURNED_AMONG pictures at most, the test pictures first. Reads only headers.
        """
        pictures = [*self.test.pictures, *self.all_but_test_pictures][:TURNED_AMONG]
        return count_turned([picture for picture in pictures if isinstance(picture, Path)]), len(pictures)

    def check(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> None:
        """Read and discard all pictures of all splits. Raises one ImageError that names all unreadable ones."""
        errors = [error for split in self.splits.values() for error in split.unreadable(spec, on_done)]
        _refuse(errors, sum(self.counts.values()))

    def sha256(self) -> str:
        """Digest of all pictures (file bytes, or pixels) with their splits and labels, in order; computed once.

        Raises ImageError for a file that cannot be read.
        """
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for picture, shown in zip(split.pictures, split.shown(len(self.labels)), strict=True):
                content = _content(picture)
                label = ", ".join(self.labels[i] for i in np.flatnonzero(shown))
                digest.update(f"{name} {label} {len(content)}\n".encode())
                digest.update(content)
        return digest.hexdigest()


def _content(picture: Path | NDArray[np.uint8]) -> bytes:
    if not isinstance(picture, Path):
        return picture.tobytes()
    try:
        return picture.read_bytes()
    except OSError as error:
        raise ImageError(f"{picture}: cannot be read ({error.strerror}).") from error
