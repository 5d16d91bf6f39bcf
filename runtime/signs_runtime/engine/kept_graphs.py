"""Keeps optimised graphs in the cache folder, so that later starts neither optimise a model nor copy its weights.

A graph's weights lie in a separate file, which onnxruntime maps into memory: they are loaded when they are used, and
only once. ResNet-50's fp32.onnx starts in 7 ms instead of 230 and takes 150 MiB instead of 300
(benchmarks/runtime/session_settings.py).
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from signs_runtime.bundle.folder import HeldFile, digest_of, open_regular
from signs_runtime.bundle.manifest import MAX_FILE_BYTES
from signs_runtime.bundle.strict_json import from_json, parse_json
from signs_runtime.cache import part_of_cache
from signs_runtime.engine.device import this_cpu
from signs_runtime.engine.session import Setting, import_onnxruntime, start_session
from signs_runtime.errors import BundleError, BundleFormatError, BundleTamperedError, ProviderError
from signs_runtime.version import __version__

_KEPT = 8  # graphs that are kept, those used last; each is as large as its model
_ABANDONED = 3600  # seconds after which an unfinished graph is considered left behind by a killed process
_GRAPH, _DIGESTS = "graph.onnx", "digests.json"


@dataclass(frozen=True)
class Model:
    """A model file with its digest; `read` returns the very bytes with that digest, or raises BundleError."""

    sha256: str
    read: Callable[[], bytes]

    @classmethod
    def of_file(cls, path: Path) -> "Model":
        """A single model file, with the digest of its content now. Raises BundleNotFoundError, BundleFormatError."""
        file = HeldFile(partial(open_regular, path))
        sha256 = _digest(path)

        def read() -> bytes:
            content = file.read(MAX_FILE_BYTES + 1)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise BundleTamperedError(f"{path} was replaced while it was being opened; try again.")
            return content

        return cls(sha256, read)


def start(model: Model, setting: Setting, *, cached: bool = True) -> Any:  # Any: onnxruntime.InferenceSession
    """Start a session from the model's cached optimised graph; if there is none, make it first.

    The graph is specific to the CPU that it was made on. Other devices optimise at each start; TensorRT, which takes
    minutes, keeps its engines. Raises as `start_session` and `model.read` do.
    """
    kept = _place(model, setting) if cached and setting.device == "cpu" else None
    if kept is not None:
        session = _open(kept, setting) or (_make(model, setting, kept) and _open(kept, setting))
        if session:
            return session
    return start_session(_checked(model), setting, engines=engines_of(model, setting) if cached else None)


def engines_of(model: Model, setting: Setting) -> Path | None:
    """The folder in which TensorRT keeps the engines of this model; None for another device, or without a cache.

    Engine files are specific to GPUs and versions of TensorRT, but not to weights, so each model has its own folder.
    """
    kept = _place(model, setting, "engines") if setting.device == "tensorrt" else None
    try:
        if kept is not None:
            kept.mkdir(exist_ok=True, mode=0o700)
            os.utime(kept)  # marks it as used
            _forget_old(kept.parent)
    except OSError:
        return None
    return kept


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise BundleFormatError(f"{path} has {size:,} bytes; a model has at most {MAX_FILE_BYTES:,}.")
        return digest_of(file, size)[1]


def _checked(model: Model) -> bytes:
    from signs_runtime.model_check import check_model  # a start from a cached graph does not need it

    content = model.read()
    check_model(content)
    return content


def _place(model: Model, setting: Setting, kind: Literal["graphs", "engines"] = "graphs") -> Path | None:
    """Where a model's graph or engines are kept; the name is a digest of everything that they depend on."""
    folder = part_of_cache(kind)
    if folder is None:
        return None
    made_by = [import_onnxruntime().__version__, __version__, *this_cpu(), setting.device]
    name = hashlib.sha256(json.dumps([model.sha256, made_by]).encode()).hexdigest()
    return folder / name


def _open(kept: Path, setting: Setting) -> Any:  # Any: onnxruntime.InferenceSession, or None
    """Start a cached graph; None if there is none, or if its files have changed.

    The weights, which onnxruntime only maps, are read and checked while the session starts.
    """
    try:
        digests = from_json(dict[str, str], parse_json((kept / _DIGESTS).read_bytes(), _DIGESTS), _DIGESTS)
        if digests.pop(_GRAPH, None) != _digest(kept / _GRAPH):
            return None
    except (OSError, BundleError):
        return None
    with contextlib.suppress(OSError):  # the cache may be read-only
        os.utime(kept)  # marks it as used
    whole: list[bool] = []

    def check_weights() -> None:
        with contextlib.suppress(OSError, BundleError):
            whole.append(all(_digest(kept / name) == digest for name, digest in digests.items()))

    checking = threading.Thread(target=check_weights)
    checking.start()
    try:
        session = start_session(kept / _GRAPH, setting, optimize=False)
    except BundleFormatError:  # another build of onnxruntime made it, or its weights are cut off
        session = None
    finally:
        checking.join()
    return session if whole == [True] else None


def _make(model: Model, setting: Setting, kept: Path) -> bool:
    """Optimise the model and save the graph, whole or not at all. Raises as `model.read` and `check_model` do."""
    import tempfile  # a start from a cached graph does not need it

    content = _checked(model)
    try:
        written = Path(tempfile.mkdtemp(prefix=".", dir=kept.parent))
    except OSError:
        return False
    try:
        start_session(content, setting, save_to=written / _GRAPH)
        digests = {path.name: _digest(path) for path in written.iterdir()}
        (written / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        shutil.rmtree(kept, ignore_errors=True)
        written.rename(kept)
    except (OSError, BundleFormatError, ProviderError):  # a full disk, a graph that cannot be saved: start without it
        shutil.rmtree(written, ignore_errors=True)
        return False
    _forget_old(kept.parent)
    return True


def _forget_old(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another process may delete them at the same time
        used = {path: path.stat().st_mtime for path in folder.iterdir()}
        graphs = sorted((path for path in used if not path.name.startswith(".")), key=used.__getitem__)
        left = [path for path in used if path.name.startswith(".") and used[path] < time.time() - _ABANDONED]
        for path in (*graphs[:-_KEPT], *left):
            shutil.rmtree(path, ignore_errors=True)
