"""The process that `signs tune` and an export time in: `python -m signs_runtime.timing_worker CANDIDATE BEGUN`.

CANDIDATE is JSON, BEGUN the time of the start (seconds since 1970). It says what it started as and how it answers the
golden pictures, and then, for each batch size and time that it reads, a picture's milliseconds.
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
    except VerificationError as error:  # it failed before, and again
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
    """The median, and what 95 of 100 runs do not exceed."""
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
    """Each picture alone after a pause, in which threads fall asleep and caches and the clock cool down."""
    taken: list[float] = []
    for image in images:
        time.sleep(pause)
        before = time.perf_counter()
        classifier.probabilities(image[None])
        taken.append(time.perf_counter() - before)
    return (1000 * statistics.median(taken),)


def _time_stream(classifier: Classifier, images: NDArray[np.uint8], seconds: float) -> tuple[float, ...]:
    batch = len(images)
    for _ in classifier.stream(images, batch=batch):  # starts what a stream needs
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
        return True, "a file alone has no golden pictures"
    bundle = open_bundle(path)
    answers = ask_golden(bundle.variant(candidate.variant), bundle.golden(), classifier.probabilities)
    return answers.passed, _describe(answers)


def _describe(answers: Answers) -> str:
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
        serve(Candidate(**json.loads(sys.argv[1])), float(sys.argv[2]))
    except SignsError as error:
        sys.exit(str(error))
