"""Times from the start of a process to its first label, for this runtime, bare onnxruntime and Keras.

Each start is a new process, and the candidates take turns; prints medians and ratios. Bare onnxruntime loads the same
file and runs it once on an array. The runtime also reads a picture file. `first` starts with an empty cache folder.
Bytecode exists beforehand, as after a pip install.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = {
    "import onnxruntime": "import onnxruntime",
    "import signs_runtime": "from signs_runtime import Classifier",
}
BARE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape[1:]
print(session.run(None, {"image": numpy.zeros((1, *shape), numpy.uint8)})[0].argmax())
"""
OURS = """
import sys
from signs_runtime import Classifier
print(Classifier(sys.argv[1], variant=sys.argv[2]).predict(sys.argv[3]).label)
"""
KERAS = """
import sys, keras, numpy
from PIL import Image
model = keras.saving.load_model(sys.argv[1], compile=False)
image = Image.open(sys.argv[2]).convert("RGB").resize(model.input_shape[2:0:-1])
print(model.predict(numpy.asarray(image, numpy.float32)[None] / 255, verbose=0).argmax())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path, help="A picture file.")
    parser.add_argument("--keras", type=Path, help="The Keras model that the bundle was exported from.")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle

    variants = open_bundle(arguments.bundle).manifest.variants
    with tempfile.TemporaryDirectory() as folder:
        warm, empty = Path(folder, "warm"), Path(folder, "empty")
        commands: dict[str, tuple[list[str], Path]] = {name: ([code], warm) for name, code in IMPORTS.items()}
        for each in variants:
            file = str(arguments.bundle / each.file.path)
            our_command = [OURS, str(arguments.bundle), each.name, str(arguments.picture)]
            commands[f"{each.name}: bare"] = ([BARE, file], warm)
            commands[f"{each.name}: ours"] = (our_command, warm)
            commands[f"{each.name}: first"] = (our_command, empty)
        for command, _ in commands.values():
            _start(command, warm)  # writes bytecode
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, (command, cache) in commands.items():
                cache = Path(tempfile.mkdtemp(dir=folder)) if cache == empty else cache
                taken[name].append(_start(command, cache))
        if arguments.keras:
            of_keras = [_start([KERAS, str(arguments.keras), str(arguments.picture)], warm) for _ in range(4)]
            taken["Keras"] = of_keras[1:]
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, seconds in medians.items():
        print(f"{name:22} {1000 * seconds:8.0f} ms")
    ratio = medians["import signs_runtime"] / medians["import onnxruntime"]
    print(f"\nimport: {ratio:.2f} times onnxruntime's")
    for each in variants:
        ours, bare = medians[f"{each.name}: ours"], medians[f"{each.name}: bare"]
        first = medians[f"{each.name}: first"]
        keras = f", {medians['Keras'] / ours:.0f} times faster than Keras" if arguments.keras else ""
        print(f"{each.name}: {ours / bare:.2f} times bare onnxruntime's (first start: {first / bare:.2f}){keras}")


def _start(command: list[str], cache: Path) -> float:
    bytecode = str(Path(tempfile.gettempdir(), "signs-edge-bytecode"))
    own = {"XDG_CACHE_HOME": str(cache), "KERAS_BACKEND": "tensorflow", "PYTHONPYCACHEPREFIX": bytecode}
    environment = {**os.environ, **own}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", *command], check=True, capture_output=True, env=environment)
    return time.perf_counter() - before


if __name__ == "__main__":
    main()
