"""Labels pictures as they arrive: decoding and inference overlap, order is kept, and few pictures wait in memory."""

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

_POLL = 0.1  # seconds between checks whether the stream was left


@dataclass(frozen=True, eq=False)
class Outcome(Generic[Item, Answer]):
    """The result for one picture of a stream: a prediction, or the error that prevented it."""

    picture: Item
    error: SignsError | None
    _prediction: Answer | None = field(repr=False)

    @property
    def prediction(self) -> Answer:
        """The prediction; raises the picture's error if there is one."""
        if self.error is not None:
            raise self.error
        assert self._prediction is not None  # it is set unless there is an error
        return self._prediction


@dataclass(frozen=True)
class Stream(Generic[Item, Answer]):
    """Runs `answer` in `workers` threads on the pictures that are waiting, at most `batch` at once.

    `answer` takes pictures and whether more are waiting, and returns an Answer or a SignsError for each. An exception
    that it raises ends the stream.
    """

    answer: Callable[[Sequence[Item], bool], Sequence[Answer | SignsError]]
    workers: int
    batch: int

    def run(self, pictures: Iterable[Item]) -> Generator[Outcome[Item, Answer]]:
        """Yield the outcomes in order. Another thread reads `pictures`, up to twice `batch` ahead for each worker."""
        waiting: queue.SimpleQueue[tuple[Item, Future[Answer | SignsError]]] = queue.SimpleQueue()
        ordered: queue.SimpleQueue[tuple[Item, Future[Answer | SignsError]] | BaseException | None]
        ordered = queue.SimpleQueue()
        room = threading.Semaphore(2 * self.workers * self.batch)
        is_left = threading.Event()
        pool = ThreadPoolExecutor(self.workers)  # Python waits for its threads when it ends

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
            except BaseException as error:  # raised by the source; raised again where the outcomes are taken
                end = error
            finally:
                ordered.put(end)

        def work() -> None:
            """Take the waiting pictures; the work for an earlier picture may have taken them already."""
            items: list[tuple[Item, Future[Answer | SignsError]]] = []
            with suppress(queue.Empty):
                while len(items) < self.batch:
                    items.append(waiting.get_nowait())
            if items and not is_left.is_set():
                self._resolve(items, more=not waiting.empty())

        threading.Thread(target=read, daemon=True).start()  # daemon: the source may block for ever
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
            if not sys.is_finalizing():  # while Python ends, it has already waited for the threads
                pool.shutdown(wait=True, cancel_futures=True)  # batches that are in the model are finished

    def _resolve(self, items: Sequence[tuple[Item, "Future[Answer | SignsError]"]], *, more: bool) -> None:
        try:
            answers = list(zip(items, self.answer([picture for picture, _ in items], more), strict=True))
        except BaseException as error:  # raised again where the outcome is taken
            for _, future in items:
                future.set_exception(error)
            return
        for (_, future), found in answers:
            future.set_result(found)
