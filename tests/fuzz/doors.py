"""The doors through which bytes from outside come in, each with what happens to them and how a fuzzer changes them."""

import random
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import bundles, pictures

MAX_SECONDS = 5.0
MAX_MEMORY = 2**30  # bytes of RSS, of the whole process
CORPUS = Path(__file__).parent / "corpus"

Mutate = Callable[[bytes], bytes]


class BrokenWordError(Exception):
    """The runtime took longer or more memory than it may."""


@dataclass(frozen=True)
class Door:
    """A kind of bytes: `judge` says what became of them or raises, `mutate` changes them."""

    name: str
    judge: Callable[[bytes], str]
    mutate: Callable[[bytes, random.Random, bytes, Mutate], bytes]
    made: tuple[tuple[str, bytes], ...] = ()  # seeds that are not in the small corpus, since they change with the code
    longest: int = 10_000  # bytes

    def seeds(self) -> dict[str, bytes]:
        """What the fuzzer starts from: the files of the small corpus and what is made, by name; "bad" is refused."""
        files = sorted((CORPUS / self.name).iterdir())
        return {path.name: path.read_bytes() for path in files} | dict(self.made)


DOORS = {
    door.name: door
    for door in (
        Door("pictures", pictures.read, pictures.mutate),
        Door("manifest", bundles.read_manifest, bundles.mutate_manifest, bundles.MANIFESTS),
        Door("golden", bundles.read_golden, bundles.mutate_golden),
        Door("model", bundles.run_model, bundles.mutate_model),
    )
}


def peak_memory() -> int:
    """The most bytes of RSS that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
