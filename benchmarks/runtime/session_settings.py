"""Measures the effect of each of the runtime's settings of onnxruntime: arena, kept graph, spinning after a run.

Each candidate runs in its own process, in turn. Prints medians of the session's start, the peak memory, and the time a
file in a loop (read, run, label) with all threads that the process may use.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = """
import json, sys, time
import onnxruntime
from pathlib import Path
from signs_runtime.pictures.find import find_pictures
from signs_runtime.pictures.read import read_image
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.placement.limits import find_limits
model, saved, arena, stop, height, width, folder = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.intra_op_num_threads = find_limits().threads
options.enable_cpu_mem_arena = arena == "1"
options.add_session_config_entry("session.force_spinning_stop", stop)
if saved == "1":
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
before = time.perf_counter()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
start = time.perf_counter() - before
spec, files = InputSpec(int(height), int(width)), find_pictures([Path(folder)]).pictures
for file in files[:20]: session.run(None, {"image": read_image(file, spec)[None]})
before = time.perf_counter()
for file in files: session.run(None, {"image": read_image(file, spec)[None]})[0].argmax()
loop = (time.perf_counter() - before) / len(files)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(json.dumps([1000 * start, int(peak) / 1024, 1000 * loop]))
"""
SETTINGS = {  # kept graph, arena, spinning stops after a run
    "onnxruntime's own": ("0", "1", "0"),
    "without the arena": ("0", "0", "0"),
    "and no spinning after a run": ("0", "0", "1"),
    "and the kept graph: the runtime's": ("1", "0", "1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, help="A folder of pictures.")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        from signs_runtime import Classifier
        from signs_runtime.bundle.folder import open_bundle

        for each in open_bundle(arguments.bundle).manifest.variants:
            before = set(Path(cache).rglob("graph.onnx"))
            spec = Classifier(arguments.bundle, variant=each.name).input
            (kept,) = set(Path(cache).rglob("graph.onnx")) - before
            taken: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
            for _ in range(arguments.rounds):
                for name, (saved, arena, stop) in SETTINGS.items():
                    model = kept if saved == "1" else arguments.bundle / each.file.path
                    values = (model, saved, arena, stop, spec.height, spec.width, arguments.pictures)
                    command = [sys.executable, "-c", CODE, *map(str, values)]
                    result = subprocess.run(command, check=True, capture_output=True, text=True)
                    taken[name].append(json.loads(result.stdout))
            for name, rows in taken.items():
                start, peak, loop = (statistics.median(column) for column in zip(*rows, strict=True))
                print(
                    f"{each.name}, {name}: start {start:.0f} ms, peak {peak:.0f} MiB, a file {loop:.2f} ms", flush=True
                )


if __name__ == "__main__":
    main()
