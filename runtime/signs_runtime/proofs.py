"""Remembers, in the user's cache folder, what this device has proved, so that a proof runs once."""

import contextlib
import hashlib
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL

import signs_runtime
from signs_runtime.device import Device


@dataclass(frozen=True)
class Proof:
    """All that a proof depends on: when any of it changes, it is proved anew."""

    digest: str  # the bundle's
    variant: str
    device: Device
    host: str  # several may share a home, and cards of one name differ
    runtime: str
    pillow: str

    @classmethod
    def of(cls, digest: str, variant: str, device: Device) -> "Proof":
        """The proof of a variant on this device."""
        return cls(digest, variant, device, platform.node(), signs_runtime.__version__, PIL.__version__)

    @property
    def is_known(self) -> bool:
        """It was kept here before."""
        try:
            return self._path.read_text(encoding="utf-8") == self._text
        except (OSError, RuntimeError, ValueError):  # no such file, no home, not text
            return False

    def keep(self) -> None:
        """Write it down; where the cache folder cannot be written to, the next start proves again."""
        with contextlib.suppress(OSError, RuntimeError):
            path = self._path
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f".{path.name}.{os.getpid()}")
            written.write_text(self._text, encoding="utf-8")
            written.replace(path)

    @property
    def _text(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @property
    def _path(self) -> Path:
        return cache_folder() / f"{hashlib.sha256(self._text.encode()).hexdigest()}.json"


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
