"""The two wheels hold what they should, and the edge wheel works alone with its `cpu` extra."""

import json
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signs_runtime.commands.serve import NEEDED

ROOT = Path(__file__).parents[2]


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that holds the built edge wheel with its cpu extra, and pip."""
    folder = tmp_path_factory.mktemp("edge")
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / "bin"
    pip = (scripts / "python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT / "runtime")
    (wheel,) = folder.glob("signs_runtime-*.whl")
    run(*pip, "install", "--quiet", f"{wheel}[cpu]")
    return scripts


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, edge: Path) -> dict[str, zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheels")
    run(edge / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (signs_edge,) = folder.glob("signs_edge-*.whl")
    (signs_runtime,) = edge.parents[1].glob("signs_runtime-*.whl")
    return {"signs-edge": zipfile.ZipFile(signs_edge), "signs-runtime": zipfile.ZipFile(signs_runtime)}


def packages(wheel: zipfile.ZipFile) -> set[str]:
    return {name.split("/")[0] for name in wheel.namelist() if ".dist-info" not in name}


def metadata(wheel: zipfile.ZipFile) -> dict[str, Sequence[str]]:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    message = Parser().parsestr(wheel.read(name).decode())
    return {key: message.get_all(key, []) for key in ("Version", "Requires-Dist", "License-Expression", "License-File")}


def test_each_wheel_holds_its_packages_typed_and_licensed(wheels: dict[str, zipfile.ZipFile]) -> None:
    assert packages(wheels["signs-runtime"]) == {"signs_runtime"}
    assert packages(wheels["signs-edge"]) == {"signs_builder", "signs_export"}
    for wheel in wheels.values():
        assert metadata(wheel)["License-Expression"] == ["Apache-2.0"]
        assert metadata(wheel)["License-File"] == ["LICENSE"]
        assert {f"{package}/py.typed" for package in packages(wheel)} <= set(wheel.namelist())


def test_the_templates_are_in_the_wheel(wheels: dict[str, zipfile.ZipFile]) -> None:
    templates = {
        path.relative_to(ROOT / "export")
        for path in (ROOT / "export/signs_export").glob("*/templates/**/*")
        if path.is_file()
    }
    assert {"report", "deploy", "fleet"} == {path.parts[1] for path in templates}
    assert set(map(str, templates)) <= set(wheels["signs-edge"].namelist())


def test_the_edge_wheel_asks_for_numpy_pillow_click_and_an_onnxruntime_of_choice(
    wheels: dict[str, zipfile.ZipFile],
) -> None:
    required = metadata(wheels["signs-runtime"])["Requires-Dist"]
    always = {each.split(">")[0] for each in required if "extra ==" not in each}
    extras = [(each.split("extra == ")[1].strip("'\""), each.split(">")[0]) for each in required if "extra ==" in each]
    chosen = {extra: package for extra, package in extras if package.startswith("onnxruntime")}
    assert always == {"numpy", "pillow", "click"}
    assert chosen == {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu", "openvino": "onnxruntime-openvino"}
    assert {package for extra, package in extras if extra == "serve"} == set(NEEDED)


def test_both_wheels_have_one_version_and_belong_together(wheels: dict[str, zipfile.ZipFile]) -> None:
    (version,) = metadata(wheels["signs-runtime"])["Version"]
    assert metadata(wheels["signs-edge"])["Version"] == [version]
    assert f"signs-runtime[cpu]=={version}" in metadata(wheels["signs-edge"])["Requires-Dist"]


def test_the_edge_environment_holds_nothing_heavy(edge: Path) -> None:
    listed = json.loads(run(edge / "python", "-m", "pip", "list", "--format", "json").stdout)
    names = {each["name"].lower() for each in listed}
    assert {"signs-runtime", "onnxruntime", "numpy", "pillow", "click"} <= names
    assert not names & {"signs-edge", "tensorflow", "keras", "onnx", "tf2onnx", "h5py", "rich", "onnxruntime-gpu"}


def test_the_edge_command_offers_only_what_it_has(edge: Path) -> None:
    shown = run(edge / "signs", "--help").stdout
    assert all(command in shown for command in ("predict", "info", "verify"))
    assert not any(command in shown for command in ("train", "export", "parity", "summary", "draw"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that the other distribution exported from a small Keras model."""
    import keras

    from signs_builder.data.dataset import Dataset, Split
    from signs_builder.data.hands import LABELS, draw_hands
    from signs_export.config import ExportConfig
    from signs_export.export import export_bundle
    from signs_export.job import Job
    from signs_export.source.reference import examine

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="softmax"),
        ]
    )
    split = Split(*draw_hands(24, size=32))
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export_bundle(Job(examine(model), Dataset("hands", LABELS, split, None, split), ExportConfig()), folder)
    return folder


def test_the_edge_wheel_proves_and_tunes_on_the_oldest_python(edge: Path, bundle: Path, tmp_path: Path) -> None:
    """JetPack 6 has Python 3.10, for which onnxruntime 1.23 is the newest."""
    found = [*Path("~/.pyenv/versions").expanduser().glob("3.10.*/bin/python"), shutil.which("python3.10")]
    python = next((each for each in found if each and run(each, "--version", check=False).returncode == 0), None)
    if python is None:  # none, or a shim without one
        pytest.skip("needs Python 3.10")
    run(python, "-m", "venv", tmp_path / "venv")
    (wheel,) = edge.parents[1].glob("signs_runtime-*.whl")
    scripts = tmp_path / "venv/bin"
    run(scripts / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"{wheel}[cpu]")
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    for name, *options in (["verify"], ["tune", "--threads", "1"], ["info"], ["predict", tmp_path / "red.png"]):
        result = run(scripts / "signs", name, bundle, *options, check=False)
        assert result.returncode == 0, result.stderr
    assert "python" not in [
        each["check"]
        for each in json.loads(run(scripts / "signs", "doctor", "--json", check=False).stdout)["findings"]
        if each["level"] == "problem"
    ]


def test_predict_and_verify_work_with_the_edge_wheel_alone(edge: Path, bundle: Path, tmp_path: Path) -> None:
    from signs_runtime import Classifier

    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (50, 40, 3), np.uint8)).save(tmp_path / f"{i}.png")
    document = json.loads(run(edge / "signs", "predict", bundle, tmp_path, "--json").stdout)
    here = [Classifier(bundle).predict(each["picture"]).label for each in document["predictions"]]
    assert [each["label"] for each in document["predictions"]] == here
    assert len(here) == 5
    assert run(edge / "signs", "info", bundle).returncode == 0
    assert "passed" in run(edge / "signs", "verify", bundle).stdout


def test_the_imports_of_a_running_edge_stay_light(edge: Path, bundle: Path) -> None:
    code = (
        "import sys, numpy; from signs_runtime import Classifier\n"
        f"Classifier({str(bundle)!r}).predict(numpy.zeros((32, 32, 3), 'uint8'))\n"
        "print({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'h5py'})"
    )
    assert run(edge / "python", "-c", code).stdout == "set()\n"
