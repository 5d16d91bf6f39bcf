"""Tells what of onnxruntime is installed and loads, tried in a child process, so that a crash there stays there."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

_PROBE = """
import json, os
import onnxruntime as ort
print(json.dumps([ort.__version__, ort.get_available_providers(), os.path.dirname(ort.__file__)]))
"""

# CUDA's libraries from pip lie where the loader does not look; preload_dlls (from 1.21 on) loads them, and prints.
_LOAD = """
import contextlib, ctypes, io, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
    import onnxruntime
    onnxruntime.preload_dlls()
try:
    for library in sys.argv[1:]:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
except OSError as error:
    sys.exit(str(error))
"""

# Opened by the provider only when a convolution runs, so that its own library loads without it.
_OPENED_LATER = {"CUDAExecutionProvider": ("libcudnn.so.9",)}  # cuDNN 9 since onnxruntime 1.19

# On PyPI; from 1.27 on, packages for CUDA 12 are deprecated: https://github.com/microsoft/onnxruntime/issues/29032
_LAST_FOR_CUDA_12 = "1.26.0"

_PATIENCE = 120  # seconds; an import takes half a second on two cores, many on a small board with a slow card


@dataclass(frozen=True)
class Onnxruntime:
    """The onnxruntime that an import finds, or why there is none."""

    version: str  # empty: it cannot be imported
    providers: tuple[str, ...]
    folder: str
    error: str  # empty: it can be


def find_onnxruntime() -> Onnxruntime:
    """Import onnxruntime in a child process; this one survives an illegal instruction there."""
    child = _run_apart(_PROBE)
    if child.returncode:
        return Onnxruntime("", (), "", _last_words(child))
    version, providers, folder = json.loads(child.stdout.splitlines()[-1])
    return Onnxruntime(version, tuple(providers), folder, "")


def installed_distributions() -> dict[str, str]:
    """The distributions that have installed a package `onnxruntime`, each over the others' files: name -> version.

    By what pip wrote down of their files: plugins such as onnxruntime-ep-webgpu have like names and another package.
    """
    return {name: version(name) for name in sorted(set(packages_distributions().get("onnxruntime", ())))}


def why_not_loadable(provider: str) -> str | None:
    """Say in one sentence, with the dynamic loader's words, why a library of an execution provider does not load here.

    None where nothing is found wrong, where the provider has no library of its own, and on systems other than Linux.
    """
    from importlib.util import find_spec

    spec = find_spec("onnxruntime")
    if not sys.platform.startswith("linux") or spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "capi"
    library = folder / f"libonnxruntime_providers_{provider.removesuffix('ExecutionProvider').lower()}.so"
    if not library.is_file():
        return None
    shared = folder / "libonnxruntime_providers_shared.so"  # the others take their symbols from it
    needed = [*([shared] if shared.is_file() else []), library, *_OPENED_LATER.get(provider, ())]
    child = _run_apart(_LOAD, *map(str, needed))
    return f"A library of {provider} does not load: {_last_words(child)}." if child.returncode else None


def how_to_get_library(reason: str) -> str:
    """Where the library comes from that the loader did not find, by what `why_not_loadable` said."""
    found = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", reason)
    library = found[1] if found else ""
    if library.startswith("libcuda.so"):
        return "it is of NVIDIA's driver: install that; in a container, docker run --gpus all"
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        return "pip install tensorrt, or choose another device"
    if library.startswith(("libcu", "libnv")):
        return (
            "pip install 'onnxruntime-gpu[cuda,cudnn]', which brings CUDA and cuDNN; for a driver of CUDA 12, "
            f"'onnxruntime-gpu[cuda,cudnn]=={_LAST_FOR_CUDA_12}' is the last; without a GPU, 'signs-runtime[cpu]'"
        )
    return "install the onnxruntime again: pip install --force-reinstall"


def _run_apart(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(each or os.curdir for each in sys.path),
        "ORT_DISABLE_TELEMETRY": os.environ.get("ORT_DISABLE_TELEMETRY", "1"),
    }
    command = [sys.executable, "-P", "-c", code, *arguments]
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"the process did not end within {_PATIENCE} seconds")


def _last_words(child: "subprocess.CompletedProcess[str]") -> str:
    """What a child process said last before it failed, or the signal that ended it."""
    if child.returncode < 0:
        return f"{signal.Signals(-child.returncode).name} ended the process"
    said = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return said[-1].rstrip(".") if said else f"the process ended with {child.returncode}"
