"""Examines a device for what keeps a bundle from running on it well; each finding has its evidence and a fix.

Only the check that is about numpy, Pillow or onnxruntime imports it, because it may be what is broken.
"""

import os
import platform
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from signs_runtime.doctor.known_faults import FAULTS
from signs_runtime.engine.device import describe_cpu
from signs_runtime.engine.provider_libraries import (
    Onnxruntime,
    find_onnxruntime,
    how_to_get_library,
    how_to_mend_import,
    installed_distributions,
    why_not_loadable,
)
from signs_runtime.engine.session import PROVIDERS
from signs_runtime.errors import BundleError
from signs_runtime.placement.limits import Limits, available_memory, find_limits

if TYPE_CHECKING:
    from signs_runtime.bundle.manifest import Run, Variant

PYTHONS = ((3, 10), (3, 14))  # from the first, below the second, as in runtime/pyproject.toml
OLDEST_ONNXRUNTIME = "1.23"  # as in its extras

# Most users of the GPU wheel do not need these, and no extra installs their libraries: a missing one is a problem only
# if the provider was requested.
_EXTRA_PROVIDERS = ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")

_PROBE_BYTES = 2**20  # written to find out whether the disk is full

_PACKAGES = {
    "CPUExecutionProvider": "onnxruntime",
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "CoreMLExecutionProvider": "onnxruntime",  # every wheel for macOS has it
}


@dataclass(frozen=True)
class Finding:
    """What a check found: "ok", a "note" that is worth knowing, or a "problem" to fix."""

    check: str
    level: Literal["ok", "note", "problem"]
    says: str
    fix: str = ""


def examine(bundle: Path | None = None, device: str | None = None, root: Path = Path("/")) -> list[Finding]:
    """Run every check. `device` is one of PROVIDERS; `root` is the folder under which /proc, /sys, /dev and /etc lie.

    A check that itself fails becomes one of the problems.
    """
    found, installed, limits = cache(find_onnxruntime), cache(installed_distributions), cache(lambda: find_limits(root))

    def version() -> str:
        return found().version or next(iter(installed().values()), "")

    def cpu() -> tuple[str, tuple[str, ...]]:
        return describe_cpu(_text(root / "proc/cpuinfo"))

    checks: dict[str, Callable[[], list[Finding]]] = {
        "python": lambda: check_python(sys.version_info[:2]),
        "onnxruntime": lambda: check_onnxruntime(found(), installed(), 8 * struct.calcsize("P"), _host()),
        "version": lambda: check_version(version(), {*cpu()[1], *_sme_of_macos()}),
        "providers": lambda: check_providers(found(), device),
        "gpu": lambda: check_gpu(found(), device, root),
        "cpu": lambda: check_cpu(platform.machine(), *cpu()),
        "limits": lambda: check_limits(limits()),
        "memory": lambda: check_memory(bundle, limits().memory, available_memory(root)),
        "cache": check_cache,
        "telemetry": lambda: check_telemetry(os.environ.get("ORT_DISABLE_TELEMETRY"), version(), root),
        "pictures": check_pictures,
    }
    return [finding for name, check in checks.items() for finding in _findings(name, check)]


def check_python(version: tuple[int, ...]) -> list[Finding]:
    """Check that signs-runtime supports this Python."""
    first, beyond = (f"{major}.{minor}" for major, minor in PYTHONS)
    running = ".".join(map(str, version))
    if PYTHONS[0] <= version < PYTHONS[1]:
        return [Finding("python", "ok", f"Python {running}")]
    return [
        Finding(
            "python",
            "problem",
            f"this is Python {running}, but signs-runtime needs {first} or newer, below {beyond}",
            f"create an environment with another Python: uv venv --python {first}",
        )
    ]


