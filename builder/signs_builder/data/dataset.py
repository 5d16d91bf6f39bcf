"""Labelled pictures in splits, whatever they came from: files that are read when asked for, or pixels."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_builder.errors import DatasetError
from signs_builder.progress import ignore_progress
from signs_runtime.bundle.strict_json import is_text
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import colour, read_image, resize


@dataclass(frozen=True)
class Split:
    """Pictures (files, or uint8 of shape (n, h, w, 3)) and what they show: labels (n,), indices into Dataset.labels."""

    pictures: Sequence[Path] | NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: "Split") -> "Split":
        labels = np.concatenate([self.labels, other.labels])
        if isinstance(self.pictures, np.ndarray) and isinstance(other.pictures, np.ndarray):
            return Split(np.concatenate([self.pictures, other.pictures]), labels)
        return Split([*self.pictures, *other.pictures], labels)

    def images(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> NDArray[np.uint8]:
        """Every picture as the model wants it, uint8 (n, *spec.shape), read by the runtime's own function.

        Raises ImageError for the first that cannot be read.
        """
        images = np.empty((len(self), *spec.shape), np.uint8)
        self.read_into(images, spec, on_done)
        return images

    def image(self, i: int, spec: InputSpec) -> NDArray[np.uint8]:
        """Picture `i` as the model wants it, uint8 spec.shape. Raises ImageError."""
        picture = self.pictures[i]
        if isinstance(picture, Path):
            return read_image(picture, spec)
        return resize(colour(Image.fromarray(picture), spec.colour), spec)

    def read_into(
        self, images: NDArray[np.uint8], spec: InputSpec, on_done: Callable[[int], None] = ignore_progress
    ) -> None:
        """Read every picture into `images`, uint8 (n, *spec.shape), in memory or on the disk; raises ImageError."""

        def read(i: int) -> None:
            images[i] = self.image(i, spec)
            on_done(1)

        self._for_each(read)

    def check(self, spec: InputSpec, on_done: Callable[[int], None] = ignore_progress) -> None:
        """Read every picture and keep none. Raises ImageError for the first that cannot be read."""

        def read(i: int) -> None:
            self.image(i, spec)
            on_done(1)

        self._for_each(read)

    def _for_each(self, read: Callable[[int], None]) -> None:
        with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter lock while it decodes
            try:
                list(pool.map(read, range(len(self))))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def part(self, indices: NDArray[np.int64]) -> "Split":
        """The pictures at these places, in this order."""
        if isinstance(self.pictures, np.ndarray):
            return Split(self.pictures[indices], self.labels[indices])
        return Split([self.pictures[i] for i in indices], self.labels[indices])

    def hold_out(self, name: str, rng: np.random.Generator) -> tuple["Split", "Split"]:
        """Keep a tenth of each class apart, at least one picture: (what is left, what was kept apart)."""
        held: list[int] = []
        for label in np.unique(self.labels):
            members = np.flatnonzero(self.labels == label)
            if len(members) < 2:
                raise DatasetError(f"{name} a class of one picture, which cannot be held out; add pictures.")
            held += rng.permutation(members)[: max(1, len(members) // 10)].tolist()
        apart = np.isin(np.arange(len(self)), held)
        return self.part(np.flatnonzero(~apart)), self.part(np.flatnonzero(apart))

    def files(self, folder: Path, names: Sequence[str]) -> list[Path]:
        """The picture files; pixels are first written to `folder`, lossless, as `{label}_IMG_{number}.png`."""
        if not isinstance(self.pictures, np.ndarray):
            return list(self.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for i, (picture, label) in enumerate(zip(self.pictures, self.labels, strict=True)):
            path = folder / f"{names[label]}_IMG_{i:04d}.png"
            Image.fromarray(picture).save(path)
            paths.append(path)
        return paths


@dataclass(frozen=True)
class Dataset:
    """A data set with its label names, in the order of the model's outputs."""

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    skipped: int = 0  # files that are no pictures by their names

    def __post_init__(self) -> None:
        if unprintable := [label for label in self.labels if not is_text(label)]:
            raise DatasetError(
                f"{self.name}: a label must be a line of text that can be shown, unlike {unprintable!r}."
            )
        for name, split in self.splits.items():
            if len(split) == 0:
                raise DatasetError(f"{self.name}: the {name} split is empty; put pictures in it.")
            if len(np.unique(split.labels)) < 2:
                only = self.labels[split.labels[0]]
                raise DatasetError(
                    f"{self.name}: all {len(split):,} pictures of the {name} split are labelled {only!r}; "
                    "a classifier needs two classes or more."
                )
        for index, label in enumerate(self.labels):
            if not (self.train.labels == index).any():
                raise DatasetError(f"{self.name}: no training picture shows {label!r}; add some, or remove the class.")

    @property
    def splits(self) -> dict[str, Split]:
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def all_but_test(self) -> Split:
        """Training and validation pictures together, for recipes that choose nothing."""
        return self.train if self.validation is None else self.train + self.validation

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}

    def sha256(self) -> str:
        """Digest of every picture (its file's bytes, or its pixels) with its split and label, in order."""
        digest = hashlib.sha256()
        for name, split in self.splits.items():
            for picture, label in zip(split.pictures, split.labels, strict=True):
                content = picture.read_bytes() if isinstance(picture, Path) else picture.tobytes()
                digest.update(f"{name} {self.labels[label]} {len(content)}\n".encode())
                digest.update(content)
        return digest.hexdigest()
