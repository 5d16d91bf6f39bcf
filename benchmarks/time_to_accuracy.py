"""Wall time from process start until a validation accuracy is first reached, each recipe in its own process.

Training stops there. Schedules are those of the recipes' own numbers of epochs; the course's goes on after two. The
first recipe is the measure: another one is given up after --give-up times its seconds.
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = {"course": 200}  # at most; the others have their own


def measure(recipe: str, data: str, accuracy: float, limit: float) -> tuple[bool, int, float]:
    """Whether it was reached within `limit` seconds, the epoch then, and the seconds until then."""
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