def check_onnxruntime(found: Onnxruntime, installed: Mapping[str, str], bits: int, host: str) -> list[Finding]:
    """Check that exactly one onnxruntime is installed, that it can be imported, and that its files belong together."""
    names = " and ".join(f"{name} {version}" for name, version in installed.items()) or "none"
    if len(installed) > 1:
        says = f"{names} are installed and overwrite each other's files; an import finds {found.version or found.error}"
        url = "https://github.com/microsoft/onnxruntime/issues/26996"
        return [Finding("onnxruntime", "problem", f"{says} ({url})", _reinstall(installed))]
    if found.error and bits == 32:
        says = f"this Python has {bits} bits, but onnxruntime has wheels for 64 bits only ({found.error})"
        return [Finding("onnxruntime", "problem", says, "install a 64-bit operating system, also on a Raspberry Pi")]
    if found.error and "musl" in host:
        says = f"this system is built on musl ({host}), for which onnxruntime has no wheels ({found.error})"
        return [Finding("onnxruntime", "problem", says, "use an image with glibc, such as python:3.12-slim")]
    if found.error and not installed:
        says = f"no onnxruntime is installed ({found.error})"
        return [Finding("onnxruntime", "problem", says, _reinstall(installed))]
    if found.error:
        return [
            Finding(
                "onnxruntime", "problem", f"{names} cannot be imported: {found.error}", how_to_mend_import(found.error)
            )
        ]
    if installed and found.version not in installed.values():
        says = (
            f"{names} is installed, but an import finds {found.version} in {found.folder}: "
            "files of two installations are mixed"
        )
        return [Finding("onnxruntime", "problem", says, _reinstall(installed))]
    return [Finding("onnxruntime", "ok", f"onnxruntime {found.version} ({names if installed else found.folder})")]


def check_version(version: str, features: set[str]) -> list[Finding]:
    """Check that this version of onnxruntime is new enough, and has no known faults on this CPU."""
    if not version:
        return []
    from packaging.version import Version  # onnxruntime brings it

    number = Version(version)
    if number < Version(OLDEST_ONNXRUNTIME):
        says = f"onnxruntime {version} is too old: signs-runtime needs {OLDEST_ONNXRUNTIME} or newer"
        return [Finding("version", "problem", says, f"upgrade onnxruntime to {OLDEST_ONNXRUNTIME} or newer")]
    findings = []
    for fault in FAULTS:
        here = ", ".join(sorted(features.intersection(fault.features)))
        if Version(fault.since) <= number < Version(fault.before) and here:
            says = f"onnxruntime {version} on a CPU with {here}: {fault.goes_wrong} ({fault.url})"
            findings.append(Finding("version", "problem", says, fault.fix))
    return findings or [Finding("version", "ok", f"onnxruntime {version} has no known fault on this CPU")]


def check_providers(found: Onnxruntime, device: str | None, system: str = sys.platform) -> list[Finding]:
    """Check that this build's execution providers can start, and that it has the requested one."""
    if found.error:
        return []
    findings = []
    for name, provider in PROVIDERS.items():
        if provider not in found.providers:
            if name == device:
                says = f"--device {name} needs {provider}, but this onnxruntime has only {', '.join(found.providers)}"
                findings.append(Finding("providers", "problem", says, _get(provider)))
            continue
        reason = why_not_loadable(provider)
        if reason is not None:
            needless = provider in _EXTRA_PROVIDERS if device is None else name != device
            findings.append(Finding("providers", "note" if needless else "problem", reason, how_to_get_library(reason)))
    if system == "darwin" and "CoreMLExecutionProvider" not in found.providers:
        says = "this onnxruntime has no CoreMLExecutionProvider, which PyPI's wheels for macOS include"
        findings.append(Finding("providers", "note", says, _get("CoreMLExecutionProvider")))
    has = ", ".join(found.providers)
    return findings or [Finding("providers", "ok", f"this onnxruntime has {has}; their libraries load")]


def check_gpu(found: Onnxruntime, device: str | None, root: Path) -> list[Finding]:
    """Check that an NVIDIA GPU can be used if there is one, and that there is one if it was requested."""
    driver, jetson = root / "proc/driver/nvidia/version", root / "etc/nv_tegra_release"
    cards = [each for each in (root / "dev/nvidia0", root / "dev/dxg", jetson) if each.exists()]  # dxg: WSL
    has_cuda = "CUDAExecutionProvider" in found.providers
    if cards and not has_cuda and not found.error:
        says = f"an NVIDIA GPU was found (/{cards[0].relative_to(root)}), but this onnxruntime has no CUDA provider"
        return [Finding("gpu", "note", says, _get("CUDAExecutionProvider", is_jetson=jetson.exists()))]
    level: Literal["note", "problem"] = "problem" if device == "cuda" else "note"
    if driver.exists() and not cards and (has_cuda or device == "cuda"):
        says = "the NVIDIA driver is loaded (/proc/driver/nvidia/version), but /dev/nvidia0 does not exist here"
        return [Finding("gpu", level, says, "give the container access to the GPU: docker run --gpus all")]
    if not cards and (has_cuda or device == "cuda"):
        says = (
            "no NVIDIA GPU was found: /proc/driver/nvidia/version, /dev/nvidia0 and a Jetson's /etc/nv_tegra_release "
            "do not exist"
        )
        return [Finding("gpu", level, says, "install NVIDIA's driver, or use the smaller package onnxruntime")]
    return [Finding("gpu", "ok", "an NVIDIA GPU and its provider" if cards else "no NVIDIA GPU, and none is needed")]


