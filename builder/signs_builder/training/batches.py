"""Feeds a training: reads pictures in parallel, shuffles and changes them; equal seeds give equal batches."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from signs_builder.data.dataset import Split
from signs_builder.data.fingers import fold
from signs_builder.data.hand_mask import draw_wall
from signs_builder.data.hands import any_way, draw_hand
from signs_builder.data.image_changes import to_uint8
from signs_builder.data.rooms import draw_room
from signs_builder.disk import allocate, check_room
from signs_builder.errors import DatasetError, StrategyError
from signs_builder.progress import Progress, no_progress
from signs_builder.training.augment import augment
from signs_builder.training.recipe import MILD, Augmentation, TrainConfig
from signs_builder.training.strategy import Spread
from signs_runtime.pictures.input_spec import InputSpec

MEMORY_BYTES = 2**29  # larger sets of pictures are read again in each epoch, or from a file of pixels
WORKERS = 4  # threads, each preparing a batch; Pillow and numpy release the interpreter lock
WALLS = 0.3  # share of the pictures without a hand that show a wall; the others show a room
LARGEST_DRAWN = 96  # pixels: drawing takes longer for larger hands
THREE = 3  # fingers: half as many of these are folded, because SIGNS has enough of two
AHEAD = 6  # batches prepared in advance
_MARK = b"\nsigns-edge: decoded pictures\n"  # after a file's pixels: marks a file that may be overwritten

ReadImage = Callable[[int], NDArray[np.uint8]]  # index in a split -> uint8 spec.shape
Teach = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # pixels (b, h, w, c) -> probabilities (b, classes)
Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]


def open_pictures(
    split: Split, spec: InputSpec, decode_to: Path | None = None, *, progress: Progress = no_progress
) -> ReadImage:
    """Return a function that reads a picture, to be called repeatedly in bounded memory.

    All pictures are read at once, into memory if they fit into MEMORY_BYTES, or into the file `decode_to`; this may
    raise ImageError. Otherwise each is decoded when it is asked for.
    """
    shape = (len(split), *spec.shape)
    size = int(np.prod(shape))
    if decode_to is None and size > MEMORY_BYTES:
        return lambda i: split.image(i, spec)
    with progress("Reading pictures", len(split)) as on_done:
        images = split.images(spec, on_done) if decode_to is None else _decode_to(decode_to, split, spec, on_done)
    return lambda i: images[i]


def check_decode_to(file: Path) -> None:
    """Raise DatasetError if `file` exists and was not written by an earlier --decode-to."""
    if not file.exists():
        return
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - len(_MARK)))
        if size == 0 or opened.read() == _MARK:
            return
    raise DatasetError(
        f"{file} was not overwritten: it is not a file of pixels that an earlier --decode-to wrote. "
        "Choose another name, or delete it."
    )


def _decode_to(file: Path, split: Split, spec: InputSpec, on_done: Callable[[int], None]) -> NDArray[np.uint8]:
    check_decode_to(file)
    file.unlink(missing_ok=True)
    shape = (len(split), *spec.shape)
    check_room(file.parent, int(np.prod(shape)))
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
        with file.open("ab") as opened:
            opened.write(_MARK)
        allocate(file, images.offset, images.offset + images.nbytes)
        split.read_into(images, spec, on_done)
        images.flush()
    except BaseException:
        with suppress(OSError):  # Windows cannot delete a mapped file
            file.unlink()
        raise
    stored: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return stored


def steps_per_epoch(pictures: int, config: TrainConfig, spread: Spread) -> int:
    """The number of batches in an epoch. Raises StrategyError if a batch cannot be divided evenly among the devices."""
    if config.batch_size % spread.devices:
        raise StrategyError(
            f"A batch of {config.batch_size} pictures cannot be divided evenly among {spread.devices} devices; "
            f"choose a --batch-size that is a multiple of {spread.devices}."
        )
    whole, rest = divmod(pictures, config.batch_size)
    return whole + (rest >= spread.devices)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Endless batches from `first_epoch` (1, 2, ...) on: pixels uint8 (b, *spec.shape), targets float32 (b, classes).

    Targets are one-hot, or a mix with the answers of `teach`, by the recipe's share. Pictures without a hand have the
    same target for all labels.

    An epoch's order depends on (seed, epoch), a picture's changes on (seed, epoch, its index). So a training that
    resumes at an epoch gets the same batches as an unbroken run. The order is a full shuffle, not that of a buffer.
    With several devices, each process makes its own part of every batch; the last batch drops the pictures that cannot
    be divided evenly. `drawn` are images (uint8, like the others) and labels of drawn hands, which replace a share of
    the pictures if the recipe demands it.
    """

    def __init__(
        self,
        read: ReadImage,
        labels: NDArray[np.int64],
        classes: int,
        config: TrainConfig,
        *,
        first_epoch: int = 1,
        spread: Spread = Spread(),  # noqa: B008  # frozen
        drawn: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None,
        teach: Teach | None = None,
    ) -> None:
        super().__init__()
        self.read = read
        self.one_hot = np.eye(classes, dtype=np.float32)
        self.targets = self.one_hot[labels]
        self.drawn = drawn
        self.teach = teach
        self.config = config
        self.first_epoch = first_epoch
        self.spread = spread
        self.steps_per_epoch = steps_per_epoch(len(labels), config, spread)
        self.error: Exception | None = None  # the error of a picture, which Keras would wrap in its own
        self._pool = ThreadPoolExecutor(WORKERS)
        self._ahead: dict[int, Future[Batch]] = {}

    @property
    def num_batches(self) -> None:
        """None: to Keras, this means endless."""
        return

    def __getitem__(self, i: int) -> Batch:
        for j in range(i, i + AHEAD):
            if j not in self._ahead:
                self._ahead[j] = self._pool.submit(self._make, j)
        try:
            return self._ahead.pop(i).result()
        except Exception as error:
            self.error = error
            raise

    def close(self) -> None:
        """Stop preparing batches."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, i: int) -> Batch:
        past, step = divmod(i, self.steps_per_epoch)
        epoch = self.first_epoch + past
        start = step * self.config.batch_size
        places = self._order(epoch)[start : start + self.config.batch_size]
        own = len(places) // self.spread.devices * self.spread.devices // self.spread.processes
        places = places[self.spread.process * own : (self.spread.process + 1) * own]
        bounds = self.config.augmentation.times(self.config.strength(epoch))
        pictures, targets = zip(*(self._picture(epoch, int(place), bounds) for place in places), strict=True)
        images, labels = np.stack(pictures), np.stack(targets)
        if self.teach is None:
            return images, labels
        mixed: NDArray[np.float32] = np.average(
            [self.teach(images), labels], axis=0, weights=[self.config.taught, 1 - self.config.taught]
        ).astype(np.float32)
        without_hand = labels.max(axis=1) < 1  # a teacher may be sure of such pictures
        mixed[without_hand] = labels[without_hand]
        return images, mixed

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.config.seed, epoch]).permutation(len(self.targets))

    def _picture(self, epoch: int, i: int, bounds: Augmentation) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if self.config.augmentation == Augmentation():
            return self.read(i), self.targets[i]
        rng = np.random.default_rng([self.config.seed, epoch, i])
        if rng.random() < self.config.calm:
            bounds = replace(MILD, mirror=bounds.mirror)
        if self.config.empty and rng.random() < self.config.empty:
            target = np.full_like(self.targets[i], 1 / self.targets.shape[1])
            return augment(_empty(self.read(i), rng), bounds.without_hand, rng), target
        if self.config.all_ways and rng.random() < self.config.drawn_hands:
            shown = int(rng.integers(self.targets.shape[1]))
            return augment(_hand(shown, self.read(i), rng), bounds, rng), self.one_hot[shown]
        if self.drawn and rng.random() < self.config.drawn_hands:
            hands, fingers = self.drawn
            chosen = rng.integers(len(fingers))
            return augment(hands[chosen], bounds, rng), self.one_hot[fingers[chosen]]
        label = int(self.targets[i].argmax())
        if self.config.folded and rng.random() < self.config.folded / (2 if label == THREE else 1):
            folded = fold(self.read(i), label, rng)
            if folded is not None:
                return augment(folded[0], bounds, rng), self.one_hot[folded[1]]
        return augment(self.read(i), bounds, rng), self.targets[i]


def _empty(like: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A room or a wall, without a hand, in the shape of a picture (h, w, 3) or (h, w, 1)."""
    pixels = (draw_wall if rng.random() < WALLS else draw_room)(like.shape[:2], rng)
    return to_uint8(pixels if like.shape[2] == 3 else pixels.mean(axis=2, keepdims=True))


def _hand(fingers: int, like: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A new drawn hand, shown in any way, in the shape of a picture (h, w, 3) or (h, w, 1)."""
    height, width, channels = like.shape
    drawn = Image.fromarray(draw_hand(fingers, min(max(height, width), LARGEST_DRAWN), rng, any_way(fingers, rng)))
    resized = drawn.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(like.shape)
