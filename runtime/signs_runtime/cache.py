"""The user's cache folder, which keeps what this device proved, measured and optimised for later starts."""

import contextlib
import os
import stat
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The folder for caches on this platform; the platform's own environment variable moves it.

    Raises RuntimeError if the user has no home folder.
    """
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "signs-edge"
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # relative paths must be ignored: https://specifications.freedesktop.org/basedir-spec
        return Path(named) / "signs-edge"
    return Path.home() / ("AppData/Local" if sys.platform == "win32" else ".cache") / "signs-edge"


def part_of_cache(name: str) -> Path | None:
    """A folder inside the cache, created if missing; None if there can be none that only the user can write to.

    A folder that others can write to is not used, because its content decides what runs.
    """
    with contextlib.suppress(OSError, RuntimeError):
        top = cache_folder()
        folder = top / name
        top.parent.mkdir(parents=True, exist_ok=True)
        for each in (top, folder):
            each.mkdir(exist_ok=True, mode=0o700)
        if is_private(top) and is_private(folder):
            return folder
    return None


def is_private(folder: Path) -> bool:
    """Whether this user owns the folder and nobody else can write to it. Raises OSError if it does not exist."""
    if not hasattr(os, "geteuid"):  # Windows: only its owner has rights to a user profile
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read_kept(path: Path) -> str | None:
    """The text of a file in the cache; None if the file does not exist or is not text."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return None


def keep(path: Path, text: str) -> bool:
    """Write a file whole or not at all; False if the cache cannot be written to."""
    import tempfile  # a start that finds everything in the cache does not need it

    try:
        handle, written = tempfile.mkstemp(prefix=".", dir=path.parent)
    except OSError:
        return False
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(written, path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(written).unlink()
        return False
    return True
