"""Runs the model on images that arrived while it was busy, as one batch. Nothing waits for a batch to fill."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# uint8 (n, h, w, channels), and whether nothing else runs -> float32 (n, labels)
Run = Callable[[NDArray[np.uint8], bool], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class _Waiting:
    images: NDArray[np.uint8]
    answer: "asyncio.Future[NDArray[np.float32]]"


class Batches:
    """A queue in front of a model, with `workers` threads: a lone image gets all cores, several batches a core each."""

    def __init__(
        self, run: Run, largest: int, workers: int = 1, on_run: Callable[[int], None] = lambda count: None
    ) -> None:
        self._run, self._largest, self._on_run = run, largest, on_run
        self._waiting: deque[_Waiting] = deque()
        self._has_more = asyncio.Event()
        self._threads = ThreadPoolExecutor(workers, "model")
        self._free = asyncio.Semaphore(workers)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_running(self) -> bool:
        return bool(self._running)

    async def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The model's answers, (n, labels). Raises what the model raises."""
        parts = [images[first : first + self._largest] for first in range(0, len(images), self._largest)]
        loop = asyncio.get_running_loop()
        own = [_Waiting(part, loop.create_future()) for part in parts]
        self._waiting.extend(own)
        self._has_more.set()
        try:
            return np.concatenate(await asyncio.gather(*(each.answer for each in own)))
        finally:
            for each in own:
                each.answer.cancel()  # of those that are not done, after an error or a timeout
            if any(each.answer.cancelled() for each in own):
                self._waiting = deque(each for each in self._waiting if not each.answer.cancelled())

    async def run(self) -> None:
        """Answer what arrives, until this task is cancelled."""
        try:
            while True:
                await self._has_more.wait()
                await self._free.acquire()
                taken = self._take()
                if not taken:
                    self._free.release()
                    self._has_more.clear()
                    continue
                task = asyncio.create_task(self._answer(taken, alone=not self._running))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, taken: Sequence[_Waiting], *, alone: bool) -> None:
        """Run the model on one batch, and hand its answers out."""
        images = np.concatenate([each.images for each in taken])
        loop = asyncio.get_running_loop()
        try:
            rows = await loop.run_in_executor(self._threads, self._run, images, alone and len(images) == 1)
        except Exception as error:  # whatever the model raises belongs to those who wait for its answer
            _fail(taken, error)
            return
        finally:
            self._free.release()
        self._on_run(len(images))
        ends = np.cumsum([len(each.images) for each in taken])
        for each, end in zip(taken, ends, strict=True):
            if not each.answer.done():
                each.answer.set_result(rows[end - len(each.images) : end])

    def _take(self) -> list[_Waiting]:
        """What fits into the next batch, in the order of arrival."""
        taken: list[_Waiting] = []
        count = 0
        while self._waiting and count + len(self._waiting[0].images) <= self._largest:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].images)
        return taken


def _fail(taken: Sequence[_Waiting], error: Exception) -> None:
    for each in taken:
        if not each.answer.done():
            each.answer.set_exception(error)
