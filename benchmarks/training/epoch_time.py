"""Times an epoch of this project's training and of a plain `model.fit` on arrays, with the same model and pictures.

Each candidate runs in its own process, in interleaved rounds. Prints the median of all epochs except the first of each
process, which traces the graph. `training` does the work of a plain fit (no augmentation), once without its faster
layers; `augmented` does that of the recipe `hands`.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from unittest import mock

FASTER = "signs_builder.training.train.faster_layers"
SLOWER = "training, Keras's layers"
CANDIDATES = ("plain fit", SLOWER, "training", "augmented")


def measure(candidate: str, data: str, epochs: int) -> list[float]:
    """Seconds of each epoch after the first."""
    import keras
    import numpy as np

    from signs_builder.data.sources import load_dataset
    from signs_builder.network.resnet import resnet50
    from signs_builder.training.recipe import RECIPES, TrainConfig
    from signs_builder.training.train import train
    from signs_runtime import InputSpec

    dataset, spec = load_dataset(data), InputSpec(64, 64)
    keras.utils.set_random_seed(1)
    model = resnet50(spec.shape, len(dataset.labels))
    ends: list[float] = []
    if candidate == "plain fit":
        split = dataset.all_but_test
        images, targets = split.images(spec), np.eye(len(dataset.labels), dtype=np.float32)[split.labels]
        model.compile(keras.optimizers.Adam(), "categorical_crossentropy", metrics=["accuracy"])
        note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
        model.fit(images, targets, batch_size=32, epochs=epochs, callbacks=[note], verbose=0)
    else:
        hands = RECIPES["hands"]
        config = (
            TrainConfig(epochs=epochs)
            if candidate in ("training", SLOWER)
            else TrainConfig(epochs=epochs, augmentation=hands.augmentation, calm=hands.calm)
        )
        layers = nullcontext() if candidate != SLOWER else mock.patch(FASTER, return_value=nullcontext())
        with layers:
            train(model, dataset, config, spec, on_epoch=lambda epoch: ends.append(time.perf_counter()))
    return [after - before for before, after in itertools.pairwise(ends)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="synthetic")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--candidate", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.candidate:
        print(json.dumps(measure(arguments.candidate, arguments.data, arguments.epochs)))
        return
    seconds: dict[str, list[float]] = {candidate: [] for candidate in CANDIDATES}
    for number in range(arguments.rounds):
        for candidate in CANDIDATES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.training.epoch_time",
                arguments.data,
                "--epochs",
                str(arguments.epochs),
            ]
            result = subprocess.run(
                [*command, "--candidate", candidate],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            seconds[candidate] += json.loads(result.stdout)
            print(f"round {number + 1}: {candidate}: {seconds[candidate]}", file=sys.stderr)
    plain = statistics.median(seconds["plain fit"])
    for candidate, values in seconds.items():
        median = statistics.median(values)
        print(f"{candidate:24} {median:6.2f} s an epoch (median of {len(values)}), {median / plain:.2f} of a plain fit")


if __name__ == "__main__":
    main()
