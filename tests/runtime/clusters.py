"""Ray on this machine for a test: alone with its files and ports, and its processes by their titles."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def ray_alone() -> Iterator[Path]:
    """Let Ray begin and find clusters in a folder of its own only, without a password, and send nothing."""
    short = "/tmp" if Path("/tmp").is_dir() else None  # Ray's sockets lie there
    folder = Path(tempfile.mkdtemp(prefix="ray", dir=short))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # other tests take memory, too
        patch.delenv("RAY_ADDRESS", raising=False)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def processes(title: bytes, root: int) -> list[int]:
    """The processes below `root` whose command begins with `title`."""
    parents: dict[int, int] = {}
    titled: set[int] = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith(title):
                titled.add(int(path.name))
        except OSError:  # it has just ended
            continue
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(titled & below)


def kill(pid: int) -> bool:
    """Kill a process; False if it has ended."""
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return False
    return True
