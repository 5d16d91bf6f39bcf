"""Makes the variants of a bundle from the float32 graph, proves each beside Keras, and times them side by side."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.bundle_files import write_file
from signs_export.config import VARIANTS, VariantName
from signs_export.float16 import to_float16
from signs_export.gate.compare import compare, verdict_at_once
from signs_export.gate.evidence import Evidence
from signs_export.gate.verdict import Verdict
from signs_export.int8.calibration import Calibration
from signs_export.int8.variant import Int8, make_int8
from signs_export.job import Job
from signs_export.onnx_graph import check_runnable
from signs_runtime import Classifier
from signs_runtime.bundle.manifest import FileRecord, Speed
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.timing import Candidate, time_side_by_side

FP32: VariantName = "fp32"
WORTHWHILE = 1.1  # times float32's speed; a variant that is slower is carried for its size only


@dataclass(frozen=True)
class Price:
    """What int8 would be with no layer in float: its size and, measured beside it, its speed over float32's."""

    bytes: int
    speedup: float


@dataclass(frozen=True)
class Made:
    """A variant's file and what was measured on it; `speed` where there is another to compare it with."""

    name: str
    file: FileRecord
    verdict: Verdict
    speed: Speed | None = None
    peak_memory: int | None = None  # bytes, of a process that labels one picture at a time
    int8: Int8 | None = None
    price: Price | None = None  # where layers stayed in float


def make_variants(
    model: onnx.ModelProto, evidence: Evidence, calibration: Calibration | None, job: Job, folder: Path
) -> list[Made]:
    """Write float32 and the other variants asked for to `folder`, in the order of VARIANTS, up to the first that fails.

    `calibration` is for int8. Speeds and memory are measured where all have passed.
    """
    made: list[Made] = []
    for name in (variant for variant in VARIANTS if variant == FP32 or variant in job.config.variants):
        made.append(_make(name, model, evidence, calibration, job, folder))
        if not made[-1].verdict.passed:
            return made
    return list(_timed(made, folder, job))


def _make(
    name: VariantName,
    model: onnx.ModelProto,
    evidence: Evidence,
    calibration: Calibration | None,
    job: Job,
    folder: Path,
) -> Made:
    int8 = None
    if name == "int8":
        assert calibration is not None  # seal_model chooses one for int8
        budget = job.config.budget("int8", evidence.floor.tolerance)

        def passes(given: NDArray[np.float32]) -> bool:
            return verdict_at_once(name, evidence, given, "int8", budget).passed

        int8 = make_int8(model, calibration, evidence.images, passes, job.config.int8, progress=job.progress)
        model = int8.model
    elif name == "fp16":
        model = to_float16(model)
    content = model.SerializeToString(deterministic=True)
    check_runnable(content)
    file = write_file(folder / f"{name}.onnx", content)
    path = folder / file.path
    classifier = Classifier(path, device="cpu", cache=False)
    verdict = compare(classifier, path, name, evidence, job.config, progress=job.progress)
    return Made(name, file, verdict, int8=int8)


def _timed(made: list[Made], folder: Path, job: Job) -> Iterator[Made]:
    files: dict[str, Path] = {each.name: folder / each.file.path for each in made}
    rounds = job.config.speed_rounds
    with tempfile.TemporaryDirectory() as beside:
        for each in made:
            if each.int8 is not None and each.int8.in_float:
                files["everywhere"] = Path(beside, "everywhere.onnx")
                files["everywhere"].write_bytes(each.int8.everywhere.SerializeToString())
        with job.progress("Timing side by side", len(files) * rounds) as on_done:
            threads = find_limits().threads
            candidates = {name: Candidate(str(path), threads=threads, cache=False) for name, path in files.items()}
            taken = time_side_by_side(candidates, rounds=rounds, on_done=on_done)
        speedup = {name: taken[FP32].milliseconds / timed.milliseconds for name, timed in taken.items()}
        for each in made:
            slow = each.name != FP32 and speedup[each.name] < WORTHWHILE
            price = None
            if each.name == "int8" and "everywhere" in files:
                price = Price(files["everywhere"].stat().st_size, speedup["everywhere"])
            speed = Speed(speedup[each.name], threads, slow) if len(made) > 1 else None
            yield replace(each, speed=speed, peak_memory=taken[each.name].peak_memory, price=price)
