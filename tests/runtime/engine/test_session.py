"""An onnxruntime that is broken, in whatever way, ends in words that say what helps."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
BROKEN = {
    "an empty folder that an uninstall left": "",
    "a missing library": "raise OSError('libonnxruntime.so.1: cannot open shared object file')",
    "a module that lacks what it had": "__version__ = '1.31.1'",
    "an instruction that the CPU lacks": CRASH,
}


def run_with(folder: Path, code: str, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python where `import onnxruntime` finds this code; without any, an empty folder."""
    (folder / "onnxruntime").mkdir()
    if code:
        (folder / "onnxruntime" / "__init__.py").write_text(code)
        start = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    else:  # which a whole one anywhere on the path would hide
        for name in ("numpy", "PIL", "click", "signs_runtime"):
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            place = Path(spec.origin).parent
            for each in (place, place.with_name("numpy.libs"), place.with_name("pillow.libs")):
                if each.is_dir() and not (folder / each.name).exists():
                    (folder / each.name).symlink_to(each)
        start = f"import sys; sys.path[:] = [{str(folder)!r}, *(each for each in sys.path if 'packages' not in each)]\n"
    command = [sys.executable, *(() if code else ("-S",)), "-c", start + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("command", ["predict", "info", "verify"])
def test_a_command_explains_a_broken_onnxruntime(
    bundle: Path, tmp_path: Path, pictures: Path, code: str, command: str
) -> None:
    arguments = [command, str(bundle), *([str(pictures)] if command == "predict" else [])]
    child = run_with(tmp_path, code, "from signs_runtime.commands.signs import signs; signs()", *arguments)
    said = child.stdout + child.stderr
    assert child.returncode == (0 if command == "info" else 1), said
    assert "onnxruntime" in said
    assert "doctor" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("code", [each for each in BROKEN.values() if each != CRASH])
def test_a_program_gets_one_error_for_every_broken_onnxruntime(bundle: Path, tmp_path: Path, code: str) -> None:
    program = (
        "from signs_runtime import Classifier, OnnxruntimeMissingError\n"
        "try: Classifier(sys.argv[1])\n"
        "except OnnxruntimeMissingError as error: print('explained:', error)"
    )
    child = run_with(tmp_path, code, program, str(bundle))
    assert child.stdout.startswith("explained: "), child.stderr
