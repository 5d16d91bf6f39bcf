"""The programs in other languages: built, they read every picture of the test vectors, and pass the golden test."""

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from signs_export.deploy.program import deploy_program
from signs_export.errors import ExportError
from signs_runtime import Classifier
from signs_runtime.commands.signs import signs
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image

from .programs import build_cpp, build_node
from .vectors import VECTORS, cases, spec_fields

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"
Program = Callable[..., subprocess.CompletedProcess[str]]


def test_the_vectors_are_what_the_runtime_reads() -> None:
    stored = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert [(each["picture"], each["input"]) for each in stored["cases"]] == [
        (name, spec_fields(spec)) for name, spec in cases()
    ]
    for case in stored["cases"]:
        file = io.BytesIO(base64.b64decode(stored["pictures"][case["picture"]]))
        given = read_image(file, InputSpec(**case["input"]))
        wanted = np.frombuffer(base64.b64decode(case["pixels"]), np.uint8).reshape(given.shape)
        assert np.abs(given.astype(int) - wanted).max() <= case["most"], case["input"]


@pytest.fixture(scope="module", params=["node", "cpp"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A program's folder, built, and how to start it there."""
    made = tmp_path_factory.mktemp("program") / "program"
    result = CliRunner().invoke(signs, ["deploy", request.param, str(STORED), "-o", str(made)])
    assert result.exit_code == 0, result.output
    return made, (build_node if request.param == "node" else build_cpp)(made)


@pytest.fixture(scope="module")
def program(folder: tuple[Path, list[str]]) -> Program:
    place, start = folder

    def run(*arguments: str | Path, bundle: Path | None = None) -> subprocess.CompletedProcess[str]:
        place_of_bundle: list[str | Path] = [] if bundle is None else ["--bundle", bundle]
        command = [*start, *place_of_bundle, *arguments]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=60)

    return run


def test_every_vector_is_read_as_the_runtime_does(program: Program) -> None:
    result = program("--vectors", VECTORS)
    count = len(list(cases()))
    assert (result.returncode, result.stdout) == (0, f"{count} of {count}\n"), result.stderr


def test_another_pixel_in_a_vector_is_told(program: Program, tmp_path: Path) -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    pixels = bytearray(base64.b64decode(vectors["cases"][0]["pixels"]))
    pixels[7] ^= 1
    vectors["cases"][0]["pixels"] = base64.b64encode(pixels).decode()
    (tmp_path / "vectors.json").write_text(json.dumps(vectors))
    result = program("--vectors", tmp_path / "vectors.json")
    assert result.returncode == 1
    assert "off by 1" in result.stderr


def test_the_golden_pictures_are_proved(program: Program) -> None:
    result = program("--verify")
    assert result.returncode == 0, result.stderr
    proof = json.loads(result.stdout)
    assert proof["passed"]
    assert proof["pictures"] == proof["sameLabel"] == 3
    assert proof["files"] == 3


def test_pictures_get_the_runtimes_labels_and_bad_files_an_error(program: Program, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    good = tmp_path / "picture.png"
    Image.fromarray(rng.integers(0, 256, (50, 70, 3)).astype(np.uint8)).save(good)
    (tmp_path / "text.jpg").write_text("no picture")
    Image.open(good).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "head.jpg").write_bytes(content[:20])
    Image.new("1", (16_000, 16_000)).save(tmp_path / "large.png")
    bad = [tmp_path / name for name in ("text.jpg", "missing.png", "half.jpg", "head.jpg", "large.png")]
    result = program(good, *bad)
    assert result.returncode == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [str(each) for each in bad]
    expected = Classifier(STORED).predict(good)
    (line,) = result.stdout.splitlines()
    name, label, *shares = line.split("\t")
    assert (name, label) == (str(good), expected.label)
    given = dict(each.rsplit(" ", 1) for each in shares)
    for each, probability in zip(Classifier(STORED).labels, expected.probabilities, strict=True):
        assert float(given[each]) == pytest.approx(float(probability), abs=1e-4)


@pytest.fixture
def bundle(folder: tuple[Path, list[str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder[0] / "bundle", tmp_path / "bundle"))


def changed(bundle: Path, **fields: Any) -> None:  # Any: JSON
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | fields))


@pytest.mark.parametrize("suffix", [".onnx", ".npz"])
def test_another_file_than_the_sealed_one_is_refused(program: Program, bundle: Path, suffix: str) -> None:
    (file,) = bundle.glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = program("--verify", bundle=bundle)
    assert result.returncode == 2
    assert f"{file.name} is not the file that was sealed" in result.stderr


def test_a_proof_that_misses_ends_with_one(program: Program, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    changed(bundle, variants=[{**manifest["variants"][0], "tolerance": -1.0}])
    result = program("--verify", bundle=bundle)
    assert result.returncode == 1
    assert not json.loads(result.stdout)["passed"]


def test_other_labels_than_the_golden_ones_fail_the_proof(program: Program, bundle: Path) -> None:
    labels = Classifier(STORED).labels
    changed(bundle, labels=[labels[1], labels[0], *labels[2:]])
    result = program("--verify", bundle=bundle)
    assert result.returncode == 1
    assert not json.loads(result.stdout)["sameOrder"]
    for wrong in ({"labels": [*labels, "more"]}, {"labels": list(labels), "thresholds": [0.5]}):
        changed(bundle, **wrong)
        result = program("--verify", bundle=bundle)
        assert result.returncode == 2
        assert "label" in result.stderr


def test_a_later_schema_a_missing_bundle_and_another_variant_are_told(
    program: Program, bundle: Path, tmp_path: Path
) -> None:
    assert "int4" in program("--verify", "--variant", "int4").stderr
    assert "manifest.json" in program("--verify", bundle=tmp_path / "none").stderr
    changed(bundle, schema=99)
    assert "schema" in program("--verify", bundle=bundle).stderr


def test_what_is_unsure_and_several_labels_are_told(program: Program, bundle: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (20, 20), "red").save(picture)
    labels = Classifier(STORED).labels

    def label() -> str:
        result = program(picture, bundle=bundle)
        assert result.returncode == 0, result.stderr
        return result.stdout.split("\t")[1]

    changed(bundle, unsure_below=1.0)
    assert label() == "unsure"
    changed(bundle, unsure_below=0.0, kind="multi-label", thresholds=[0.0] * len(labels))
    assert label() == ", ".join(labels)
    changed(bundle, thresholds=[2.0] * len(labels))
    assert label() == "none"


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    with pytest.raises(ExportError, match="is not overwritten"):
        deploy_program(STORED, tmp_path, "node")
