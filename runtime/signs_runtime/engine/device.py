"""Describes the device on which a model runs: the CPU and its features, the execution provider, the versions."""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from signs_runtime.engine.session import PROVIDERS, import_onnxruntime

# The features by which onnxruntime chooses kernels (MLAS, onnxruntime/core/common/cpuid_info.cc), as Linux names them.
_FEATURES = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


@dataclass(frozen=True)
class Device:
    """A machine, and how onnxruntime uses it."""

    cpu: str  # the CPU model's name, or what the system knows about it
    machine: str  # "x86_64", "aarch64", ...
    features: tuple[str, ...]  # of the CPU that matter for inference; empty if the system does not report them
    system: str
    provider: str  # the execution provider that runs the model
    onnxruntime: str  # its version
    threads: int | None  # for one operator; None: not about a session


def this_device(device: str = "cpu", threads: int | None = None) -> Device:
    """Describe the machine that this process runs on, for sessions on `device`, one of PROVIDERS.

    Raises OnnxruntimeMissingError.
    """
    cpu, machine, *features = this_cpu()
    return Device(
        cpu=cpu,
        machine=machine,
        features=tuple(features),
        system=platform.platform(),
        provider=PROVIDERS[device],  # a session without it does not start
        onnxruntime=import_onnxruntime().__version__,
        threads=threads,
    )


@cache
def this_cpu() -> tuple[str, ...]:
    """The CPU's name, the machine type and the CPU's features, which decide the kernels and their speed."""
    name, features = describe_cpu(_cpuinfo())
    return (name or platform.processor() or "unknown", platform.machine(), *features)


def describe_cpu(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """From the text of /proc/cpuinfo, for the first core: the model's name, or "", and the features that matter."""
    claims: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in cpuinfo.splitlines()):
        claims.setdefault(name.strip(), value.strip())
    flags = {*claims.get("flags", "").split(), *claims.get("Features", "").split()}  # x86 and ARM
    name = claims.get("model name") or claims.get("Model") or ""
    return name, tuple(feature for feature in _FEATURES if feature in flags)


def _cpuinfo() -> str:
    """The text of /proc/cpuinfo on Linux; "" on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""
