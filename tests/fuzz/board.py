"""What a fuzzer's process leaves behind: a mapped file with its numbers and the input that it was at."""

import mmap
import struct
import time
from pathlib import Path

from .doors import peak_memory

INPUT_ROOM = 65_536
_NUMBERS = struct.Struct("<QdQdQ")  # cases, CPU seconds, peak bytes, the slowest case's seconds, length of the input
BOARD_BYTES = _NUMBERS.size + 2 * INPUT_ROOM


class Board:
    """Numbers and the input at work, in a mapped file that the parent reads when the process is gone."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), BOARD_BYTES)
        self.cases, self.slowest = 0, 0.0

    def begin(self, data: bytes) -> None:
        at = _NUMBERS.size
        self.map[at : at + len(data)] = data
        self.write(len(data))

    def end(self, data: bytes, seconds: float) -> None:
        self.cases += 1
        if seconds > self.slowest:
            self.slowest = seconds
            at = _NUMBERS.size + INPUT_ROOM
            self.map[at : at + 4 + len(data)] = struct.pack("<I", len(data)) + data
        self.write(len(data))

    def write(self, length: int) -> None:
        _NUMBERS.pack_into(self.map, 0, self.cases, time.process_time(), peak_memory(), self.slowest, length)


class Numbers:
    """What a board says."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        self.cases, self.seconds, self.peak, self.slowest, length = _NUMBERS.unpack_from(content)
        at = _NUMBERS.size
        self.input = content[at : at + length]
        at += INPUT_ROOM
        (length,) = struct.unpack_from("<I", content, at)
        self.slowest_input = content[at + 4 : at + 4 + length]
