"""One run of a fuzzer on one door, in a process of its own: it may die, and then its board says of what.

`python -m tests.fuzz.worker DOOR BOARD CORPUS SECONDS SEED`; the board is a file that outlives the process.
"""

import random
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["signs_runtime", "PIL", "zipfile", "json"]):
    from .board import INPUT_ROOM, Board
    from .doors import DOORS, MAX_MEMORY, MAX_SECONDS, BrokenWordError, Door, peak_memory


def fuzz(door: Door, board: Board, corpus: Path, seconds: int, seed: int) -> None:
    seeds = list(door.seeds().values())
    for i, content in enumerate(seeds):
        (corpus / f"seed{i}").write_bytes(content)

    def test_one(data: bytes) -> None:
        data = data[:INPUT_ROOM]
        board.begin(data)
        start = time.process_time()
        door.judge(data)
        took = time.process_time() - start
        board.end(data, took)
        if took > MAX_SECONDS:
            raise BrokenWordError(f"{took:.1f} s of CPU")
        if peak_memory() > MAX_MEMORY:
            raise BrokenWordError(f"{peak_memory():,} bytes of RSS")

    def mutate(data: bytes, longest: int, number: int) -> bytes:
        rng = random.Random(number)
        if len(data) < 2:
            data = rng.choice(seeds)
        changed = door.mutate(data, rng, rng.choice(seeds), lambda part: atheris.Mutate(part, len(part) + 16))
        return changed if len(changed) <= longest else changed[:longest]

    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={door.longest}",
            f"-seed={seed}",
            "-timeout=20",
            "-rss_limit_mb=4096",  # ours is lower, and knows the case
            f"-artifact_prefix={corpus.parent}/",
            "-print_final_stats=1",
            "-len_control=0",
        ],
        test_one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    name, board_path, corpus_path, limit, start_seed = sys.argv[1:]
    fuzz(DOORS[name], Board(Path(board_path)), Path(corpus_path), int(limit), int(start_seed))
