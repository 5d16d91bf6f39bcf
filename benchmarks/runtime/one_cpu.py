"""Measures latency limited to one CPU, for the defaults of this runtime and of bare onnxruntime.

The limit is a cgroup's quota (needs root; cgroup v1 or v2) or the affinity. Each candidate runs in its own process, in
turn. Prints the threads, then the median and the 95th percentile of a run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "signs-edge-benchmark"
MEASURE = """
import json, time
def measure(run, threads):
    for _ in range(20): run()
    taken = []
    end = time.perf_counter() + 4
    while time.perf_counter() < end:
        before = time.perf_counter(); run(); taken.append(time.perf_counter() - before)
    taken.sort()
    print(json.dumps([threads, 1000 * taken[len(taken) // 2], 1000 * taken[int(0.95 * len(taken))]]))
"""
OURS = f"""
{MEASURE}
import sys, numpy
from signs_runtime import Classifier
classifier = Classifier(sys.argv[1], variant=sys.argv[2])
images = numpy.zeros((1, *classifier.input.shape), numpy.uint8)
measure(lambda: classifier.probabilities(images), classifier.placement.threads)
"""
BARE = f"""
{MEASURE}
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images = numpy.zeros((1, *session.get_inputs()[0].shape[1:]), numpy.uint8)
measure(lambda: session.run(None, {{"image": images}}), "its own choice")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle

    for each in open_bundle(arguments.bundle).manifest.variants:
        candidates = {
            "ours": [OURS, str(arguments.bundle), each.name],
            "bare onnxruntime": [BARE, str(arguments.bundle / each.file.path)],
        }
        for box, prefix in (("no box", ""), ("affinity of one", "taskset -c 0 "), ("quota of one", "quota")):
            taken: dict[str, list[list[float]]] = {name: [] for name in candidates}
            if prefix == "quota" and not os.access("/sys/fs/cgroup", os.W_OK):
                print(f"{each.name}, {box}: skipped: only root can create a cgroup", flush=True)
                continue
            with quota_of_one() if prefix == "quota" else _nothing() as group:
                for _ in range(arguments.rounds):
                    for name, command in candidates.items():
                        taken[name].append(_run(command, prefix.removesuffix("quota").split(), group))
            for name, values in taken.items():
                median, p95 = (statistics.median(value[i] for value in values) for i in (1, 2))
                print(
                    f"{each.name}, {box}, {name}: threads {values[0][0]}, median {median:.2f} ms, p95 {p95:.2f} ms",
                    flush=True,
                )


@contextmanager
def quota_of_one() -> Iterator[Path]:
    """A cgroup limited to the time of one CPU."""
    top = Path("/sys/fs/cgroup")
    first = (top / "cpu").is_dir()
    group = top / "cpu" / NAME if first else top / NAME
    group.mkdir(exist_ok=True)
    try:
        if first:
            (group / "cpu.cfs_quota_us").write_text((group / "cpu.cfs_period_us").read_text())
        else:
            (group / "cpu.max").write_text("100000 100000")
        yield group
    finally:
        group.rmdir()


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _run(command: list[str], prefix: list[str], group: Path | None) -> list[float]:
    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    result = subprocess.run(
        [*prefix, sys.executable, "-c", *command], check=True, capture_output=True, text=True, preexec_fn=enter
    )
    measured: list[float] = json.loads(result.stdout)
    return measured


if __name__ == "__main__":
    main()
