"""Starts Python in a child process, if this process is a Python that can be started again."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

_PATIENCE = 120  # seconds; an import takes half a second on two cores, but many on a small board with a slow card


def can_start_python() -> bool:
    """Whether `sys.executable` is a Python. In a frozen (PyInstaller) or embedded program, it is the program itself."""
    name = Path(sys.executable or "").name.lower()
    return not getattr(sys, "frozen", False) and re.match(r"(python|pypy)[\d.]*w?(\.exe)?$", name) is not None


# Does what `python -P` does, for Python 3.10, which has no -P.
_AS_WITH_P = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); kind, what = sys.argv[1:3]; del sys.argv[1:3]; "
    "exec(what) if kind == '-c' else __import__('runpy').run_module(what, run_name='__main__', alter_sys=True)"
)


def python_command(kind: Literal["-c", "-m"], what: str, arguments: Sequence[str]) -> list[str]:
    """A command that starts this Python with code or a module, without importing from the current folder."""
    safely = ["-P"] if sys.version_info >= (3, 11) else ["-c", _AS_WITH_P]
    return [sys.executable, *safely, kind, what, *arguments]


def run_apart(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run code, which may crash, in a child process with this process's path; check `can_start_python` first."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(each or os.curdir for each in sys.path),
        "ORT_DISABLE_TELEMETRY": os.environ.get("ORT_DISABLE_TELEMETRY", "1"),
    }
    command = python_command("-c", code, arguments)
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"the process did not end within {_PATIENCE} seconds")


def last_words(child: "subprocess.CompletedProcess[str]") -> str:
    """The last line that a failed child process wrote to stderr, or the signal that ended it."""
    if child.returncode < 0:
        return f"{signal.Signals(-child.returncode).name} ended the process"
    said = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return said[-1].rstrip(".") if said else f"the process ended with exit code {child.returncode}"
