"""Measures the peak memory of training on 20,000 pictures of 256x256, for each way of reading them."""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WAYS = ("in memory", "as they come", "cache")


def make_pictures(folder: Path, count: int, size: int) -> None:
    """Write coloured noise, smooth enough for JPEG: ten classes in folders, with a tenth of each for testing."""
    import numpy as np
    from PIL import Image

    def make(i: int) -> None:
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        path = folder / ("test" if i % 100 < 10 else "train") / f"class{i % 10}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(path)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--way", choices=WAYS, action="append")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "data", arguments.count, arguments.size)
        for way in arguments.way or WAYS:
            command = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", "train"]
            options = ["--epochs", "1", "-o", str(folder / f"{way}.keras")]
            options += ["--decode-to", str(folder / "pixels.npy")] if way == "cache" else []
            if way == "as they come":
                command[2] = f"import signs_builder.training.batches as b; b.MEMORY_BYTES = 0; {command[2]}"
            process = subprocess.Popen([*command, str(folder / "data"), *options])
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{way}: the training failed")
            unit = 1 if sys.platform == "darwin" else 1024
            print(f"{way:12} peak {usage.ru_maxrss * unit / 2**30:.2f} GiB on {arguments.count:,} pictures", flush=True)


if __name__ == "__main__":
    main()
