"""What a bundle takes on this device, whatever would be chosen: every variant, side by side, nothing kept."""

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.timing import SECONDS, Candidate, Ready, Timer


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured; no threads: one, and all that are allowed."""

    variants: tuple[str, ...] = ()  # (): all
    device: str = "cpu"
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = (1, 16)
    rounds: int = 5
    seconds: float = SECONDS  # of a round of one cell


@dataclass(frozen=True)
class Timing:
    """A picture's milliseconds in runs of `batch` pictures: medians of the rounds."""

    threads: int
    batch: int
    median: float
    late: float  # 95 of 100 runs take no longer


@dataclass(frozen=True)
class Benchmark:
    """What one variant takes."""

    variant: str
    bytes: int  # of its file
    passed: bool  # the golden pictures
    says: str  # of them
    seconds: float | None  # from nothing to the first answer
    peak_memory: int | None  # bytes of a process that labels one picture at a time; None: not told by this system
    timings: tuple[Timing, ...]


def benchmark(
    path: str | os.PathLike[str], config: BenchmarkConfig, *, on_done: Callable[[int], object] = lambda count: None
) -> list[Benchmark]:
    """Time a bundle's variants, each in its own process, in rounds; `on_done` hears of each round of one cell.

    Raises BundleError, and TimingError for a device that does not start.
    """
    bundle = open_bundle(path)
    variants = [bundle.variant(name) for name in config.variants] or list(bundle.manifest.variants)
    names = [each.name for each in variants]
    started: dict[str, list[Ready]] = {name: [] for name in names}
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    for threads in thread_counts(config):
        with ExitStack() as stack:
            timers = {
                name: stack.enter_context(Timer(Candidate(str(bundle.folder), name, config.device, threads)))
                for name in names
            }
            for name, timer in timers.items():
                started[name].append(timer.start())
            running = {name: timer for name, timer in timers.items() if started[name][-1].seconds is not None}
            for batch in config.batches:
                for name, (median, late) in _rounds(running, batch, config, on_done).items():
                    timings[name].append(Timing(threads, batch, median, late))
    return [
        Benchmark(
            each.name,
            each.file.bytes,
            all(ready.passed for ready in started[each.name]),
            started[each.name][-1].says,
            started[each.name][-1].seconds,
            max((ready.peak_memory or 0 for ready in started[each.name]), default=0) or None,
            tuple(timings[each.name]),
        )
        for each in variants
    ]


def thread_counts(config: BenchmarkConfig) -> Sequence[int]:
    """The numbers of threads that are timed."""
    return config.threads or sorted({1, find_limits().threads})


def _rounds(
    timers: dict[str, Timer], batch: int, config: BenchmarkConfig, on_done: Callable[[int], object]
) -> dict[str, tuple[float, float]]:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in timers}
    for _ in range(config.rounds):
        for name, timer in timers.items():
            taken[name].append(timer.spread(batch, config.seconds))
            on_done(1)
    return {
        name: (statistics.median(median for median, _ in rounds), statistics.median(late for _, late in rounds))
        for name, rounds in taken.items()
    }
