"""Labels pictures as they come: decoding and inference overlap, order is kept, and little waits in memory."""

import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from signs_runtime.errors import SignsError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_POLL = 0.1  # seconds between looks at whether the stream was left


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Item, Answer]):
    """What became of one picture of a stream: a prediction, or the error that it met."""

    picture: Item
    error: SignsError | None
    _prediction: Answer | None = field(repr=False)

    @property
    def prediction(self) -> Answer:
        """The prediction; raises the picture's error where it has none."""
        if self.error is not None:
            raise self.error
        assert self._prediction is not None  # it has the one or the other
        return self._prediction


@dataclass(frozen=True)
class Stream(Generic[Item, Answer]):
    """A function of several pictures, run by `workers` threads on what is there, at most `batch` pictures at once.

    `answer` gets pictures and whether others are waiting, and gives for each an Answer or its SignsError. What it
    raises ends the stream.
    """

    answer: Callable[[Sequence[Item], bool], Sequence[Answer | SignsError]]
    workers: int
    batch: int

    def run(self, pictures: Iterable[Item]) -> Generator[Outcome[Item, Answer]]:
        """Yield each picture's outcome in order. `pictures` is read in a thread of its own, twice `batch` ahead."""
        waiting: queue.SimpleQueue[tuple[Item, Future[Answer | SignsError]]] = queue.SimpleQueue()
        ordered: queue.SimpleQueue[tuple[Item, Future[Answer | SignsError]] | BaseException | None]
        ordered = queue.SimpleQueue()
        room = threading.Semaphore(2 * self.workers * self.batch)
        is_left = threading.Event()
        pool = ThreadPoolExecutor(self.workers)  # its threads are waited for when Python ends

        def read() -> None:
            end: BaseException | None = None
            try:
                for picture in pictures:
                    while not room.acquire(timeout=_POLL) and not is_left.is_set():
                        pass
                    if is_left.is_set():
                        return
                    item = (picture, Future[Answer | SignsError]())
                    waiting.put(item)
                    ordered.put(item)
                    pool.submit(work)
            except BaseException as error:  # the source's own: it is raised where the outcomes are taken
                end = error
            finally:
                ordered.put(end)

        def work() -> None:
            """Take what is there, which an earlier picture's work may have taken already."""
            items: list[tuple[Item, Future[Answer | SignsError]]] = []
            with suppress(queue.Empty):
                while len(items) < self.batch:
                    items.append(waiting.get_nowait())
            if items and not is_left.is_set():
                self._resolve(items, more=not waiting.empty())

        threading.Thread(target=read, daemon=True).start()  # a source may never give another picture
        try:
            while (item := ordered.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                picture, future = item
                found = future.result()
                room.release()
                if isinstance(found, SignsError):
                    yield Outcome(picture, found, None)
                else:
                    yield Outcome(picture, None, found)
        finally:
            is_left.set()
            if not sys.is_finalizing():  # then they have been waited for, and the reader stopped wherever it was
                pool.shutdown(wait=True, cancel_futures=True)  # what is in the model ends there

    def _resolve(self, items: Sequence[tuple[Item, "Future[Answer | SignsError]"]], *, more: bool) -> None:
        try:
            answers = list(zip(items, self.answer([picture for picture, _ in items], more), strict=True))
        except BaseException as error:  # raised again where the outcome is taken
            for _, future in items:
                future.set_exception(error)
            return
        for (_, future), found in answers:
            future.set_result(found)
