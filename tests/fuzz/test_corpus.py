"""The small corpus, with all that the fuzzers found, goes through the doors; atheris is not needed."""

import time
import warnings

import pytest

from .doors import DOORS, MAX_MEMORY, MAX_SECONDS, peak_memory

CASES = [(door.name, name, content) for door in DOORS.values() for name, content in door.seeds().items()]


@pytest.mark.parametrize(("door", "name", "content"), CASES, ids=[f"{door}-{name}" for door, name, _ in CASES])
def test_what_is_whole_is_read_and_what_is_bad_is_refused_in_time_and_memory(
    door: str, name: str, content: bytes
) -> None:
    before, start = peak_memory(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = DOORS[door].judge(content)
    assert outcome in (("refused",) if name.startswith("bad") else ("read", "run"))
    assert time.process_time() - start < MAX_SECONDS
    assert peak_memory() - before < MAX_MEMORY
