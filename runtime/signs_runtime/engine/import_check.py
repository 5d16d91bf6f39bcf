"""Tries to import onnxruntime in a child process first, because an illegal instruction would end the command itself."""

import hashlib
import json
import os
import sys
from importlib.util import find_spec

from signs_runtime.cache import keep, part_of_cache, read_kept
from signs_runtime.engine.child_python import can_start_python
from signs_runtime.engine.device import this_cpu
from signs_runtime.engine.provider_libraries import find_onnxruntime, how_to_mend_import
from signs_runtime.errors import OnnxruntimeMissingError


def check_import() -> None:
    """Raise OnnxruntimeMissingError, with a fix, if an import of onnxruntime fails in any way.

    Each onnxruntime is tried once on each CPU if the cache folder can remember it.
    """
    spec = find_spec("onnxruntime")
    if spec is None or not spec.origin or not can_start_python():
        return  # the import itself will explain what is wrong
    folder = part_of_cache("imports")
    depends = [spec.origin, os.stat(spec.origin).st_mtime_ns, sys.version, *this_cpu()]  # noqa: PTH116  # 5 us less
    name = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    if folder is not None and read_kept(folder / name) is not None:
        return
    found = find_onnxruntime()
    if found.error:
        raise OnnxruntimeMissingError(
            f"onnxruntime cannot be imported: {found.error}. To fix it, {how_to_mend_import(found.error)}. "
            "`signs doctor` lists everything that is wrong on this device."
        )
    if folder is not None:
        keep(folder / name, found.version)
