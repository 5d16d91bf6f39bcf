"""Freed memory is kept while training, and handed back after it."""

import platform
import subprocess
import sys

import pytest

# In a process of its own, and in a thread, as training steps run. Each block is written to, page by page, and freed.
SCRIPT = """
import ctypes, resource, threading
from signs_builder.training.allocator import freed_memory_kept
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
SIZE, TIMES = 2**26, 10

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        block = libc.malloc(SIZE)
        ctypes.memset(block, 1, SIZE)
        libc.free(block)
    counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def in_thread():
    thread = threading.Thread(target=page_faults)
    thread.start()
    thread.join()

counted, empty = [], held()
with freed_memory_kept():
    in_thread()
    kept = held() - empty
in_thread()
print(*counted, kept, held() - empty, SIZE, TIMES, SIZE // resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_a_block_costs_its_pages_once_while_memory_is_kept_and_is_handed_back_after_it() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    inside, outside, kept, left, size, times, pages = map(int, result.stdout.split())
    assert inside < 2 * pages
    assert outside > times * pages / 2
    assert kept >= size
    assert left < size / 2
