"""Times classifiers side by side: each in its own process, with interleaved rounds and medians.

The process is `signs_runtime.timing_worker`. It reports how it started and how it answers the golden pictures. Then,
for each request with a batch size and seconds, it reports a picture's milliseconds.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from signs_runtime.engine.child_python import can_start_python, python_command
from signs_runtime.errors import SignsError

WORKER = "signs_runtime.timing_worker"  # by name, because it starts Classifiers and so depends on this module
SECONDS = 0.4  # of one round
_PATIENCE = 120  # seconds for a start or a round; a provider may hang


@dataclass(frozen=True)
class Candidate:
    """A classifier to time, by the arguments that start it."""

    path: str
    variant: str | None = None
    device: str = "cpu"
    threads: int | None = None
    cache: bool = True


@dataclass(frozen=True)
class Ready:
    """What a candidate reports before it is timed."""

    passed: bool  # whether it answers the golden pictures as Keras did; a single model file has none, and passes
    says: str  # about the golden pictures
    peak_memory: int | None  # bytes after all imports, the start and one picture; None: Windows
    seconds: float | None  # from the start of the process to the first answer; None: it did not start


class TimingError(SignsError):
    """A candidate could not be started, or its process ended while it was timed."""


class Timer:
    """Runs a candidate in its own process, until the context ends. Raises TimingError."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        if not can_start_python():
            raise TimingError(
                f"{Path(sys.executable).name} is a packaged program, which cannot start a Python process for each "
                "candidate. Run `signs tune` from a Python with signs-runtime on this device; this program will then "
                "use the result."
            )
        command = python_command("-m", WORKER, [json.dumps(asdict(candidate)), str(time.time())])
        pipe = subprocess.PIPE
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._said, text=True)

    def __enter__(self) -> "Timer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()
        self._said.close()

    def start(self) -> Ready:
        """Wait until the candidate has started; call it once, first."""
        return Ready(**json.loads(self._hear()))

    def milliseconds(self, batch: int = 1, seconds: float = SECONDS) -> float:
        """A picture's median milliseconds in runs of `batch` pictures, over one round of `seconds`."""
        return self._time("run", batch, seconds)[0]

    def spread(self, batch: int, seconds: float = SECONDS) -> tuple[float, float]:
        """A picture's milliseconds in runs of `batch` pictures: the median and the 95th percentile."""
        median, late = self._time("run", batch, seconds)
        return median, late

    def lone_milliseconds(self, pause: float, count: int = 1) -> float:
        """The median milliseconds of `count` single pictures, each after a `pause` in seconds, as from a camera."""
        return self._time("lone", count, pause)[0]

    def stream_milliseconds(self, batch: int, seconds: float = SECONDS) -> float:
        """A picture's milliseconds in a stream that takes at most `batch` pictures at once."""
        return self._time("stream", batch, seconds)[0]

    def _time(self, what: str, count: int, seconds: float) -> list[float]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended; its last words are read below
            print(what, count, seconds, file=self._process.stdin, flush=True)
        return list(map(float, self._hear().split()))

    def _hear(self) -> str:
        assert self._process.stdout is not None
        impatient = threading.Timer(_PATIENCE, self._process.kill)
        impatient.start()
        line = self._process.stdout.readline()
        impatient.cancel()
        if not line:  # the process has ended
            ended = self._process.wait()
            self._said.seek(0)
            said = self._said.read().strip() or f"its process ended with exit code {ended}"
            raise TimingError(f"{self._candidate.variant or self._candidate.path} could not be timed: {said}")
        return line


@dataclass(frozen=True)
class Timed:
    """The measurements of a candidate that was timed side by side with others."""

    milliseconds: float  # for one picture, the median of the rounds
    peak_memory: int | None  # bytes, of its process before the rounds; None: Windows


def time_side_by_side(
    candidates: Mapping[str, Candidate],
    *,
    batch: int = 1,
    rounds: int,
    on_done: Callable[[int], object] = lambda count: None,
) -> dict[str, Timed]:
    """Time candidates in rounds, each in its own process; returns the measurements by name. Raises TimingError."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    with ExitStack() as stack:
        timers = {name: stack.enter_context(Timer(candidate)) for name, candidate in candidates.items()}
        started = {name: timer.start() for name, timer in timers.items()}  # none is timed while another starts
        for _ in range(rounds):
            for name, timer in timers.items():
                taken[name].append(timer.milliseconds(batch))
                on_done(1)
    return {name: Timed(statistics.median(taken[name]), started[name].peak_memory) for name in candidates}
