"""A child process imports nothing from the folder that it is started in, on Pythons with and without -P."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from signs_runtime.engine.child_python import python_command


@pytest.mark.parametrize("version", [(3, 10), (3, 11)])
@pytest.mark.parametrize(("kind", "what"), [("-c", "import json, sys; print(sys.argv[1:])"), ("-m", "told")])
def test_no_module_comes_from_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int],
    kind: Literal["-c", "-m"],
    what: str,
) -> None:
    if version > sys.version_info:
        pytest.skip("this Python has no -P")
    for name in ("json", "types", "runpy", "contextlib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/told.py").write_text("import json, sys\nprint(sys.argv[1:])")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        command = python_command(kind, what, ["one", "-m"])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    child = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (child.stdout, child.stderr) == ("['one', '-m']\n", "")
