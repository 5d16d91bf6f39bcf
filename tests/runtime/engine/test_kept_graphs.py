"""The optimised graph that is kept: made once, whole or not at all, and never what was not made here."""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from signs_runtime import BundleFormatError, BundleTamperedError, Classifier
from signs_runtime.engine.kept_graphs import Model, engines_of, start
from signs_runtime.engine.session import Setting

from ..colours import LABELS, SIZE, plain
from ..tiny_onnx import colour_classifier


def graphs(cache: Path) -> list[Path]:
    return sorted((cache / "graphs").iterdir())


def test_the_second_start_uses_the_graph_that_the_first_made_and_answers_bit_for_bit(bundle: Path, cache: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *SIZE, 3), np.uint8)
    without = Classifier(bundle, cache=False).probabilities(images)
    assert not cache.exists()
    first = Classifier(bundle).probabilities(images)
    (graph,) = graphs(cache)
    made = (graph / "graph.onnx").stat().st_mtime_ns
    second = Classifier(bundle / "fp32.onnx").probabilities(images)
    assert (graph / "graph.onnx").stat().st_mtime_ns == made
    assert graphs(cache) == [graph]
    assert np.array_equal(without, first)
    assert np.array_equal(first, second)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: flip(graph / "graph.onnx"),
        lambda graph: (graph / "graph.onnx").unlink(),
        lambda graph: (graph / "digests.json").write_text("{}"),
        lambda graph: (graph / "digests.json").write_text("[" * 10_000),
        lambda graph: (graph / "digests.json").unlink(),
    ],
)
def test_a_damaged_graph_is_made_again(bundle: Path, cache: Path, damage: Callable[[Path], None]) -> None:
    Classifier(bundle)
    (graph,) = graphs(cache)
    whole = (graph / "graph.onnx").read_bytes()
    damage(graph)
    assert Classifier(bundle).predict(plain("blue")).label == "blue"
    assert (graph / "graph.onnx").read_bytes() == whole


def test_a_bundle_is_held_to_its_digest_before_a_graph_is_made(bundle: Path, cache: Path) -> None:
    flip(bundle / "fp32.onnx")
    with pytest.raises(BundleTamperedError):
        Classifier(bundle)
    assert graphs(cache) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners of folders")
def test_a_folder_that_others_can_write_to_is_not_used(bundle: Path, cache: Path) -> None:
    Classifier(bundle)
    (graph,) = graphs(cache)
    shutil.rmtree(graph)
    cache.chmod(0o777)
    assert Classifier(bundle).predict(plain("red")).label == "red"
    assert graphs(cache) == []


def test_where_nothing_can_be_kept_a_start_works_all_the_same(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Classifier(bundle).predict(plain("green")).label == "green"


def test_only_the_graphs_used_last_are_kept(tmp_path: Path, cache: Path) -> None:
    made: list[Path] = []
    for i in range(10):
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.1 + i / 100))
        if i == 9:
            Classifier(tmp_path / "0.onnx")  # used again, and so kept
        Classifier(path)
        made += [graph for graph in graphs(cache) if graph not in made]
        os.utime(made[-1], (10**9 + i, 10**9 + i))
    assert set(graphs(cache)) == {made[0], *made[3:]}


def test_a_file_that_is_replaced_while_it_is_opened_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(colour_classifier(LABELS, SIZE))
    model = Model.of_file(path)
    path.write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.2))
    for cached in (True, False):
        with pytest.raises(BundleTamperedError, match="was replaced while it was being opened"):
            start(model, Setting("cpu", 1, False), cached=cached)
    assert not list((cache / "graphs").iterdir())


def test_a_stream_never_runs_what_came_in_the_models_place(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(colour_classifier(LABELS, SIZE))
    classifier = Classifier(path, threads=2, cache=False)
    path.write_bytes(colour_classifier(tuple(reversed(LABELS)), SIZE))
    outcomes = classifier.stream([plain("red")] * 50)
    with pytest.raises(BundleTamperedError):
        assert {outcome.prediction.label for outcome in outcomes} == {"red"}


def test_a_file_larger_than_a_model_can_be_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"")
    os.truncate(path, 10**10)
    with pytest.raises(BundleFormatError, match="10,000,000,000 bytes"):
        Classifier(path)


def test_a_model_file_may_be_linked_to(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(colour_classifier(LABELS, SIZE))
    (tmp_path / "b.onnx").symlink_to(tmp_path / "a.onnx")
    assert Classifier(tmp_path / "b.onnx").predict(plain("red")).label == "red"


def test_what_a_killed_process_left_is_removed_after_a_while(bundle: Path, cache: Path) -> None:
    (cache / "graphs").mkdir(parents=True, mode=0o700)
    cache.chmod(0o700)
    for name, age in (("left", 10_000), ("being made", 0)):
        (cache / "graphs" / f".{name}").mkdir()
        at = time.time() - age
        os.utime(cache / "graphs" / f".{name}", (at, at))
    Classifier(bundle)
    assert {path.name for path in graphs(cache) if path.name.startswith(".")} == {".being made"}


def test_processes_that_start_at_once_make_one_whole_graph(bundle: Path, cache: Path) -> None:
    code = (
        "import sys, numpy; from signs_runtime import Classifier\n"
        "image = numpy.full((8, 6, 3), (10, 10, 250), 'uint8')\n"
        "print(Classifier(sys.argv[1]).predict(image).label)"
    )
    command = [sys.executable, "-c", code, str(bundle)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["blue\n"] * 4
    assert len(graphs(cache)) == 1


def test_tensorrt_has_a_folder_of_its_own_for_each_model_and_other_devices_none(bundle: Path, cache: Path) -> None:
    """TensorRT itself runs where there is a GPU; here is only where its engines would be kept."""
    tensorrt, model = Setting("tensorrt", 1, spin=True), Model.of_file(bundle / "fp32.onnx")
    folder = engines_of(model, tensorrt)
    assert folder is not None
    assert folder.parent == cache / "engines"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "kept.engine").write_text("")
    assert engines_of(model, tensorrt) == folder
    assert (folder / "kept.engine").exists()
    assert engines_of(replace(model, sha256="0" * 64), tensorrt) != folder
    assert engines_of(model, Setting("cpu", 1, spin=True)) is None
