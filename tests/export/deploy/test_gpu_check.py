"""The folder that checks a GPU says truly what did not run: here there is no GPU."""

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from signs_runtime.commands.signs import signs

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gpu") / "check"
    result = CliRunner().invoke(signs, ["deploy", "gpu-check", str(STORED), "-o", str(output)])
    assert result.exit_code == 0, result.output
    return output


def test_without_a_gpu_every_step_on_one_fails_and_says_why(folder: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be a GPU")
    command: list[str | Path] = [sys.executable, folder / "check_gpu.py", "--here"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    report = json.loads((folder / "report.json").read_text())
    assert not report["passed"]
    steps = {each["step"]: each for each in report["steps"]}
    assert steps["nvidia-smi"]["exit_code"] == 1
    for device in ("cuda", "tensorrt"):
        proof = steps[f"signs verify, fp32 on {device}"]
        assert proof["exit_code"] == 1
        assert "this onnxruntime has" in proof["said"]
    assert steps["signs tune"]["exit_code"] == 0  # on what there is
    timed = steps["signs benchmark on cpu"]["found"]
    assert timed["passed"]
    assert {1, 16, 64} <= {each["batch"] for each in timed["variants"][0]["timings"]}
    assert f"of {len(steps)} steps passed" in result.stdout


def test_the_wheels_are_those_that_are_installed_here(folder: Path, tmp_path: Path) -> None:
    for name in ("signs-runtime", "signs-edge"):
        (wheel,) = (folder / "wheels").glob(f"{name.replace('-', '_')}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            assert archive.testzip() is None
            (written,) = [each for each in archive.namelist() if each.endswith("entry_points.txt")]
            assert "console_scripts" in archive.read(written).decode()
            assert not any("__pycache__" in each for each in archive.namelist())
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, *(folder / "wheels").glob("*.whl")], check=True)
    code = "from importlib.metadata import version; print(version('signs-edge'), version('signs-runtime'))"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert shown == [metadata.version("signs-edge"), metadata.version("signs-runtime")]
