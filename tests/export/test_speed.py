"""Timing side by side: a number for each model, and an error for one that cannot be timed."""

from pathlib import Path

import onnx
import pytest

from signs_export.errors import ExportError
from signs_export.speed import time_side_by_side


def test_each_model_is_timed_in_each_round(converted: onnx.ModelProto, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.onnx" for name in ("one", "other")}
    for file in files.values():
        onnx.save(converted, file)
    done: list[int] = []
    taken = time_side_by_side(files, threads=1, rounds=2, on_done=done.append)
    assert taken.keys() == files.keys()
    assert min(taken.values()) > 0
    assert sum(done) == 4


def test_a_model_that_cannot_be_timed_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="odd could not be timed"):
        time_side_by_side({"odd": tmp_path / "missing.onnx"}, threads=1)
