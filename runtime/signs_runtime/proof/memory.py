"""Remembers in the user's cache folder what this device has proved, so that each proof runs once."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass

import PIL

from signs_runtime.cache import keep, part_of_cache, read_kept
from signs_runtime.engine.device import Device
from signs_runtime.version import __version__


@dataclass(frozen=True)
class Proof:
    """Everything that a proof depends on; when any of it changes, the proof runs again."""

    digest: str  # the bundle's
    variant: str
    device: Device
    host: str  # hosts may share a home folder, and GPUs with the same name may differ
    runtime: str
    pillow: str

    @classmethod
    def of(cls, digest: str, variant: str, device: Device) -> "Proof":
        """The proof of a variant on this device."""
        return cls(digest, variant, device, platform.node(), __version__, PIL.__version__)

    @property
    def is_known(self) -> bool:
        """Whether this proof was saved before."""
        folder = part_of_cache("proofs")
        return folder is not None and read_kept(folder / self._name) == self._text

    def keep(self) -> None:
        """Save the proof; if the cache folder cannot be written to, the next start proves again."""
        folder = part_of_cache("proofs")
        if folder is not None:
            keep(folder / self._name, self._text)

    @property
    def _text(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @property
    def _name(self) -> str:
        return f"{hashlib.sha256(self._text.encode()).hexdigest()}.json"
