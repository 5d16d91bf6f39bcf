"""Compares the runtime's readings of pictures to the libraries that they imitate: difference in pixels, and time.

Differences are the largest over many pictures of many sizes. Times are for a photo of 1200x900 pixels: medians over
rounds in which the readings take turns in one process. The unit is stretching with Pillow.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from signs_runtime.commands.shared import print_table
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image
from tests.parity.readings import all_readings, original, write_pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    specs = list(all_readings())
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), arguments.pictures)
        furthest = {spec: max(_difference(path, spec) for path in paths) for spec in specs}
    times = _times(specs, arguments.rounds)
    unit = times[InputSpec(64, 64)]
    rows = [
        (spec.resize, spec.fit, f"{furthest[spec]:.2f}", f"{1e6 * times[spec]:.0f}", f"{times[spec] / unit:.2f}")
        for spec in specs
    ]
    print_table(rows, ("filter", "fit", "largest difference, of 255", "us a picture", "of Pillow's bilinear"))


def _difference(path: Path, spec: InputSpec) -> float:
    return float(np.abs(read_image(path, spec) - original(path, spec).astype(np.float64)).max())


def _times(specs: list[InputSpec], rounds: int) -> dict[InputSpec, float]:
    """Seconds to read a JPEG file, including its decoding."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize((1200, 900), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=90)
    taken: dict[InputSpec, list[float]] = {spec: [] for spec in specs}
    for _ in range(rounds):
        for spec in specs:
            begin = time.perf_counter()
            read_image(io.BytesIO(stream.getvalue()), spec)
            taken[spec].append(time.perf_counter() - begin)
    return {spec: statistics.median(times) for spec, times in taken.items()}


if __name__ == "__main__":
    main()