def check_cpu(machine: str, name: str, features: Sequence[str]) -> list[Finding]:
    """Check that the CPU computes int8 fast."""
    says = f"{name or 'the CPU'} ({machine}) has {' '.join(features)}"
    if not features:
        return [Finding("cpu", "ok", f"{machine}; the system does not report its features")]
    if machine in ("x86_64", "AMD64") and "avx2" not in features:
        fix = "in a virtual machine, pass the host's CPU through (-cpu host); otherwise, choose a float32 variant"
        return [Finding("cpu", "problem", f"{says} but no AVX2, so int8 is slow", fix)]
    dot_products = {
        **dict.fromkeys(("x86_64", "AMD64"), ("avx_vnni", "avx512_vnni")),
        **dict.fromkeys(("aarch64", "arm64"), ("asimddp",)),
    }.get(machine, ())
    if dot_products and not any(each in features for each in dot_products):
        fix = "compare the variants' speed on this device before you choose int8 for it: signs benchmark"
        return [Finding("cpu", "note", f"{says} but no dot-product unit for int8 ({' or '.join(dot_products)})", fix)]
    return [Finding("cpu", "ok", says)]


def check_limits(limits: Limits) -> list[Finding]:
    """Check which cores the process may use, and how many threads the runtime uses on them."""
    threads = f"the runtime computes with {limits.threads} thread{'s' if limits.threads > 1 else ''}"
    cores = f"{limits.cores} of this machine's cores ({limits.host_cores} logical)"
    if limits.quota is not None and limits.quota < 1:
        says = f"the cgroup's quota is {limits.quota:g} of one core, so even a single thread is paused repeatedly"
        return [Finding("limits", "note", says, "give the container a whole core: docker run --cpus 1")]
    if limits.is_shared:
        quota = "" if limits.quota is None else f", a quota of {limits.quota:g}"
        return [Finding("limits", "note", f"{cores}{quota}: {threads}", "")]
    return [Finding("limits", "ok", f"{cores}: {threads}")]


def check_memory(bundle: Path | None, limit: int | None, available: int | None) -> list[Finding]:
    """Check that memory, limited by the cgroup and by what is available now, is enough for each variant."""
    memory = min((each for each in (limit, available) if each is not None), default=None)
    has = "unlimited" if memory is None else f"{memory / 2**20:,.0f} MiB"
    told = f"{has} (cgroup: {_mebibytes(limit)}, available: {_mebibytes(available)})"
    if bundle is None:
        return [Finding("memory", "ok", told)]
    from signs_runtime.bundle.folder import open_bundle

    try:
        manifest = open_bundle(bundle).manifest
    except BundleError as error:
        return [Finding("bundle", "problem", str(error))]  # the message names the next step
    variants, run = manifest.variants, manifest.run
    short = [each for each in variants if memory is not None and needed_memory(each, run) > memory]
    if short:
        needs = ", ".join(f"{each.name} about {_mebibytes(needed_memory(each, run))}" for each in short)
        fitting = [each.name for each in variants if each not in short]
        fix = f"choose --variant {fitting[0]}" if fitting else "give the container more memory: docker run --memory"
        return [Finding("memory", "problem", f"{told}, but {bundle} needs more: {needs}", fix)]
    return [Finding("memory", "ok", f"{told}, enough for every variant of {bundle}")]


def needed_memory(variant: "Variant", run: "Run") -> int:
    """Bytes that a process with this variant takes: as measured at export, or else an estimate."""
    return run.peak_memory.get(variant.name, int(variant.file.bytes * 4) + 2**26)


