"""Measures what the runtime adds to onnxruntime, for `probabilities` and for labelling a file.

Both of a pair run in turn in one process on one session, so that both see the same load. The share is the median of the
differences divided by the median of the bare work.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="Picture files, or folders of them.")
    parser.add_argument("--rounds", type=int, default=3000)
    arguments = parser.parse_args()
    from signs_runtime import Classifier
    from signs_runtime.bundle.folder import open_bundle
    from signs_runtime.pictures.find import find_pictures
    from signs_runtime.pictures.input_spec import PILLOW_FILTERS

    files = find_pictures(arguments.pictures).pictures
    for each in open_bundle(arguments.bundle).manifest.variants:
        classifier = Classifier(arguments.bundle, variant=each.name)
        session, size = classifier._started.session, (classifier.input.width, classifier.input.height)
        image = np.random.default_rng(0).integers(0, 256, (1, *classifier.input.shape), np.uint8)
        if classifier.input.resize not in PILLOW_FILTERS:
            parser.error(
                f"{arguments.bundle} resizes by {classifier.input.resize}; only Pillow's filters are compared."
            )
        filter_ = Image.Resampling[classifier.input.resize.upper()]

        def bare_run(i: int) -> object:
            return session.run(["probabilities"], {"image": image})  # noqa: B023  # used in its round

        def our_run(i: int) -> object:
            return classifier.probabilities(image)  # noqa: B023

        def bare_label(i: int) -> object:
            """Decode, resize and run, with no checks, rotation or label."""
            with Image.open(files[i % len(files)]) as opened:
                shown = opened.convert("RGB")
                pixels = np.asarray(shown if shown.size == size else shown.resize(size, filter_))  # noqa: B023
            return session.run(["probabilities"], {"image": pixels[None]})[0].argmax()  # noqa: B023

        def our_label(i: int) -> object:
            return classifier.predict(files[i % len(files)]).label  # noqa: B023

        for what, bare, ours in (
            ("probabilities beside session.run", bare_run, our_run),
            ("a file's label beside decode, resize, run", bare_label, our_label),
        ):
            work, added = _pair(bare, ours, arguments.rounds)
            share = f"{1000 * work:.3f} ms and {1e6 * added:+.0f} us: {added / work:+.1%}"
            print(f"{each.name}, {what}: {share}", flush=True)


def _pair(bare: Callable[[int], object], ours: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """The median seconds of the bare work, and the median of our extra time."""
    work, added = [], []
    for i in range(rounds + 20):
        times = {}
        for each in (bare, ours) if i % 2 else (ours, bare):
            before = time.perf_counter()
            each(i)
            times[each] = time.perf_counter() - before
        if i >= 20:  # the first warm up
            work.append(times[bare])
            added.append(times[ours] - times[bare])
    return statistics.median(work), statistics.median(added)


if __name__ == "__main__":
    main()
