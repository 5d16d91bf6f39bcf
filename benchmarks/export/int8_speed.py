"""Times a bundle's variants at several batch sizes and threads, and OpenVINO on the same int8 file.

Each candidate runs in its own process, in interleaved rounds; times are medians. `--openvino PYTHON` is an interpreter
with openvino (`pip install openvino`), which is not among this project's dependencies.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

SETTINGS = [(1, 1), (1, 2), (16, 2)]  # batch, threads

OPENVINO = """
import sys, time, statistics
import numpy as np, openvino
path, batch, threads, height, width = sys.argv[1], *map(int, sys.argv[2:])
core = openvino.Core()
hint = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
model = core.compile_model(core.read_model(path), "CPU", hint)
request = model.create_infer_request()
images = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
for _ in range(5): request.infer([images])
taken = []
while sum(taken) < 0.7:
    before = time.perf_counter(); request.infer([images]); taken.append(time.perf_counter() - before)
print(1000 * statistics.median(taken) / batch)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--openvino", metavar="PYTHON", help="A Python interpreter with openvino.")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle
    from signs_runtime.placement.timing import Candidate, time_side_by_side

    manifest = open_bundle(arguments.bundle).manifest
    files = {each.name: arguments.bundle / each.file.path for each in manifest.variants}
    size = (str(manifest.input.height), str(manifest.input.width))
    print("milliseconds a picture (times the speed of fp32)")
    for batch, threads in SETTINGS:
        taken: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            candidates = {name: Candidate(str(path), threads=threads) for name, path in files.items()}
            for name, timed in time_side_by_side(candidates, batch=batch, rounds=1).items():
                taken.setdefault(name, []).append(timed.milliseconds)
            for name in files if arguments.openvino else ():
                command = [arguments.openvino, "-c", OPENVINO, str(files[name]), str(batch), str(threads), *size]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                if result.returncode:
                    sys.exit(f"openvino failed on {name}:\n{result.stderr}")
                taken.setdefault(f"openvino {name}", []).append(float(result.stdout))
        medians = {name: statistics.median(values) for name, values in taken.items()}
        shown = [f"{name} {value:.2f} ({medians['fp32'] / value:.2f})" for name, value in medians.items()]
        print(f"batch {batch:2}, {threads} thread{'s' if threads > 1 else ''}: {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
