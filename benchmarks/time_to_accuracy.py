"""Wall time from process start until a validation accuracy is first reached, each recipe in its own process.

Training stops there. Schedules are those of the recipes' own numbers of epochs; the course's goes on after two.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = {"course": 80}  # at most; the others have their own


def measure(recipe: str, data: str, accuracy: float) -> tuple[int, float] | None:
    """The epoch that reached it and the seconds until then."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from signs_runtime.commands import signs; signs()", "train", data]
        command += ["--recipe", recipe, "--validate", "-o", str(Path(folder, "model.keras"))]
        command += ["--epochs", str(EPOCHS[recipe])] if recipe in EPOCHS else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{recipe}: {line}", end="", file=sys.stderr)
            found = re.match(r"Epoch (\d+)/.*validation .* accuracy ([\d.]+)", line)
            if found and float(found[2]) >= accuracy:
                process.kill()
                process.wait()
                return int(found[1]), time.perf_counter() - started
        if process.wait():
            sys.exit(f"{recipe}: the training failed")
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="synthetic")
    parser.add_argument("--accuracy", type=float, default=0.95)
    parser.add_argument("--recipe", action="append", help="[default: course, pictures, hands]")
    arguments = parser.parse_args()
    for recipe in arguments.recipe or ("course", "pictures", "hands"):
        reached = measure(recipe, arguments.data, arguments.accuracy)
        said = "never" if reached is None else f"epoch {reached[0]}, {reached[1]:.0f} s"
        print(f"{recipe:9} to {arguments.accuracy:.0%} of the validation pictures: {said}", flush=True)


if __name__ == "__main__":
    main()
