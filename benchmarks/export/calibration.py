"""Measures what a temperature does to probabilities, on the test pictures and on each shift of the suite.

    python -m benchmarks.export.calibration                                    a small, overconfident network
    python -m benchmarks.export.calibration --model FILE --data FOLDER --scaling unit

The temperature is fitted on the validation pictures. If there are none, it is fitted on training pictures (for the
small network, on those it was not trained on). Prints the expected calibration error and the log loss before and after,
and how many labels changed, which must be none.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.sources import load_dataset
from signs_builder.evaluation.reliability import reliability
from signs_builder.evaluation.shift_suite import SHIFTS, shifted
from signs_builder.network.model_file import open_model
from signs_export.confidence.temperature import calibrate, tempered
from signs_export.config import ExportConfig
from signs_export.job import Job
from signs_export.source.reference import examine
from signs_runtime.commands.shared import print_table
from tests.export.networks import hands, network, train_a_little


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--scaling")
    arguments = parser.parse_args()
    if arguments.model is None:
        dataset = hands(600, 600)
        known, held_out = dataset.train.part(np.arange(150)), dataset.train.part(np.arange(150, 600))
        model = train_a_little(network(), replace(dataset, train=known), epochs=60)
        reference = examine(model)
    else:
        dataset = load_dataset(arguments.data, model_given=True)
        held_out = dataset.validation or dataset.train
        reference = examine(open_model(arguments.model), scaling=arguments.scaling)
    _, found = calibrate(Job(reference, dataset, ExportConfig(), held_out=held_out))
    temperature, cooled = found.temperature, tempered(reference, found.temperature)
    print(f"temperature {temperature:.3f}, fitted on {len(held_out):,} pictures")
    images, labels = dataset.test.images(reference.input), dataset.test.labels
    rows, changed = [], 0
    for name in ("test", *SHIFTS):
        seen = images if name == "test" else shifted(images, name)
        before, after = reference.probabilities(seen), cooled.probabilities(seen)
        changed += int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
        right = before.argmax(axis=1) == labels
        errors = [reliability(each.max(axis=1), right).error for each in (before, after)]
        losses = [_loss(each, labels) for each in (before, after)]
        rows.append((name, right.mean(), *errors, *losses))
    rows.append(("all shifts", *np.mean([row[1:] for row in rows[1:]], axis=0)))
    print_table(
        [(name, *map("{:.1%}".format, values[:3]), *map("{:.3f}".format, values[3:])) for name, *values in rows],
        header=("pictures", "right", "error before", "after", "log loss before", "after"),
    )
    print(f"{changed} labels changed")


def _loss(rows: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(rows[np.arange(len(rows)), labels].astype(np.float64), 1e-30)).mean())


if __name__ == "__main__":
    main()
