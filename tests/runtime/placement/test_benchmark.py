"""A benchmark shows every variant on the threads and batches asked for, and whether it answers as Keras did."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.errors import BundleNotFoundError
from signs_runtime.placement.benchmark import BenchmarkConfig, Timing, benchmark, thread_counts
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.profiles import find_profile
from signs_runtime.placement.timing import Ready, Timer, TimingError

from ..commands.test_signs import run

pytestmark = pytest.mark.usefixtures("cache")  # kept graphs of these bundles are no other test's

QUICK = BenchmarkConfig(threads=(1,), batches=(1, 3), rounds=2, seconds=0.02)


def test_each_variant_is_timed_in_every_cell(three_variants: Path) -> None:
    done: list[int] = []
    found = benchmark(three_variants, replace(QUICK, threads=(1, 2)), on_done=done.append)
    assert [each.variant for each in found] == [each.name for each in open_bundle(three_variants).manifest.variants]
    for each in found:
        assert each.passed
        assert each.seconds is not None
        assert 0.05 < each.seconds < 60
        assert [(timing.threads, timing.batch) for timing in each.timings] == [(1, 1), (1, 3), (2, 1), (2, 3)]
        assert all(0 < timing.median <= timing.late for timing in each.timings)
    assert sum(done) == len(found) * 4 * QUICK.rounds
    assert find_profile(open_bundle(three_variants).manifest.digest, find_limits()) is None
    assert list(thread_counts(BenchmarkConfig())) == sorted({1, find_limits().threads})


def test_one_that_answers_otherwise_is_shown_as_such(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its golden answers are those of another model."""
    import hashlib

    from signs_runtime.bundle.golden import dump_golden
    from signs_runtime.bundle.manifest import FileRecord, dump_manifest

    opened = open_bundle(bundle)
    golden = opened.golden()
    content = dump_golden(replace(golden, probabilities=np.roll(golden.probabilities, 1, axis=1)))
    (bundle / "golden.npz").write_bytes(content)
    record = FileRecord("golden.npz", hashlib.sha256(content).hexdigest(), len(content))
    manifest = replace(opened.manifest, golden=replace(opened.manifest.golden, file=record))
    (bundle / "manifest.json").write_text(dump_manifest(manifest))
    (found,) = benchmark(bundle, QUICK)
    assert not found.passed
    assert "0 of" in found.says
    shown = run("benchmark", bundle, "--threads", 1, "--rounds", 1)
    assert "FAILED" in shown.stdout
    assert shown.exit_code == 3


def test_the_command_speaks_to_people_and_to_machines(three_variants: Path) -> None:
    asked = ("--threads", 1, "--batch-size", 2, "--rounds", 1, "--variant", "fp32")
    shown = run("benchmark", three_variants, *asked)
    assert shown.exit_code == 0
    assert "pictures per second" in shown.stdout
    document = json.loads(run("benchmark", three_variants, *asked, "--json").stdout)
    (variant,) = document["variants"]
    assert variant["variant"] == "fp32"
    (timing,) = variant["timings"]
    assert timing.keys() == Timing.__annotations__.keys()
    assert document["machine"]["onnxruntime"]


def test_a_variant_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="int9"):
        benchmark(bundle, replace(QUICK, variants=("int9",)))


def test_a_variant_that_does_not_start_leaves_the_others(three_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Timer.start

    def stops(timer: Timer) -> Ready:
        if timer._candidate.variant == "int8":
            raise TimingError("int8 could not be timed: no memory")
        return start(timer)

    monkeypatch.setattr(Timer, "start", stops)
    found = {
        each.variant: each for each in benchmark(three_variants, replace(QUICK, variants=("fp32", "int8", "fp32")))
    }
    assert list(found) == ["fp32", "int8"]
    assert found["fp32"].passed
    assert (found["int8"].passed, found["int8"].timings) == (False, ())
    assert "no memory" in found["int8"].says
    shown = run("benchmark", three_variants, "--threads", 1, "--rounds", 1)
    assert (shown.exit_code, "no memory" in shown.stdout) == (1, True)  # not 3: no answer was wrong


def test_a_device_that_this_onnxruntime_lacks_is_an_error_and_no_wrong_answer(bundle: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    shown = run("benchmark", bundle, "--device", "cuda")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "needs CUDAExecutionProvider" in shown.stderr
