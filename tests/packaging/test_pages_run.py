"""Every command line and every program in README and docs/, run as it stands there; what cannot be is named below."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from signs_builder.data.dataset import Dataset
from signs_builder.data.hands import draw_hands
from signs_builder.network.model_file import save_model
from tests.export.networks import hands

from .test_pages import PAGES

# A training as it stands takes half an hour: these words make it short, and a bundle of what it knows then possible.
SHORT = {
    "build-and-export path/to/signs": "--epochs 1 --width 0.1 --as-is",
    "signs train": "--epochs 1 --width 0.1",
    "signs cross-validate": "--epochs 1 --width 0.1 --folds 2",
}
ELSEWHERE = {
    "make setup": "comes before every test",
    "make demo": "takes minutes; each of its commands has tests",
    "make check": "runs this",
    "make wheels": "make edge",
    "pip install": "make edge",
    "source .venv/bin/activate": "sets this shell's PATH",
    "signs deploy board": "needs a package index: tests/export/deploy/test_board.py",
    "signs deploy container": "needs a package index: tests/export/deploy/test_container.py",
    "signs deploy web": "needs npm: tests/export/deploy/test_web.py",
    "signs predict bundle s3://": "needs a store: tests/runtime/labelling/test_stores.py",
    "ray start": "needs several hosts: tests/runtime/labelling/test_on_ray.py",
    "python examples/train_on_ray.py": "starts a cluster: tests/builder/training/test_on_ray.py",
    "signs deploy ray-serve": "is started: tests/export/deploy/test_ray_serve.py",
    "signs serve": "runs until it is ended: tests/runtime/serving/test_serve.py",
    "python -m http.server": "tests/export/deploy/test_web.py serves the page",
}
COMMANDS = r"(?:signs|build-and-export|make|pip|python|source|sh|docker|npm|node|cmake|ray) "


def blocks() -> Iterator[str]:
    """Each indented block of the pages."""
    for page in PAGES:
        if page.name not in ("CHANGELOG.md", "RELEASING.md"):
            for found in re.finditer(r"(?:^ {4}.*\n|^\n(?= {4}))+", page.read_text(encoding="utf-8"), re.MULTILINE):
                yield re.sub("^ {4}", "", found[0], flags=re.MULTILINE)


def lines() -> list[str]:
    """Each command line, once, without its comment."""
    found = [line for block in blocks() for line in block.splitlines() if re.match(COMMANDS, line)]
    return sorted({re.sub(r"\s+# .*", "", line) for line in found})


def programs() -> list[str]:
    return sorted({block.strip() for block in blocks() if re.search(r"\bClassifier\(|\bclassifier\.", block)})


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages call my.keras, path/to/pictures, bundle, hand.jpg and so on, small."""
    place = tmp_path_factory.mktemp("stand-ins")
    dataset = hands(480, 60, side=64)
    few = hands(120, 30, side=64)  # the first of the same pictures: trainings of ResNet-50 take their time
    for folder, shown in (("path/to/signs", few), ("path/to/pictures", dataset), ("pictures", dataset)):
        for name, split in (("train_signs", shown.train), ("test_signs", shown.test)):
            split.files(place / folder / name, dataset.labels)
    save_model(_trained(dataset, rescales=False), place / "my.keras")
    save_model(_trained(dataset, rescales=True), place / "model.keras")
    images, _ = draw_hands(4, size=96, seed=3)
    (place / "more").mkdir()
    for name, image in zip(("hand.jpg", "my-hand.jpg", "more/a.jpg", "more/b.jpg"), images, strict=True):
        Image.fromarray(image).save(place / name)
    rng = np.random.default_rng(0)
    (place / "path/to/anything-else").mkdir()
    for i in range(40):
        noise = rng.integers(0, 256, (1 + i % 9, 1 + i % 7, 3), np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(place / f"path/to/anything-else/{i}.png")
    _make_tags(place)
    (place / "said").mkdir()
    run("signs export my.keras path/to/pictures --scaling unit -o bundle", place)
    run("signs verify bundle --json > said/pi.json", place)
    return place


def _trained(dataset: Dataset, *, rescales: bool) -> keras.Model:
    """A small network that knows the training pictures nearly by heart; pixels / 255, in the graph or before it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling(1 / 255)(image) if rescales else image
    for filters in (12, 16, 24):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(keras.layers.Flatten()(x)))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    pixels = np.asarray(dataset.train.pictures).astype(np.float32)
    model.fit(pixels if rescales else pixels / 255, dataset.train.labels, epochs=8, batch_size=16, verbose=0)
    return model


def _make_tags(place: Path) -> None:
    """tags.keras, pictures.csv, thresholds.json: pictures with any number of labels."""
    from tests.export.commands.test_multi_label import trained, write_table

    write_table(place / "pictures.csv")
    trained("sigmoid").save(place / "tags.keras")
    (place / "thresholds.json").write_text('{"red": 0.4, "green": 0.5, "blue": 0.6}')


def run(line: str, place: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(line, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"


def is_elsewhere(line: str) -> bool:
    return any(line.startswith(each) for each in ELSEWHERE)


@pytest.mark.parametrize("line", [line for line in lines() if not is_elsewhere(line)])
def test_a_line_runs_as_it_stands(line: str, stand_ins: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(stand_ins, place)
    if written := re.search(r" -o (\S+)", line):
        shutil.rmtree(place / written[1], ignore_errors=True)
    short = next((more for start, more in SHORT.items() if line.startswith(start)), "")
    run(f"{line} {short}", place)


@pytest.mark.parametrize("program", programs())
def test_a_program_runs_as_it_stands(program: str, stand_ins: Path) -> None:
    begun = "" if "import Classifier" in program else "from signs_runtime import Classifier\n"
    begun += "" if "classifier =" in program else 'classifier = Classifier("bundle")\n'
    begun += "import numpy as np\nframes = [np.zeros((48, 64, 3), np.uint8)] * 3\n"
    # There is no GPU, and no int8 of a model this small.
    program = program.replace('device="cuda"', 'device="cpu"').replace('variant="int8"', 'variant="fp32"')
    result = subprocess.run([sys.executable, "-c", begun + program], cwd=stand_ins, capture_output=True, text=True)
    assert result.returncode == 0, f"{program}\n{result.stderr}"


def test_every_reason_not_to_run_a_line_is_needed() -> None:
    assert all(any(line.startswith(each) for line in lines()) for each in ELSEWHERE)
