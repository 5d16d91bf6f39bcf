"""Times each recipe from the start of its process until it first reaches a validation accuracy.

Training then stops. Each recipe has the schedule of its own number of epochs, except the course's, which continues
after two. Other recipes are stopped after --give-up times the seconds of the first.
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = {"course": 200}  # at most; other recipes keep their own number


def measure(recipe: str, data: str, accuracy: float, limit: float) -> tuple[bool, int, float]:
    """Whether `accuracy` was reached within `limit` seconds, the last epoch, and the seconds it took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", "train", data]
        command += ["--recipe", recipe, "--validate", "-o", str(Path(folder, "model.keras"))]
        command += ["--epochs", str(EPOCHS[recipe])] if recipe in EPOCHS else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        epoch, reached = 0, False
        for line in process.stdout:
            print(f"{recipe}: {line}", end="", file=sys.stderr)
            if found := re.match(r"Epoch (\d+)/.*validation .* accuracy ([\d.]+)", line):
                epoch, reached = int(found[1]), float(found[2]) >= accuracy
            seconds = time.perf_counter() - started
            if reached or seconds > limit:
                process.kill()
                break
        if process.wait() > 0:
            sys.exit(f"{recipe}: the training failed")
    return reached, epoch, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="synthetic")
    parser.add_argument("--accuracy", type=float, default=0.95)
    parser.add_argument("--recipe", action="append", help="[default: hands, pictures, course]")
    parser.add_argument("--give-up", type=float, default=4.0)
    arguments = parser.parse_args()
    limit = math.inf
    for recipe in arguments.recipe or ("hands", "pictures", "course"):
        reached, epoch, seconds = measure(recipe, arguments.data, arguments.accuracy, limit)
        said = f"{'reached' if reached else 'not reached'} by epoch {epoch}, {seconds:.0f} s"
        print(f"{recipe:9} {arguments.accuracy:.0%} of the validation pictures {said}", flush=True)
        limit = min(limit, arguments.give_up * seconds)


if __name__ == "__main__":
    main()
