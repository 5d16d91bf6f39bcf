"""Pictures of a folder a second: a plain loop over `predict` beside a stream, each in its own process, in turn."""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

CODE = """
import sys, time
from signs_runtime import Classifier
from signs_runtime.image import find_pictures
from pathlib import Path
bundle, variant, way, *folders = sys.argv[1:]
classifier = Classifier(bundle, variant=variant)
files = find_pictures([Path(folder) for folder in folders])
def loop(): return [classifier.predict(file).index for file in files]
def stream(): return [outcome.prediction.index for outcome in classifier.stream(files)]
run = {"loop": loop, "stream": stream}[way]
run()
before = time.perf_counter()
answers = run()
print(len(files) / (time.perf_counter() - before))
print(hash(tuple(answers)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="Folders of pictures.")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from signs_runtime.bundle import open_bundle

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
        same = "the same labels" if len(answers) == 1 else "OTHER LABELS"
        print(
            f"{each.name}: loop {loop:.0f}, stream {stream:.0f} pictures a second: {stream / loop:.2f} times, {same}",
            flush=True,
        )


if __name__ == "__main__":
    main()
