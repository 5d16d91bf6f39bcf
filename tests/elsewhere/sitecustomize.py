"""Takes away what only Linux has, in every Python that finds this on its path: `make elsewhere` runs tests so.

What is taken away is missing on macOS, on Windows, or on both: modules, functions of os, /proc and /sys.
"""

import builtins
import io
import os
import sys
from typing import Any

for module in ("fcntl", "resource"):
    sys.modules[module] = None  # type: ignore[assignment]  # what makes an import fail
for name in (
    *("sched_getaffinity", "sched_setaffinity", "posix_fallocate", "posix_fadvise", "memfd_create"),
    *("geteuid", "mkfifo", "O_NOFOLLOW"),
):
    if hasattr(os, name):
        delattr(os, name)

_GONE = ("/proc", "/sys")
_open, _os_open, _stat, _scandir = builtins.open, os.open, os.stat, os.scandir


def _refuse_gone(path: Any) -> None:  # Any: whatever names or is a file
    if isinstance(path, str | os.PathLike) and str(path).startswith(_GONE):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))


def _hiding(function: Any) -> Any:  # Any: a function that takes a path first
    def hiding(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        _refuse_gone(path)
        return function(path, *arguments, **options)

    return hiding


builtins.open = io.open = _hiding(_open)
os.open, os.stat, os.scandir = _hiding(_os_open), _hiding(_stat), _hiding(_scandir)
