"""Makes numpy multiply matrices on one thread: the order of a sum depends on the number of threads."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# The folders of OpenBLAS in numpy's wheels: on Linux and Windows, and on macOS.
_FOLDERS = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside this context, products of matrices are equal to the bit on any number of CPUs.

    Callers use Python's threads instead. A numpy without its own OpenBLAS (Apple's Accelerate, a distribution's) is not
    changed. Different kinds of CPUs, such as with and without AVX-512, still sum in different orders.
    """
    libraries = [(_function(each, "get_num_threads"), _function(each, "set_num_threads")) for each in _libraries()]
    found = [(get(), set_) for get, set_ in libraries if get is not None and set_ is not None]
    try:
        for _, set_ in found:
            set_(1)
        yield
    finally:
        for before, set_ in found:
            set_(before)


def _libraries() -> list[ctypes.CDLL]:
    home = Path(np.__file__).parent
    return [ctypes.CDLL(str(path)) for folder in _FOLDERS for path in sorted((home / folder).glob("*openblas*"))]


def _function(library: ctypes.CDLL, what: str) -> Any:  # Any: ctypes'
    return next((found for name in _NAMES if (found := getattr(library, name.format(what), None)) is not None), None)
