"""Makes a bundle's variants from the float32 graph, proves each against Keras, and times them side by side."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_export.bundle_files import write_file
from signs_export.config import INT8_GEMM, VARIANTS, VariantName
from signs_export.float16 import beyond_float16, to_float16
from signs_export.gate.compare import compare, verdict_at_once
from signs_export.gate.evidence import Evidence
from signs_export.gate.verdict import Verdict
from signs_export.int8.calibration import Calibration
from signs_export.int8.float_layers import Trial
from signs_export.int8.products import as_products
from signs_export.int8.variant import Int8, NotWorthwhileError, make_int8
from signs_export.job import Job
from signs_export.onnx_graph import check_runnable
from signs_runtime import Classifier
from signs_runtime.bundle.manifest import FileRecord, Speed
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.timing import Candidate, Timed, time_side_by_side

FP32: VariantName = "fp32"
WORTHWHILE = 1.1  # times float32's speed; a slower variant is sealed for its size only
WORTH_ROUNDS = 7  # of timing at least, when the speed decides whether int8 is sealed
SMALLER = 0.75  # of float32's bytes; an int8 variant that is larger than this and not faster is left out
LOOKED_AT = 8  # pictures, those that differ most, that are searched for numbers too large for float16
# An int8 variant with more than SMALL of float32's bytes must have at least SLOWER times its speed.
SMALL, SLOWER = 0.5, 0.9


@dataclass(frozen=True)
class Price:
    """The cost of layers in float: the size of int8 without any, and its measured speed relative to float32."""

    bytes: int
    speedup: float


@dataclass(frozen=True)
class Made:
    """A variant's file and its measurements; `speed` only if there is another variant to compare with."""

    name: str
    file: FileRecord
    verdict: Verdict
    speed: Speed | None = None
    peak_memory: int | None = None  # bytes, of a process that labels one picture at a time
    int8: Int8 | None = None
    in_float: tuple[str, ...] = ()  # layers of an int8 model
    price: Price | None = None  # only if layers stayed in float


@dataclass(frozen=True)
class LeftOut:
    """A variant that was requested but left out, and the reason."""

    name: str
    why: str


@dataclass(frozen=True)
class Variants:
    """The variants that were made, in the order of FILES, and those left out."""

    made: tuple[Made, ...]
    left_out: tuple[LeftOut, ...] = ()


def make_variants(
    model: onnx.ModelProto, evidence: Evidence, calibration: Calibration | None, job: Job, folder: Path
) -> Variants:
    """Write float32 and the other requested variants to `folder`, up to the first that fails the gate.

    int8 is written in two layouts if it has large layers on few pixels; `calibration` is for it. Speed and memory are
    measured if all variants passed.
    """
    made: list[Made] = []
    left_out: list[LeftOut] = []
    for name in (variant for variant in VARIANTS if variant == FP32 or variant in job.config.variants):
        int8 = None
        changed = model
        if name == "int8":
            assert calibration is not None  # seal_model chooses one for int8
            try:
                int8 = _make_int8(model, folder / made[0].file.path, evidence, calibration, job)
            except NotWorthwhileError as error:
                left_out.append(LeftOut(name, str(error)))
                continue
            changed = int8.model
        elif name == "fp16":
            changed = to_float16(model)
        written = _written(name, changed, evidence, job, folder)
        if name == "fp16" and (why := _why_no_float16(written.verdict, model)):
            (folder / written.file.path).unlink()
            left_out.append(LeftOut(name, why))
            continue
        in_float = () if int8 is None else int8.in_float
        made.append(replace(written, int8=int8, in_float=in_float))
        if int8 is not None and written.verdict.passed and (products := as_products(int8.model)) is not None:
            made.append(replace(_written(INT8_GEMM, products, evidence, job, folder), in_float=in_float))
        if not made[-1].verdict.passed:
            return Variants(tuple(made), tuple(left_out))
    return Variants(tuple(_timed(made, folder, job)), tuple(left_out))


