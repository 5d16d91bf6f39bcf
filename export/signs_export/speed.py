"""Times models side by side: each in its own process, rounds interleaved, medians.

`python -m signs_export.speed MODEL BATCH THREADS` is one such process: it prints the median milliseconds of a picture.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from signs_builder.progress import ignore_progress
from signs_export.errors import ExportError

ROUNDS = 3
WORTHWHILE = 1.1  # times float32's speed; a variant that is slower is carried for its size only
_SECONDS, _WARM_UP = 0.7, 3


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
    for _ in range(rounds):
        for name, path in models.items():
            command = [sys.executable, "-P", "-m", "signs_export.speed", str(path), str(batch), str(threads)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ExportError(f"{name} could not be timed:\n{result.stderr.strip()}")
            taken[name].append(float(result.stdout))
            on_done(1)
    return {name: statistics.median(values) for name, values in taken.items()}


def _time(path: Path, batch: int, threads: int) -> float:
    import numpy as np

    from signs_runtime import Classifier

    classifier = Classifier(path, threads=threads)
    images = np.random.default_rng(0).integers(0, 256, (batch, *classifier.input.shape), np.uint8)
    for _ in range(_WARM_UP):
        classifier.probabilities(images)
    taken: list[float] = []
    while sum(taken) < _SECONDS:
        before = time.perf_counter()
        classifier.probabilities(images)
        taken.append(time.perf_counter() - before)
    return 1000 * statistics.median(taken) / batch


if __name__ == "__main__":
    print(_time(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
