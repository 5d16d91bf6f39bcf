"""Pictures by the dozen, and `signs predict -o` on them, in this process or in one of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from PIL import Image

from signs_runtime.commands.signs import signs

from ..colours import LABELS, plain

COMMAND = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", "predict"]


def draw(folder: Path, count: int) -> Path:
    """`count` plain pictures in two folders, named after their colours and numbers."""
    for i in range(count):
        path = folder / f"{i % 2}" / f"{i:04d}-{LABELS[i % 3]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(plain(LABELS[i % 3], (12, 9))).save(path)
    return folder


def label(*arguments: object) -> Result:
    return CliRunner().invoke(signs, ["predict", *map(str, arguments)])


@contextmanager
def started(*arguments: object) -> "Iterator[subprocess.Popen[str]]":
    """A job in a process of its own, which does not outlive the test."""
    command = [*COMMAND, *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def rows(folder: Path) -> list[dict[str, Any]]:  # Any: a value of any type
    """All rows of a job, file by file."""
    from pyarrow import parquet

    return [row for path in sorted(folder.glob("*.parquet")) for row in parquet.read_table(path).to_pylist()]


def colour_of(name: str) -> str:
    """The colour that a drawn picture's name tells."""
    return Path(name).stem.partition("-")[2]


def summary(result: Result) -> Any:  # Any: JSON
    return json.loads(result.stdout)
