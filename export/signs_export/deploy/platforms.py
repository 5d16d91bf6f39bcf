"""The systems that a bundle can be deployed to, and why not to others."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from signs_export.errors import ExportError

Processor = Literal["arm", "amd64"]  # as onnxruntime's own script calls them
PROCESSORS: tuple[Processor, ...] = get_args(Processor)
Language = Literal["node", "cpp"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MANYLINUX = "manylinux_2_28"  # what onnxruntime's wheels for Linux need


@dataclass(frozen=True)
class Platform:
    """A system that onnxruntime has wheels for."""

    name: str
    for_uv: str  # as `uv pip compile --python-platform` calls it
    machine: str  # what `uname -m` says there
    for_docker: str  # as Docker calls it; "" where it has none
    needs: str  # of the system, in words


_LINUX = "64-bit Linux with glibc 2.28 or newer"
PLATFORMS = {
    each.name: each
    for each in (
        Platform("linux-aarch64", f"aarch64-{MANYLINUX}", "aarch64", "linux/arm64", _LINUX),
        Platform("linux-x86_64", f"x86_64-{MANYLINUX}", "x86_64", "linux/amd64", _LINUX),
        Platform("macos-arm64", "aarch64-apple-darwin", "arm64", "", "macOS on Apple silicon"),
    )
}


@dataclass(frozen=True)
class BoardConfig:
    """What the board is, and what it does."""

    platform: str = "linux-aarch64"
    python: str = "3.11"
    program: Path | None = None  # a Python file of the user's that a systemd unit starts at boot


@dataclass(frozen=True)
class ContainerConfig:
    """Where a container runs."""

    platform: str = "linux-x86_64"
    python: str = "3.11"


@dataclass(frozen=True)
class SmallConfig:
    """What a small build of onnxruntime is for."""

    variant: str | None = None  # None: int8 where there is one, else the first
    processor: Processor = "arm"


_REFUSED = (
    (
        r"arm(v[67]|hf|32)|i[3-6]86|32",
        "onnxruntime has no wheels for 32-bit systems. Install a 64-bit one on the board",
    ),
    (r"musl|alpine", "onnxruntime has no wheels for musl. Take a system with glibc, such as Debian"),
    (r"riscv|ppc|s390|mips", "onnxruntime has no wheels for this processor"),
    (r"^win", "install.sh needs a Unix shell. On Windows: pip install 'signs-runtime[cpu]'"),
)


def find_platform(name: str) -> Platform:
    """The platform of this name. Raises ExportError with the reason for one that cannot work."""
    if name in PLATFORMS:
        return PLATFORMS[name]
    for pattern, reason in _REFUSED:
        if re.search(pattern, name.lower()):
            raise ExportError(f"No board folder for {name}: {reason}.")
    raise ExportError(f"No platform {name}. There are: {', '.join(PLATFORMS)}.")


def check_python(version: str) -> None:
    """Refuse a Python that the runtime does not run on. Raises ExportError."""
    if version not in PYTHONS:
        raise ExportError(
            f"signs-runtime does not run on Python {version}. Install one of these: {', '.join(PYTHONS)}."
        )