def _why_no_float16(verdict: Verdict, float32: onnx.ModelProto) -> str:
    """Why float16 cannot represent this model, if its variant failed for that reason; otherwise ""."""
    if verdict.passed:
        return ""
    if large := beyond_float16(float32, verdict.evidence.images[verdict.worst(LOOKED_AT)]):
        return f"float16 holds numbers up to 65,504, but {large}. Normalize that layer, or rescale the model's input"
    if not verdict.hardly_differs:
        return ""
    return (
        f"it gives {int(verdict.flips.sum()):,} of {verdict.pictures:,} pictures another label than Keras. Keras's own "
        f"margin there is at most {float(verdict.flipped_margins.max()):.1e} of a probability, but float16 loses up to "
        f"{verdict.max_difference:.1e}. Train the model until it tells its labels apart more clearly"
    )


def _written(name: str, model: onnx.ModelProto, evidence: Evidence, job: Job, folder: Path) -> Made:
    content = model.SerializeToString(deterministic=True)
    check_runnable(content)
    file = write_file(folder / f"{name}.onnx", content)
    path = folder / file.path
    classifier = Classifier(path, device="cpu", cache=False)
    return Made(name, file, compare(classifier, path, name, evidence, job.config, progress=job.progress))


def _make_int8(model: onnx.ModelProto, float32: Path, evidence: Evidence, calibration: Calibration, job: Job) -> Int8:
    """Make the int8 variant; `float32` is the file to compare its size and speed with. Raises NotWorthwhileError."""
    budget = job.config.budget("int8", evidence.floor.tolerance)

    def passes(given: NDArray[np.float32]) -> bool:
        return verdict_at_once("int8", evidence, given, "int8", budget).passed

    flips = len(evidence.expected)
    if not evidence.thresholds:  # multi-label agreement is judged by label, so those trials run to the end
        flips -= math.ceil(budget.agreement * len(evidence.expected) - 1e-9)
    trial = Trial(evidence.images, evidence.expected, passes, flips, evidence.thresholds)

    def check_worth(candidate: onnx.ModelProto) -> None:
        _check_worth(candidate, float32, job)

    return make_int8(model, calibration, trial, check_worth, job.config.int8, progress=job.progress)


def _check_worth(candidate: onnx.ModelProto, float32: Path, job: Job) -> None:
    """Raise NotWorthwhileError if the gain in size or speed over float32 is too small; see the constants above."""
    size = candidate.ByteSize() / float32.stat().st_size
    if size <= SMALL:
        return
    content = candidate.SerializeToString()
    check_runnable(content)
    with tempfile.TemporaryDirectory() as beside:
        file = Path(beside, "int8.onnx")
        file.write_bytes(content)
        taken = _time_files({FP32: float32, "int8": file}, job, max(job.config.speed_rounds, WORTH_ROUNDS))
    speed = taken[FP32].milliseconds / taken["int8"].milliseconds
    if speed < (SLOWER if size <= SMALLER else WORTHWHILE):
        raise NotWorthwhileError(
            f"int8 would have {size:.0%} of fp32's bytes and {speed:.2f} times its speed. It must have at most "
            f"{SMALL:.0%} of the bytes, or at most {SMALLER:.0%} of the bytes and {SLOWER} times the speed, or "
            f"{WORTHWHILE} times the speed"
        )


def _time_files(files: Mapping[str, Path], job: Job, rounds: int) -> dict[str, Timed]:
    threads = find_limits().threads
    candidates = {name: Candidate(str(path), threads=threads, cache=False) for name, path in files.items()}
    with job.progress("Timing side by side", len(files) * rounds) as on_done:
        return time_side_by_side(candidates, rounds=rounds, on_done=on_done)


def _timed(made: Sequence[Made], folder: Path, job: Job) -> Iterator[Made]:
    files: dict[str, Path] = {each.name: folder / each.file.path for each in made}
    with tempfile.TemporaryDirectory() as beside:
        for each in made:
            if each.int8 is not None and each.in_float:
                files["everywhere"] = Path(beside, "everywhere.onnx")
                files["everywhere"].write_bytes(each.int8.everywhere.SerializeToString())
        taken = _time_files(files, job, job.config.speed_rounds)
        speedup = {name: taken[FP32].milliseconds / timed.milliseconds for name, timed in taken.items()}
        for each in made:
            slow = each.name != FP32 and speedup[each.name] < WORTHWHILE
            price = None
            if each.name == "int8" and "everywhere" in files:
                price = Price(files["everywhere"].stat().st_size, speedup["everywhere"])
            speed = Speed(speedup[each.name], find_limits().threads, slow) if len(made) > 1 else None
            yield replace(each, speed=speed, peak_memory=taken[each.name].peak_memory, price=price)
