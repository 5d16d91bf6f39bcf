"""Times a model for `signs tune` and exports, in a process: `python -m signs_runtime.timing_worker CANDIDATE BEGUN`.

CANDIDATE is JSON, BEGUN the time of the start (seconds since 1970). The process first prints a `Ready` as JSON: how it
started and how it answers the golden pictures. Then it reads lines with a kind of timing, a batch size and seconds, and
answers each with a picture's milliseconds.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_runtime.bundle.folder import is_model_file, open_bundle
from signs_runtime.classifier import Classifier
from signs_runtime.errors import SignsError
from signs_runtime.placement.timing import Candidate, Ready
from signs_runtime.proof.checks import Answers
from signs_runtime.proof.prove import ask_golden
from signs_runtime.proof.verification import VerificationError

_WARM_UP = 3  # runs


def serve(candidate: Candidate, begun: float) -> None:
    try:
        classifier = Classifier(**asdict(candidate))
    except VerificationError as error:  # an earlier run failed, so the start proved the variant, and it failed again
        (answers,) = error.verification.variants
        print(json.dumps(asdict(Ready(False, _describe(answers), None, None))), flush=True)
        return
    rng = np.random.default_rng(0)
    classifier.predict(rng.integers(0, 256, classifier.input.shape, np.uint8))
    taken, peak = time.time() - begun, _peak_memory()
    print(json.dumps(asdict(Ready(*_ask_golden(candidate, classifier), peak, taken))), flush=True)
    for line in sys.stdin:
        what, count, seconds = line.split()
        images = rng.integers(0, 256, (int(count), *classifier.input.shape), np.uint8)
        timed = {"run": _time_runs, "lone": _time_lone, "stream": _time_stream}[what]
        print(*timed(classifier, images, float(seconds)), flush=True)


def _time_runs(classifier: Classifier, images: NDArray[np.uint8], seconds: float) -> tuple[float, ...]:
    """A picture's milliseconds in runs of this batch: the median, and the 95th percentile."""
    for _ in range(_WARM_UP):
        classifier.probabilities(images)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        before = time.perf_counter()
        classifier.probabilities(images)
        taken.append(time.perf_counter() - before)
    median, late = np.percentile(taken, (50, 95)).tolist()
    return 1000 * median / len(images), 1000 * late / len(images)


def _time_lone(classifier: Classifier, images: NDArray[np.uint8], pause: float) -> tuple[float, ...]:
    """The median milliseconds of single pictures, each after a pause that lets threads sleep and caches go cold."""
    taken: list[float] = []
    for image in images:
        time.sleep(pause)
        before = time.perf_counter()
        classifier.probabilities(image[None])
        taken.append(time.perf_counter() - before)
    return (1000 * statistics.median(taken),)


def _time_stream(classifier: Classifier, images: NDArray[np.uint8], seconds: float) -> tuple[float, ...]:
    batch = len(images)
    for _ in classifier.stream(images, batch=batch):  # creates the stream's session
        pass
    before = time.perf_counter()

    def pictures() -> Iterator[NDArray[np.uint8]]:
        while time.perf_counter() - before < seconds:
            yield from images

    count = sum(1 for _ in classifier.stream(pictures(), batch=batch))
    return (1000 * (time.perf_counter() - before) / count,)


def _ask_golden(candidate: Candidate, classifier: Classifier) -> tuple[bool, str]:
    path = Path(candidate.path)
    if is_model_file(path):
        return True, "a single model file has no golden pictures"
    bundle = open_bundle(path)
    answers = ask_golden(bundle.variant(candidate.variant), bundle.golden(), classifier.probabilities)
    return answers.passed, _describe(answers)


def _describe(answers: Answers) -> str:
    off = f"off by {answers.max_difference:.1e} (allowed {answers.tolerance:.1e})"
    return answers.error or f"{answers.same_label} of {answers.pictures} labels, {off}"


def _peak_memory() -> int | None:
    """The most bytes that this process has had in memory; None on Windows."""
    with suppress(OSError):  # on Linux, getrusage also counts the parent's memory at the fork
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return None


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    sys.stdout = answers
    try:
        serve(Candidate(**json.loads(sys.argv[1])), float(sys.argv[2]))
    except SignsError as error:
        sys.exit(str(error))
