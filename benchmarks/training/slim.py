"""Compares a narrow network to the full one that taught it, in accuracy on the same pictures and in speed.

    python -m benchmarks.training.slim FULL SLIM DATA [--also PICTURES ...]

FULL and SLIM are bundles with the same labels. Each variant of SLIM is compared to the same variant of FULL: on DATA's
test pictures, on the shift suite made from them, and on other folders with a folder for each label. McNemar's exact
test tells whether chance explains the difference. The whole suite shows each picture under many shifts, so it gets a
permutation test that permutes pictures, not shifts. Then a picture's time is measured: each candidate in its own
process, in interleaved rounds, medians.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test

from signs_builder.commands.progress_bar import progress_bar
from signs_builder.data.sources import load_dataset
from signs_builder.evaluation.shift_suite import SHIFTS, shifted
from signs_runtime import Classifier
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.shared import print_table
from signs_runtime.figures import Paired
from signs_runtime.pictures.find import find_pictures
from signs_runtime.pictures.read import read_image
from signs_runtime.placement.timing import Candidate, time_side_by_side

BATCH = 16
ROUNDS = 15
CELLS = ((1, 1), (1, 2), (16, 1), (16, 2))  # batch, threads


def answers(classifier: Classifier, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The index of each picture's predicted label."""
    given = [classifier.probabilities(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    places: NDArray[np.int64] = np.concatenate(given).argmax(axis=1)
    return places


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path)
    parser.add_argument("slim", type=Path)
    parser.add_argument("data")
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="folders of labelled pictures")
    chosen = parser.parse_args()
    names = [each.name for each in open_bundle(chosen.full).manifest.variants]
    pairs = {name: [Classifier(path, variant=name) for path in (chosen.full, chosen.slim)] for name in names}
    spec = pairs[names[0]][0].input
    labels = list(pairs[names[0]][0].labels)
    split = load_dataset(chosen.data).test
    images = split.images(spec)
    sets = {"test": (images, split.labels)}
    sets |= {name: (shifted(images, name), split.labels) for name in SHIFTS}
    for folder in chosen.also:
        files = find_pictures([folder]).pictures
        places = np.array([labels.index(Path(file).parent.name) for file in files])
        sets[str(folder)] = (np.stack([read_image(file, spec) for file in files]), places)
    rows = []
    with progress_bar("Labelling", len(sets) * len(names)) as on_done:
        for variant, (full, slim) in pairs.items():
            suite = []
            for name, (pictures, truth) in sets.items():
                right = np.stack([answers(each, pictures) == truth for each in (full, slim)])
                rows.append(_row(variant, name, right))
                if name in SHIFTS:
                    suite.append(right)
                on_done(1)
            rows.append(_row_of_suite(variant, np.stack(suite)))
    print_table(rows, header=("variant", "pictures", "", "full", "slim", "only full", "only slim", "drop, 95%", "p"))
    print()
    times = []
    for batch, threads in CELLS:
        candidates = {
            f"{kind} {name}": Candidate(os.fspath(path), name, threads=threads)
            for kind, path in (("full", chosen.full), ("slim", chosen.slim))
            for name in names
        }
        timed = time_side_by_side(candidates, batch=batch, rounds=ROUNDS)
        for name in names:
            full_ms, slim_ms = (timed[f"{kind} {name}"].milliseconds for kind in ("full", "slim"))
            times.append(
                (name, str(batch), str(threads), f"{full_ms:.3f}", f"{slim_ms:.3f}", f"{full_ms / slim_ms:.2f}")
            )
    print_table(times, header=("variant", "batch", "threads", "full, ms a picture", "slim", "times as fast"))


def _row(variant: str, name: str, right: NDArray[np.bool_]) -> tuple[str, ...]:
    full, slim = right
    paired = Paired(len(full), int((full & ~slim).sum()), int((slim & ~full).sum()))
    low, high = paired.drop_interval
    return (
        variant,
        name,
        f"{paired.total:,}",
        f"{full.mean():.1%}",
        f"{slim.mean():.1%}",
        str(paired.only_keras),
        str(paired.only_variant),
        f"{low:+.1%} to {high:+.1%}",
        f"{paired.p_value:.2g}",
    )


def _row_of_suite(variant: str, right: NDArray[np.bool_]) -> tuple[str, ...]:
    """All shifts (shifts, 2, pictures) together; a picture counts once, with the share of its shifts that are right."""
    full, slim = right.mean(axis=0)
    test = permutation_test(
        (full, slim), lambda one, other: np.mean(one - other), permutation_type="samples", rng=np.random.default_rng(0)
    )
    every = np.concatenate(list(right), axis=1)
    return (*_row(variant, "the shift suite", every)[:-2], "", f"{test.pvalue:.2g}")


if __name__ == "__main__":
    main()
