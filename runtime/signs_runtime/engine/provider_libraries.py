"""Finds out which parts of onnxruntime are installed and load; a child process tries them, because they may crash."""

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

# The loader does not find CUDA's libraries from pip; preload_dlls (onnxruntime 1.21 and later) loads them, and prints.
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

# The provider opens these only when a convolution runs, so its own library loads without them.
_OPENED_LATER = {"CUDAExecutionProvider": ("libcudnn.so.9",)}  # cuDNN 9 since onnxruntime 1.19

# On PyPI; since 1.27, packages for CUDA 12 are deprecated: https://github.com/microsoft/onnxruntime/issues/29032
_LAST_FOR_CUDA_12 = "1.26.0"


@dataclass(frozen=True)
class Onnxruntime:
    """The onnxruntime that an import finds, or why the import fails."""

    version: str  # "" if it cannot be imported
    providers: tuple[str, ...]
    folder: str
    error: str  # "" if it can be imported


def find_onnxruntime() -> Onnxruntime:
    """Import onnxruntime in a child process, so that an illegal instruction does not end this one.

    A frozen or embedded program, which cannot start a Python, imports it itself.
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
    except Exception as error:  # a broken installation may raise anything
        return Onnxruntime("", (), "", f"{type(error).__name__}: {error}")


def installed_distributions() -> dict[str, str]:
    """The distributions that installed a package `onnxruntime`, over each other's files: name -> version.

    pip's records of their files decide: plugins such as onnxruntime-ep-webgpu have similar names, but another package.
    """
    return {name: version(name) for name in sorted(set(packages_distributions().get("onnxruntime", ())))}


def why_not_loadable(provider: str) -> str | None:
    """One sentence, with the dynamic loader's message, on why a library of an execution provider does not load here.

    None if nothing is wrong, if the provider has no library of its own, if no child process can try it (see
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
    shared = folder / "libonnxruntime_providers_shared.so"  # the other libraries need its symbols
    needed = [*([shared] if shared.is_file() else []), library, *_OPENED_LATER.get(provider, ())]
    child = run_apart(_LOAD, *map(str, needed))
    return f"A library of {provider} does not load: {last_words(child)}." if child.returncode else None


def how_to_get_library(reason: str) -> str:
    """How to get the library that the loader did not find, judged by the sentence of `why_not_loadable`."""
    found = re.search(r"(\S+\.so[.\d]*): cannot open shared object file", reason)
    library = found[1] if found else ""
    if library.startswith("libcuda.so"):
        return "install NVIDIA's driver, which brings this library; for a container, use docker run --gpus all"
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        return (
            "pip install 'tensorrt-cu13<11' ('tensorrt-cu12<11' for a CUDA 12 driver) and add its folder "
            "tensorrt_libs to LD_LIBRARY_PATH; or choose another device"
        )
    if library.startswith(("libcu", "libnv")):
        return (
            "pip install 'onnxruntime-gpu[cuda,cudnn]', which brings CUDA and cuDNN (for a CUDA 12 driver, "
            f"'onnxruntime-gpu[cuda,cudnn]=={_LAST_FOR_CUDA_12}', the last for it); without a GPU, use "
            "the package onnxruntime"
        )
    return "reinstall onnxruntime: pip install --force-reinstall, with the name of its package"


def how_to_mend_import(error: str) -> str:
    """How to fix an installed onnxruntime that cannot be imported, judged by the error."""
    if "executable stack" in error:
        url = "https://github.com/microsoft/onnxruntime/issues/24911"
        return f"install a newer version: glibc 2.41 refuses this one ({url})"
    if "SIGILL" in error:
        url = "https://github.com/microsoft/onnxruntime/issues/23957"
        return f"install another version: this one needs instructions that the CPU lacks, as 1.21 on a Pi 4 ({url})"
    if "GLIBC" in error:
        return "use a newer operating system, or a container with one: the wheel needs a newer C library"
    return "reinstall it: pip install --force-reinstall, with the name of its package"
