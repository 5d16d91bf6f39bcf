"""A program that PyInstaller makes of this runtime labels pictures, and never starts itself as if it were Python."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..runtime.colours import LABELS, SIZE
from ..runtime.tiny_onnx import colour_classifier

PROGRAM = """
import os, sys
starts = os.environ["STARTS"]
with open(starts, "a") as file:
    print(os.getpid(), *sys.argv[1:], file=file)
with open(starts) as file:
    assert len(file.readlines()) < 5, "it starts itself again and again"
import numpy
from signs_runtime import Classifier, ProviderError, SignsError
from signs_runtime.doctor.examine import examine
from signs_runtime.engine.provider_libraries import why_not_loadable
from signs_runtime.placement.timing import Candidate, time_side_by_side

classifier = Classifier(sys.argv[1])
frames = [numpy.full((8, 6, 3), colour, "uint8") for colour in ((250, 10, 10), (10, 250, 10), (10, 10, 250))]
print(*[outcome.prediction.label for outcome in classifier.stream(frames)])
print(why_not_loadable("CUDAExecutionProvider"))
try:
    time_side_by_side({"a": Candidate(sys.argv[1])}, rounds=1)
except SignsError as error:
    print(error)
(problem,) = [each for each in examine() if each.check == "onnxruntime"]
print(problem.level, problem.says)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its libraries have Linux's names")
def test_a_one_file_program_labels_pictures_and_starts_no_copy_of_itself(tmp_path: Path) -> None:
    program, model, starts = tmp_path / "program.py", tmp_path / "model.onnx", tmp_path / "starts"
    program.write_text(PROGRAM)
    model.write_bytes(colour_classifier(LABELS, SIZE))
    library = tmp_path / "libonnxruntime_providers_cuda.so"
    library.write_bytes(b"not a library, as where CUDA is missing")
    command = [
        sys.executable,
        "-m",
        "PyInstaller",
        "--onefile",
        "--log-level",
        "ERROR",
        "--workpath",
        str(tmp_path / "work"),
    ]
    command += ["--specpath", str(tmp_path), "--distpath", str(tmp_path), "--add-data", f"{library}:onnxruntime/capi"]
    for heavy in ("tensorflow", "keras", "onnx", "matplotlib", "scipy", "jax"):  # onnxruntime's tools would bring them
        command += ["--exclude-module", heavy]
    made = subprocess.run([*command, str(program)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        [str(tmp_path / "program"), str(model)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"STARTS": str(starts), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert ran.returncode == 0, ran.stderr
    labels, reason, tuning, *doctor = ran.stdout.splitlines()
    assert labels.split() == list(LABELS)
    assert reason == "None"
    assert "program is a packaged program" in tuning
    assert doctor[0].startswith("ok onnxruntime")
    assert len(starts.read_text().splitlines()) == 1
