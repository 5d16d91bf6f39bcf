"""The user's cache folder: what this device has proved, measured and optimised, for the next start to find."""

import contextlib
import os
import stat
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where the platform wants caches to be; the user moves it with the platform's own variable.

    Raises RuntimeError for a user without a home.
    """
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "signs-edge"
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # others are to be ignored: https://specifications.freedesktop.org/basedir-spec
        return Path(named) / "signs-edge"
    return Path.home() / ("AppData/Local" if sys.platform == "win32" else ".cache") / "signs-edge"


def part_of_cache(name: str) -> Path | None:
    """A folder inside the cache, made where it is missing; None where there is none that is the user's alone.

    What others can write to is not read: it decides what runs.
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
    """The folder is this user's, and others cannot write to it. Raises OSError where it is not there."""
    if not hasattr(os, "geteuid"):  # Windows: the profile's folder has its owner's rights
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read_kept(path: Path) -> str | None:
    """What was kept there; None where nothing was, or nothing that is text."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="utf-8")
    return None


def keep(path: Path, text: str) -> bool:
    """Write a file whole or not at all; False where the cache cannot be written to."""
    import tempfile  # a start that finds what it needs does without

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
