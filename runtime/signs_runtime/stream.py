"""Labels pictures as they come: decoding and inference overlap, order is kept, and little waits in memory."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from signs_runtime.errors import SignsError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_POLL = 0.1  # seconds between looks at whether the stream was left


@dataclass(frozen=True)
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

    def run(self, pictures: Iterable[Item]) -> Iterator[Outcome[Item, Answer]]:
        """Yield each picture's outcome in order. `pictures` is read in a thread of its own, twice `batch` ahead."""
        waiting: queue.Queue[tuple[Item, Future[Answer | SignsError]] | None] = queue.Queue()
        ordered: queue.Queue[tuple[Item, Future[Answer | SignsError]] | BaseException | None] = queue.Queue()
        room = threading.Semaphore(2 * self.workers * self.batch)
        is_left = threading.Event()

        def read() -> None:
            end: BaseException | None = None
            try:
                for picture in pictures:
                    while not room.acquire(timeout=_POLL):
                        if is_left.is_set():
                            return
                    if is_left.is_set():
                        return
                    item = (picture, Future[Answer | SignsError]())
                    waiting.put(item)
                    ordered.put(item)
            except BaseException as error:  # the source's own: it is raised where the pictures are taken from
                end = error
            finally:
                ordered.put(end)
                for _ in range(self.workers):
                    waiting.put(None)

        def work() -> None:
            while (first := waiting.get()) is not None and not is_left.is_set():
                items, ends = [first], 0
                while len(items) < self.batch and not ends:
                    try:
                        following = waiting.get_nowait()
                    except queue.Empty:
                        break
                    if following is None:
                        ends = 1
                    else:
                        items.append(following)
                self._resolve(items, more=not waiting.empty())
                if ends:
                    return

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.workers)]
        threads.append(threading.Thread(target=read, daemon=True))
        for thread in threads:
            thread.start()
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

    def _resolve(self, items: Sequence[tuple[Item, "Future[Answer | SignsError]"]], *, more: bool) -> None:
        try:
            answers = list(zip(items, self.answer([picture for picture, _ in items], more), strict=True))
        except BaseException as error:  # raised again where the outcome is taken
            for _, future in items:
                future.set_exception(error)
            return
        for (_, future), found in answers:
            future.set_result(found)
