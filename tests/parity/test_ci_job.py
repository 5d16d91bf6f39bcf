"""examples/parity.yml and the action, run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import onnx
import pytest
import yaml
from junitparser import JUnitXml

from signs_builder.network.model_file import save_model
from signs_export.config import ExportConfig
from signs_export.export import export_bundle
from signs_export.job import Job
from signs_export.source.reference import examine

from ..export.networks import hands, network, train_a_little

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "examples/parity.yml"


def job() -> list[str]:
    """The command of the job's step that is ours, as an argument list."""
    (line,) = re.findall(r"^ *- run: (signs parity .*)$", WORKFLOW.read_text(encoding="utf-8"), re.MULTILINE)
    return [str(Path(sys.executable).with_name("signs")), *shlex.split(line)[1:]]


def action(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run the step of action.yml that compares, as a runner does, with the commands of this environment."""
    (_, compare) = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    inputs = {"MODEL": "my.keras", "BUNDLE": "bundle", "PICTURES": "pictures", "OPTIONS": "--parity-pictures 40"}
    assert inputs.keys() == compare["env"].keys()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", compare["run"]]
    return subprocess.run(
        command, cwd=checkout, env={**os.environ, **inputs, "PATH": path}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with my.keras, its bundle and its pictures."""
    dataset = hands(96, 24)
    model: keras.Model = train_a_little(network(), dataset)
    save_model(model, tmp_path / "my.keras")
    export_bundle(Job(examine(model), dataset, ExportConfig()), tmp_path / "bundle")
    for split in ("train", "test"):
        pictures = dataset.splits[split]
        for file, label in zip(pictures.files(tmp_path / "all" / split, dataset.labels), pictures.labels, strict=True):
            folder = tmp_path / "pictures" / split / dataset.labels[label]
            folder.mkdir(parents=True, exist_ok=True)
            file.rename(folder / file.name)
    return tmp_path


def test_the_ci_job_and_the_action_pass_a_good_bundle_and_stop_a_bad_one(checkout: Path) -> None:
    result = subprocess.run(job(), cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (suite,) = JUnitXml.fromfile(str(checkout / "parity.xml"))
    assert suite.failures == 0
    assert "answers as Keras does" in (checkout / "parity.html").read_text(encoding="utf-8")
    assert action(checkout).returncode == 0

    other = train_a_little(network(), hands(96, 24), epochs=5)  # the model was trained on; its bundle was not renewed
    save_model(other, checkout / "my.keras")
    result = subprocess.run(job(), cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 3
    assert "It goes wrong at:" in result.stderr
    (suite,) = JUnitXml.fromfile(str(checkout / "parity.xml"))
    assert {case.name for case in suite if case.result} >= {"max difference", "layers", "weights"}
    assert onnx.load(checkout / "bundle" / "fp32.onnx").producer_name == "signs-edge"  # it was not touched
    (checkout / "parity.xml").unlink()
    assert action(checkout).returncode == 3
    assert (checkout / "parity.xml").exists()
