"""Measures what makes models of hands fail: each cause alone, on validation pictures and on drawn hands.

    python -m benchmarks.training.what_fails SIGNS my.keras [other.keras ...] [--others FOLDER]

Give models that were trained with `signs train --validate`, which leaves the validation pictures out. FOLDER holds
other people's hands, in a folder for each label. Prints the share that is right, with its 95% interval.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signs_builder.data.dataset import Split
from signs_builder.data.hands import ALL_WAYS, Way, draw_hand
from signs_builder.data.sources import load_dataset
from signs_builder.data.textures import draw_textures
from signs_builder.evaluation.scenes import Scene, draw_empty_room, show
from signs_builder.evaluation.shift_suite import ACROSS, DOWN, SLEEVE, SMALL
from signs_builder.network.model_file import load_model
from signs_runtime.commands.shared import print_table
from signs_runtime.figures import Accuracy
from signs_runtime.pictures.find import find_pictures
from signs_runtime.pictures.input_spec import InputSpec

SCENES = {
    "before a clean wall": Scene(),
    "0.8 of the size": Scene(size=(0.8, 0.8), across=(0.5, 0.5)),
    "0.6 of the size": Scene(size=(0.6, 0.6), across=(0.5, 0.5)),
    "0.45 of the size": Scene(size=(0.45, 0.45), across=(0.5, 0.5)),
    "0.35 of the size": Scene(size=(0.35, 0.35), across=(0.5, 0.5)),
    "0.6 of the size, anywhere": Scene((0.6, 0.6), ACROSS, DOWN),
    "a sleeve": Scene(sleeve=SLEEVE),
    "in a room": Scene(room=True),
    "dark, before a grey wall": Scene(grey=110, gain=0.5),
    "dark, before a window": Scene(grey=245, gain=0.45),
    "all: 0.45 to 0.7, anywhere, sleeve, room": Scene(SMALL, ACROSS, DOWN, sleeve=SLEEVE, room=True),
}
DRAWN, EMPTY = 60, 600  # hands of each way; pictures without a hand of each kind
SIDE = 64  # pixels
SURE, ALLOWED = 0.9, 0.03  # a probability; the share of pictures without a hand that may exceed a threshold
NAMES = ("thumb", "index", "middle", "ring", "little")

Pictures = tuple[str, NDArray[np.uint8], NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--others", type=Path)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    if dataset.validation is None:
        sys.exit(f"{arguments.data} has no validation pictures.")
    models = [load_model(path) for path in arguments.models]
    if {tuple(model.input_shape[1:]) for model in models} != {(SIDE, SIDE, 3)}:
        sys.exit(f"All models must take pictures of {SIDE}x{SIDE} in colour.")
    spec = InputSpec(SIDE, SIDE)
    header = ("pictures", "number", *(path.stem for path in arguments.models))
    sets = [*_scenes(dataset.validation.images(spec), dataset.validation.labels), *_ways()]
    if arguments.others is not None:
        files = find_pictures([arguments.others]).pictures
        fingers = np.array([int(file.parent.name) for file in files])
        others = Split(files, fingers).images(spec)
        sets += [("others", others, fingers)]
        sets += [(f"others: {number}", others[fingers == number], fingers[fingers == number]) for number in range(6)]
    rows = []
    for name, images, labels in sets:
        if not len(images):
            continue
        right = [int((model.predict(images, verbose=0).argmax(axis=1) == labels).sum()) for model in models]
        rows.append((name, str(len(images)), *(_said(Accuracy(each, len(images))) for each in right)))
    print_table(rows, header=header)
    rows, empty = [], dict(_empty())
    for name, images in empty.items():
        given = [_surest(model, images) for model in models]
        rows.append((name, str(len(images)), *(f"{(each > SURE).mean():.1%}" for each in given)))
    bounds = [float(np.quantile(_surest(model, np.concatenate([*empty.values()])), 1 - ALLOWED)) for model in models]
    rows.append((f"surer than {1 - ALLOWED:.0%} of them", "", *(f"{bound:.3f}" for bound in bounds)))
    if arguments.others is not None:
        kept = [(_surest(model, others) > bound).mean() for model, bound in zip(models, bounds, strict=True)]
        rows.append(("others that are surer than that", str(len(others)), *(f"{each:.1%}" for each in kept)))
    print()
    print_table(
        rows, header=("pictures without a hand", "number", *(f"sure: {path.stem}" for path in arguments.models))
    )


def _surest(model: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:  # Any: keras.Model, which has no types
    surest: NDArray[np.float32] = model.predict(images, verbose=0).max(axis=1)
    return surest


def _said(right: Accuracy) -> str:
    low, high = right.interval
    return f"{right.correct / right.total:.1%} ({low:.0%} to {high:.0%})"


def _scenes(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Iterator[Pictures]:
    yield "validation", images, labels
    for i, (name, scene) in enumerate(SCENES.items()):
        shown = [show(image, scene, np.random.default_rng([i, j])) for j, image in enumerate(images)]
        found = [j for j, each in enumerate(shown) if each is not None]
        yield name, np.stack([each for each in shown if each is not None]), labels[found]


def _ways() -> Iterator[Pictures]:
    for fingers, ways in ALL_WAYS.items():
        for _, raised in ways:
            for back in (False, True):
                rngs = (np.random.default_rng([9, fingers, back, i]) for i in range(DRAWN))
                images = np.stack([draw_hand(fingers, SIDE, rng, Way(raised, back)) for rng in rngs])
                shown = " ".join(NAMES[finger] for finger in raised) or "fist or ring"
                name = f"drawn {fingers}, {'back' if back else 'palm'}: {shown}"
                yield name, images, np.full(DRAWN, fingers, np.int64)


def _empty() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    rooms = [np.asarray(draw_empty_room((SIDE, SIDE), np.random.default_rng([8, i]))) for i in range(EMPTY)]
    yield "rooms", np.stack(rooms)
    yield "textures", draw_textures(EMPTY, size=SIDE, seed=8)
    yield "plain walls", np.stack([np.full((SIDE, SIDE, 3), tone, np.uint8) for tone in _tones()])


def _tones() -> Iterator[NDArray[np.int64]]:
    for i in range(EMPTY):
        yield np.random.default_rng([7, i]).integers(0, 256, 3)


if __name__ == "__main__":
    main()