def check_cache() -> list[Finding]:
    """Check that the cache folder can be written to, and by nobody else, who could forge proofs."""
    from signs_runtime.cache import cache_folder, is_private

    variable = {"win32": "LOCALAPPDATA", "darwin": "HOME"}.get(sys.platform, "XDG_CACHE_HOME")
    fix = f"set {variable} to a folder of your own that you can write to"
    without = "so every start optimises and proves the model again, and `signs tune` has no effect"
    try:
        folder = cache_folder()
    except RuntimeError as error:  # no home
        return [Finding("cache", "note", f"there is no cache folder ({error}), {without}", fix)]
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    status = nearest.stat()
    owned = f"{nearest} is {stat.filemode(status.st_mode)}, owned by user {status.st_uid}"
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        says = f"{folder} cannot be written to ({error.strerror}; {owned}), {without}"
        return [Finding("cache", "note", says, fix)]
    if nearest == folder:
        for each in (folder, *(inside for inside in folder.iterdir() if inside.is_dir())):
            if not is_private(each):
                says = f"other users own {each} or can write to it, so nothing in it is used"
                return [
                    Finding("cache", "problem", says, f"chown -R {os.geteuid()} {folder} && chmod -R go-w {folder}")
                ]
    return [Finding("cache", "ok", f"{folder} can be written to")]


def check_telemetry(setting: str | None, version: str, root: Path) -> list[Finding]:
    """Check that onnxruntime's telemetry is switched off."""
    if setting in (None, "1"):
        return [Finding("telemetry", "ok", "switched off (ORT_DISABLE_TELEMETRY=1)")]
    fix = "unset ORT_DISABLE_TELEMETRY"
    if version.startswith("1.29.0") and not (root / "bin/sh").exists():
        url = "https://github.com/microsoft/onnxruntime/issues/32173"
        says = f"with its telemetry on, onnxruntime {version} crashes on a system without /bin/sh ({url})"
        return [Finding("telemetry", "problem", says, fix)]
    return [Finding("telemetry", "note", f"ORT_DISABLE_TELEMETRY is {setting!r}: onnxruntime may send telemetry", fix)]


def check_pictures() -> list[Finding]:
    """Check that Pillow reads JPEG and PNG; a Pillow that was built on the device may lack their libraries."""
    fix = "pip install --force-reinstall --only-binary pillow pillow"
    try:
        import PIL
        from PIL import Image, features  # noqa: F401  # Image loads what is compiled
    except ImportError as error:
        return [Finding("pictures", "problem", f"Pillow cannot be imported: {error}", fix)]
    lacking = [name for name, codec in (("JPEG", "jpg"), ("PNG", "zlib")) if not features.check(codec)]
    if lacking:
        return [Finding("pictures", "problem", f"Pillow {PIL.__version__} lacks {' and '.join(lacking)}", fix)]
    return [Finding("pictures", "ok", f"Pillow {PIL.__version__} reads JPEG and PNG")]


def _findings(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # a bug in one check, on an unusual machine, must not hide what the others found
        place = traceback.extract_tb(error.__traceback__)[-1]
        says = f"this check itself failed: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return [Finding(name, "problem", says, "report this as a bug, with this line")]


def _reinstall(installed: Mapping[str, str]) -> str:
    first = f"pip uninstall -y {' '.join(installed)}, then " if installed else ""
    return (
        f"{first}pip install one of onnxruntime (any CPU), "
        "onnxruntime-gpu (NVIDIA with CUDA), onnxruntime-openvino (Intel)"
    )


def _get(provider: str, *, is_jetson: bool = False) -> str:
    """How to get an onnxruntime with this execution provider."""
    if provider == "CUDAExecutionProvider" and (is_jetson or platform.machine() == "aarch64"):
        return (
            "PyPI has no onnxruntime-gpu for ARM; for a Jetson, pip install onnxruntime-gpu --index-url "
            "https://pypi.jetson-ai-lab.io/jp6/cu126 (https://github.com/dusty-nv/jetson-containers/issues/1283)"
        )
    if provider in _PACKAGES:
        return f"remove this onnxruntime (pip uninstall -y), then pip install {_PACKAGES[provider]}"
    return f"install an onnxruntime that has {provider}: https://onnxruntime.ai/docs/execution-providers"


def _sme_of_macos() -> set[str]:
    """{"sme"} if macOS reports ARM's matrix unit, which it does only through sysctl."""
    if sys.platform != "darwin":
        return set()
    asked = subprocess.run(["sysctl", "-n", "hw.optional.arm.FEAT_SME"], capture_output=True, text=True)
    return {"sme"} if asked.stdout.strip() == "1" else set()


def _host() -> str:
    return str(sysconfig.get_config_var("HOST_GNU_TYPE") or sysconfig.get_platform())


def _mebibytes(size: int | None) -> str:
    return "no limit" if size is None else f"{size / 2**20:,.0f} MiB"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
