"""Measures pictures a second from a folder, for a plain loop over `predict` and for a stream.

Each runs in its own process, in turn. Then eight threads share one Classifier for 10,000 predictions, which are
compared to those of one thread.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

CODE = """
import sys, time
from signs_runtime import Classifier
from signs_runtime.pictures.find import find_pictures
from pathlib import Path
bundle, variant, way, *folders = sys.argv[1:]
classifier = Classifier(bundle, variant=variant)
files = find_pictures([Path(folder) for folder in folders]).pictures
def loop(): return [classifier.predict(file).index for file in files]
def stream(): return [outcome.prediction.index for outcome in classifier.stream(files)]
run = {"loop": loop, "stream": stream}[way]
run()
before = time.perf_counter()
answers = run()
print(len(files) / (time.perf_counter() - before))
print(hash(tuple(answers)))
"""

SHARED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from signs_runtime import Classifier
from signs_runtime.pictures.find import find_pictures
from pathlib import Path
bundle, variant, count, *folders = sys.argv[1:]
classifier = Classifier(bundle, variant=variant)
files = find_pictures([Path(folder) for folder in folders]).pictures
files = (files * (int(count) // len(files) + 1))[: int(count)]
expected = {file: classifier.predict(file).label for file in set(files)}
with ThreadPoolExecutor(8) as pool:
    given = list(pool.map(lambda file: classifier.predict(file).label, files))
print(sum(label == expected[file] for file, label in zip(files, given, strict=True)), "of", len(files))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="Folders of pictures.")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from signs_runtime.bundle.folder import open_bundle

    for each in open_bundle(arguments.bundle).manifest.variants:
        speeds: dict[str, list[float]] = {"loop": [], "stream": []}
        answers = set()
        for _ in range(arguments.rounds):
            for way, taken in speeds.items():
                command = [sys.executable, "-c", CODE, str(arguments.bundle), each.name, way]
                command += map(str, arguments.pictures)
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                speed, answer = result.stdout.split()
                taken.append(float(speed))
                answers.add(answer)
        loop, stream = (statistics.median(taken) for taken in speeds.values())
        same = "the same labels" if len(answers) == 1 else "DIFFERENT LABELS"
        print(
            f"{each.name}: loop {loop:.0f}, stream {stream:.0f} pictures a second: {stream / loop:.2f} times, {same}",
            flush=True,
        )
        command = [
            sys.executable,
            "-c",
            SHARED,
            str(arguments.bundle),
            each.name,
            "10000",
            *map(str, arguments.pictures),
        ]
        right = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(
            f"{each.name}: eight threads share a Classifier: {right} predictions equal those of one thread", flush=True
        )


if __name__ == "__main__":
    main()
