"""Tells what of onnxruntime is installed and loads, tried in a child process, so that a crash there stays there."""

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

from signs_runtime.engine.child_python import can_start_python, last_words, run_apart

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


@dataclass(frozen=True)
class Onnxruntime:
    """The onnxruntime that an import finds, or why there is none."""

    version: str  # empty: it cannot be imported
    providers: tuple[str, ...]
    folder: str
    error: str  # empty: it can be


def find_onnxruntime() -> Onnxruntime:
    """Import onnxruntime in a child process; this one survives an illegal instruction there.

    A program that is no Python to be started again imports it itself.
    """
    if not can_start_python():
        return _import_here()
    child = run_apart(_PROBE)
    if child.returncode:
        return Onnxruntime("", (), "", last_words(child))
    version, providers, folder = json.loads(child.stdout.splitlines()[-1])
    return Onnxruntime(version, tuple(providers), folder, "")


def _import_here() -> Onnxruntime:
    try:
        import onnxruntime

        folder = Path(onnxruntime.__file__ or "").parent
        return Onnxruntime(onnxruntime.__version__, tuple(onnxruntime.get_available_providers()), str(folder), "")
    except Exception as error:  # a broken installation raises whatever is missing first
        return Onnxruntime("", (), "", f"{type(error).__name__}: {error}")


def installed_distributions() -> dict[str, str]:
    """The distributions that have installed a package `onnxruntime`, each over the others' files: name -> version.

    By what pip wrote down of their files: plugins such as onnxruntime-ep-webgpu have like names and another package.
    """
    return {name: version(name) for name in sorted(set(packages_distributions().get("onnxruntime", ())))}


def why_not_loadable(provider: str) -> str | None:
    """Say in one sentence, with the dynamic loader's words, why a library of an execution provider does not load here.

    None where nothing is found wrong, where the provider has no library of its own, where it cannot be tried apart (see
    `can_start_python`), and on systems other than Linux.
    """
    from importlib.util import find_spec

    spec = find_spec("onnxruntime")
    if not sys.platform.startswith("linux") or spec is None or not spec.submodule_search_locations:
        return None
    if not can_start_python():
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "capi"
    library = folder / f"libonnxruntime_providers_{provider.removesuffix('ExecutionProvider').lower()}.so"
    if not library.is_file():
        return None
    shared = folder / "libonnxruntime_providers_shared.so"  # the others take their symbols from it
    needed = [*([shared] if shared.is_file() else []), library, *_OPENED_LATER.get(provider, ())]
    child = run_apart(_LOAD, *map(str, needed))
    return f"A library of {provider} does not load: {last_words(child)}." if child.returncode else None


def how_to_get_library(reason: str) -> str:
    """Where the library comes from that the loader did not find, by what `why_not_loadable` said."""
    found = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", reason)
    library = found[1] if found else ""
    if library.startswith("libcuda.so"):
        return "it is of NVIDIA's driver: install that; in a container, docker run --gpus all"
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        return (
            "pip install 'tensorrt-cu13<11' ('tensorrt-cu12<11' for a driver of CUDA 12), and put its folder "
            "tensorrt_libs into LD_LIBRARY_PATH; or choose another device"
        )
    if library.startswith(("libcu", "libnv")):
        return (
            "pip install 'onnxruntime-gpu[cuda,cudnn]', which brings CUDA and cuDNN; for a driver of CUDA 12, "
            f"'onnxruntime-gpu[cuda,cudnn]=={_LAST_FOR_CUDA_12}' is the last; without a GPU, 'signs-runtime[cpu]'"
        )
    return "install the onnxruntime again: pip install --force-reinstall"


def how_to_mend_import(error: str) -> str:
    """What helps where an installed onnxruntime cannot be imported, by the words of the failure."""
    if "executable stack" in error:
        return "install a newer one: glibc 2.41 refuses it, https://github.com/microsoft/onnxruntime/issues/24911"
    if "SIGILL" in error:
        url = "https://github.com/microsoft/onnxruntime/issues/23957"
        return f"install another version: this one needs instructions that the CPU lacks, as 1.21 on a Pi 4 ({url})"
    if "GLIBC" in error:
        return "install a newer system, or in a container with one: the wheel was built for a newer C library"
    return "install it again: pip install --force-reinstall"
