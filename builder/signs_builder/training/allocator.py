"""Keeps the memory that a training step frees in the process, for the next step."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# The names and numbers of glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_KEEPING = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1}
# The values that glibc reaches by itself when large blocks are freed. The number of arenas cannot be set back.
_USUAL = {_M_MMAP_MAX: 65536, _M_TRIM_THRESHOLD: 2**26, _M_MMAP_THRESHOLD: 2**25}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside this context, glibc returns no freed memory to the system. With other C libraries, it does nothing.

    Without it, a step of ResNet-50 outside the main thread gets its buffers anew from the system, which clears every
    page: 68,000 page faults and a tenth of the step's time (benchmarks/training/epoch_time.py).
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    try:
        _set(libc, _KEEPING)
        yield
    finally:
        _set(libc, _USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        libc.mallopt(parameter, value)
