"""What a bundle takes on this device, whatever would be chosen: every variant, side by side, nothing kept."""

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.engine.session import require_provider
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.timing import SECONDS, Candidate, Ready, Timer, TimingError


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
    wrong: bool = False  # it answered, and not as Keras did


def benchmark(
    path: str | os.PathLike[str], config: BenchmarkConfig, *, on_done: Callable[[int], object] = lambda count: None
) -> list[Benchmark]:
    """Time a bundle's variants, each in its own process, in rounds; `on_done` hears of each round of one cell.

    A variant that does not start here says so in `says`. Raises BundleError, and ProviderError for a device that this
    onnxruntime was not built for.
    """
    bundle = open_bundle(path)
    require_provider(config.device)
    names = dict.fromkeys(bundle.variant(name).name for name in config.variants) or [
        each.name for each in bundle.manifest.variants
    ]
    found = {}
    for name in names:
        variant = bundle.variant(name)
        found[name] = Benchmark(name, variant.file.bytes, False, "", None, None, ())
    for threads in thread_counts(config):
        candidates = {name: Candidate(str(bundle.folder), name, config.device, threads) for name in names}
        for candidate in candidates.values():
            with suppress(TimingError), Timer(candidate) as timer:  # what it takes to make the graph is no start's
                timer.start()
        with ExitStack() as stack:
            timers = {}
            for name, candidate in candidates.items():  # one after the other: none is timed while another starts
                try:
                    timer = stack.enter_context(Timer(candidate))
                    ready = timer.start()
                except TimingError as error:
                    found[name] = replace(found[name], passed=False, says=str(error).splitlines()[-1])
                    continue
                found[name] = _with_start(found[name], ready)
                if ready.seconds is not None:
                    timers[name] = timer
            for batch in dict.fromkeys(config.batches):
                for name, (median, late) in _rounds(timers, batch, config, on_done).items():
                    timed = (*found[name].timings, Timing(threads, batch, median, late))
                    found[name] = replace(found[name], timings=timed)
    return list(found.values())


def _with_start(found: Benchmark, ready: Ready) -> Benchmark:
    """With what a start showed: the first one's time, the largest memory, and the first miss of the golden pictures."""
    first = not found.says
    return replace(
        found,
        passed=ready.passed and (first or found.passed),
        says=ready.says if first or found.passed else found.says,
        seconds=ready.seconds if found.seconds is None else found.seconds,
        peak_memory=max(ready.peak_memory or 0, found.peak_memory or 0) or None,
        wrong=found.wrong or not ready.passed,
    )


def thread_counts(config: BenchmarkConfig) -> Sequence[int]:
    """The numbers of threads that are timed."""
    return tuple(dict.fromkeys(config.threads)) or tuple(sorted({1, find_limits().threads}))


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
