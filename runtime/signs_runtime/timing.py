"""Times classifiers side by side: each in a process of its own, rounds interleaved, medians.

`python -m signs_runtime.timing CANDIDATE` (JSON) is one such process: it says what it started as and how it answers the
golden pictures, and then, for each batch size and time that it reads, a picture's milliseconds.
"""

import json
import os
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
from typing import TYPE_CHECKING

from signs_runtime.errors import SignsError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from signs_runtime.checks import Answers
    from signs_runtime.classifier import Classifier

SECONDS = 0.4  # of one round
_WARM_UP = 3  # runs
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
class Started:
    """What a candidate says of itself before it is timed."""

    passed: bool  # the golden pictures; a file alone has none, and passes
    says: str  # of the golden pictures
    peak_memory: int | None  # bytes, after a start, an import of all it needs and one picture; None: Windows


class TimingError(SignsError):
    """A candidate could not be started or ended while it was timed."""


class Timer:
    """A candidate in its own process, for as long as the context lasts. Raises TimingError."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        command = [sys.executable, "-P", "-m", "signs_runtime.timing", json.dumps(asdict(candidate))]
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

    def start(self) -> Started:
        """Wait until it has started; to be called once."""
        return Started(**json.loads(self._hear()))

    def milliseconds(self, batch: int = 1, seconds: float = SECONDS) -> float:
        """A picture's median time in runs of `batch` pictures, over one round of `seconds`."""
        return self._time("run", batch, seconds)

    def stream_milliseconds(self, batch: int, seconds: float = SECONDS) -> float:
        """A picture's time in a stream that takes at most `batch` pictures at once."""
        return self._time("stream", batch, seconds)

    def _time(self, what: str, batch: int, seconds: float) -> float:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; what it said last is heard below
            print(what, batch, seconds, file=self._process.stdin, flush=True)
        return float(self._hear())

    def _hear(self) -> str:
        assert self._process.stdout is not None
        impatient = threading.Timer(_PATIENCE, self._process.kill)
        impatient.start()
        line = self._process.stdout.readline()
        impatient.cancel()
        if not line:  # the process has ended
            ended = self._process.wait()
            self._said.seek(0)
            said = self._said.read().strip() or f"its process ended with {ended}"
            raise TimingError(f"{self._candidate.variant or self._candidate.path} could not be timed: {said}")
        return line


@dataclass(frozen=True)
class Timed:
    """What was measured of a candidate beside others."""

    milliseconds: float  # for one picture, the median of the rounds
    peak_memory: int | None  # bytes, of its process before the rounds; None: Windows


def time_side_by_side(
    candidates: Mapping[str, Candidate],
    *,
    batch: int = 1,
    rounds: int,
    on_done: Callable[[int], object] = lambda count: None,
) -> dict[str, Timed]:
    """Time candidates, each in its own process, in rounds, and give what was measured by name. Raises TimingError."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    with ExitStack() as stack:
        timers = {name: stack.enter_context(Timer(candidate)) for name, candidate in candidates.items()}
        started = {name: timer.start() for name, timer in timers.items()}  # none is timed while another starts
        for _ in range(rounds):
            for name, timer in timers.items():
                taken[name].append(timer.milliseconds(batch))
                on_done(1)
    return {name: Timed(statistics.median(taken[name]), started[name].peak_memory) for name in candidates}


def _serve(candidate: Candidate) -> None:
    import numpy as np

    from signs_runtime import Classifier

    try:
        classifier = Classifier(**asdict(candidate))
    except VerificationError as error:  # it failed before, and again
        (answers,) = error.verification.variants
        print(json.dumps(asdict(Started(False, _describe(answers), None))), flush=True)
        return
    rng = np.random.default_rng(0)
    classifier.predict(rng.integers(0, 256, classifier.input.shape, np.uint8))
    peak = _peak_memory()
    print(json.dumps(asdict(Started(*_ask_golden(candidate, classifier), peak))), flush=True)
    for line in sys.stdin:
        what, batch, seconds = line.split()
        images = rng.integers(0, 256, (int(batch), *classifier.input.shape), np.uint8)
        timed = _time_runs if what == "run" else _time_stream
        print(timed(classifier, images, float(seconds)), flush=True)


def _time_runs(classifier: "Classifier", images: "NDArray[np.uint8]", seconds: float) -> float:
    for _ in range(_WARM_UP):
        classifier.probabilities(images)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        before = time.perf_counter()
        classifier.probabilities(images)
        taken.append(time.perf_counter() - before)
    return 1000 * statistics.median(taken) / len(images)


def _time_stream(classifier: "Classifier", images: "NDArray[np.uint8]", seconds: float) -> float:
    batch = len(images)
    for _ in classifier.stream(images, batch=batch):  # starts what a stream needs
        pass
    before = time.perf_counter()

    def pictures() -> "Iterator[NDArray[np.uint8]]":
        while time.perf_counter() - before < seconds:
            yield from images

    count = sum(1 for _ in classifier.stream(pictures(), batch=batch))
    return 1000 * (time.perf_counter() - before) / count


def _ask_golden(candidate: Candidate, classifier: "Classifier") -> tuple[bool, str]:
    from signs_runtime.bundle import is_model_file, open_bundle
    from signs_runtime.verification import ask_golden

    path = Path(candidate.path)
    if is_model_file(path):
        return True, "a file alone has no golden pictures"
    bundle = open_bundle(path)
    answers = ask_golden(bundle.variant(candidate.variant), bundle.golden(), lambda: classifier)
    return answers.passed, _describe(answers)


def _describe(answers: "Answers") -> str:
    off = f"probabilities off by up to {answers.max_difference:.1e} of {answers.tolerance:.1e} allowed"
    return answers.error or f"{answers.same_label} of {answers.pictures} as Keras, {off}"


def _peak_memory() -> int | None:
    """Bytes that this process had at most in memory; None on Windows."""
    with suppress(OSError):  # on Linux, getrusage counts what the parent had when it forked
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return None


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sys.stdout = answers
    try:
        _serve(Candidate(**json.loads(sys.argv[1])))
    except SignsError as error:
        sys.exit(str(error))
