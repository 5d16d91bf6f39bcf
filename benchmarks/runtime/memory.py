"""Measures a process's memory with a bundle: its peak, compared to bare onnxruntime's, and its growth.

Each candidate runs in its own process. The growth is that from 1,000 to 20,000 predictions, and from 50 to 300
starts of a Classifier.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEAK = """
def peak(word="VmHWM"):
    return int(next(line for line in open("/proc/self/status") if line.startswith(word)).split()[1]) / 1024
"""
BARE = f"""
{PEAK}
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image = numpy.zeros((1, *session.get_inputs()[0].shape[1:]), numpy.uint8)
for _ in range(20): session.run(None, {{"image": image}})
print(peak())
"""
OURS = f"""
{PEAK}
import sys
from signs_runtime import Classifier
classifier = Classifier(sys.argv[1], variant=sys.argv[2])
for _ in range(20): classifier.predict(sys.argv[3])
print(peak())
"""
PREDICTIONS = f"""
{PEAK}
import sys
from pathlib import Path
from signs_runtime import Classifier
classifier = Classifier(sys.argv[1], variant=sys.argv[2])
picture, n = sys.argv[3], int(sys.argv[4])
for i in range(1, n + 1):
    classifier.predict(picture)
    if i == 1000: print(peak("VmRSS"))
print(peak("VmRSS"))
"""
STARTS = f"""
{PEAK}
import sys
from signs_runtime import Classifier
for i in range(1, int(sys.argv[4]) + 1):
    Classifier(sys.argv[1], variant=sys.argv[2]).predict(sys.argv[3])
    if i == 50: print(peak("VmRSS"))
print(peak("VmRSS"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path, help="A picture file.")
    parser.add_argument("--variant", help="Measure only this variant.")
    parser.add_argument("--predictions", type=int, default=20_000)
    parser.add_argument("--starts", type=int, default=300)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle

    with tempfile.TemporaryDirectory() as cache:
        for each in open_bundle(arguments.bundle).manifest.variants:
            if arguments.variant not in (None, each.name):
                continue
            ours = [str(arguments.bundle), each.name, str(arguments.picture)]
            first = _run(OURS, cache, *ours)[-1]  # writes the cached graph
            bare = [_run(BARE, cache, str(arguments.bundle / each.file.path))[-1] for _ in range(3)]
            peaks = [_run(OURS, cache, *ours)[-1] for _ in range(3)]
            peak, beside = statistics.median(peaks), statistics.median(bare)
            print(f"{each.name}: peak {peak:.0f} MiB, bare onnxruntime {beside:.0f}: {peak / beside:.2f}", flush=True)
            print(f"{each.name}: peak of the first start, which builds the graph: {first:.0f} MiB", flush=True)
            for what, code, count in (
                ("predictions", PREDICTIONS, arguments.predictions),
                ("starts", STARTS, arguments.starts),
            ):
                before, after = _run(code, cache, *ours, str(count))
                print(
                    f"{each.name}: {count:,} {what}: {before:.1f} -> {after:.1f} MiB: {after / before - 1:+.1%}",
                    flush=True,
                )


def _run(code: str, cache: str, *arguments: str) -> list[float]:
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(line) for line in result.stdout.splitlines()]


if __name__ == "__main__":
    main()
