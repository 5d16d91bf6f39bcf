"""Times models side by side: each in its own process, rounds interleaved, medians.

`python -m signs_export.speed MODEL BATCH THREADS` is one such process: it prints an empty line when it is ready, then
for each line that it reads a picture's median milliseconds.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from signs_builder.progress import ignore_progress
from signs_export.errors import ExportError

ROUNDS = 3
WORTHWHILE = 1.1  # times float32's speed; a variant that is slower is carried for its size only
_SECONDS, _WARM_UP = 0.4, 3  # of one round


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def time_side_by_side(
    models: Mapping[str, Path],
    *,
    batch: int = 1,
    threads: int,
    rounds: int = ROUNDS,
    on_done: Callable[[int], None] = ignore_progress,
) -> dict[str, float]:
    """The milliseconds that one picture takes in each model (an .onnx file), by name. Raises ExportError."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    with ExitStack() as stack:
        timers = {
            name: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "signs_export.speed", str(path), str(batch), str(threads)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for name, path in models.items()
        }
        for name, timer in timers.items():
            _hear(timer, name)  # none is timed while another starts
        for _ in range(rounds):
            for name, timer in timers.items():
                print(file=timer.stdin, flush=True)
                taken[name].append(float(_hear(timer, name)))
                on_done(1)
    return {name: statistics.median(values) for name, values in taken.items()}


def _hear(timer: subprocess.Popen[str], name: str) -> str:
    assert timer.stdout is not None
    assert timer.stderr is not None
    line = timer.stdout.readline()
    if not line:  # the process has ended
        raise ExportError(f"{name} could not be timed:\n{timer.stderr.read().strip()}")
    return line


def _serve(path: Path, batch: int, threads: int) -> None:
    import numpy as np

    from signs_runtime import Classifier

    classifier = Classifier(path, threads=threads)
    images = np.random.default_rng(0).integers(0, 256, (batch, *classifier.input.shape), np.uint8)
    print(flush=True)
    for _ in sys.stdin:
        for _ in range(_WARM_UP):
            classifier.probabilities(images)
        taken: list[float] = []
        while sum(taken) < _SECONDS:
            before = time.perf_counter()
            classifier.probabilities(images)
            taken.append(time.perf_counter() - before)
        print(1000 * statistics.median(taken) / batch, flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
