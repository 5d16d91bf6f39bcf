"""Measures every variant of a bundle on this device, side by side, without saving anything."""

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
    """What is measured. Without `threads`: one thread, and as many as this process may use."""

    variants: tuple[str, ...] = ()  # (): all
    device: str = "cpu"
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = (1, 16)
    rounds: int = 5
    seconds: float = SECONDS  # for a round of one cell


@dataclass(frozen=True)
class Timing:
    """A picture's milliseconds in runs of `batch` pictures, as medians over the rounds."""

    threads: int
    batch: int
    median: float
    late: float  # the 95th percentile of the runs


@dataclass(frozen=True)
class Benchmark:
    """The measurements of one variant."""

    variant: str
    bytes: int  # of its file
    passed: bool  # whether it answers the golden pictures as Keras did
    says: str  # about the golden pictures, or why it did not start
    seconds: float | None  # from the start of the process to the first answer
    peak_memory: int | None  # bytes of a process that labels one picture at a time; None: the system does not report it
    timings: tuple[Timing, ...]
    wrong: bool = False  # it answered, but not as Keras did


def benchmark(
    path: str | os.PathLike[str], config: BenchmarkConfig, *, on_done: Callable[[int], object] = lambda count: None
) -> list[Benchmark]:
    """Time a bundle's variants in rounds, each in its own process; `on_done` is called after each round of one cell.

    For a variant that does not start here, `says` holds the reason. Raises BundleError, and ProviderError for a device
    that this onnxruntime was not built for.
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
            with (
                suppress(TimingError),
                Timer(candidate) as timer,
            ):  # makes the cached graph, so that no timed start has to
                timer.start()
        with ExitStack() as stack:
            timers = {}
            for name, candidate in candidates.items():  # one by one, so that none is timed while another starts
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
    """Add what a start showed: keep the first start's time, the largest memory and the first wrong answers."""
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
