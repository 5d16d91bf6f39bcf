"""The systems that a bundle can be deployed to, and the reasons against others."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from signs_export.errors import ExportError

Processor = Literal["arm", "amd64"]  # the names that onnxruntime's own script uses
PROCESSORS: tuple[Processor, ...] = get_args(Processor)
Language = Literal["node", "cpp"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MANYLINUX = "manylinux_2_28"  # what onnxruntime's wheels for Linux need


@dataclass(frozen=True)
class Platform:
    """A system that onnxruntime has wheels for."""

    name: str
    for_uv: str  # its name for `uv pip compile --python-platform`
    machine: str  # its output of `uname -m`
    for_docker: str  # its name in Docker; "" if there is none
    needs: str  # the required system, for people


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
    """The board's platform and Python, and the program that it runs."""

    platform: str = "linux-aarch64"
    python: str = "3.11"
    program: Path | None = None  # the user's Python file that a systemd unit starts at boot


@dataclass(frozen=True)
class ContainerConfig:
    """The container's platform and Python."""

    platform: str = "linux-x86_64"
    python: str = "3.11"


@dataclass(frozen=True)
class SmallConfig:
    """The variant and the processor of a small build of onnxruntime."""

    variant: str | None = None  # None: int8 if there is one, else the first
    processor: Processor = "arm"


_REFUSED = (
    (
        r"arm(v[67]|hf|32)|i[3-6]86|32",
        "onnxruntime has no wheels for 32-bit systems. Install a 64-bit system on the board",
    ),
    (r"musl|alpine", "onnxruntime has no wheels for musl. Use a system with glibc, such as Debian"),
    (r"riscv|ppc|s390|mips", "onnxruntime has no wheels for this processor"),
    (
        r"^win",
        "install.sh needs a Unix shell. On Windows, pip install the runtime's wheel and onnxruntime",
    ),
)


def find_platform(name: str) -> Platform:
    """The platform of this name. Raises ExportError if it is unknown or unsupported, with the reason."""
    if name in PLATFORMS:
        return PLATFORMS[name]
    for pattern, reason in _REFUSED:
        if re.search(pattern, name.lower()):
            raise ExportError(f"{name} is not supported: {reason}.")
    raise ExportError(f"Unknown platform {name}. Choose one of: {', '.join(PLATFORMS)}.")


def check_python(version: str) -> None:
    """Check that the runtime supports this Python. Raises ExportError."""
    if version not in PYTHONS:
        raise ExportError(f"signs-runtime does not run on Python {version}. Choose one of: {', '.join(PYTHONS)}.")
