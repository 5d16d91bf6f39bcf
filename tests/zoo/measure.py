"""What the gate says of one classifier of the zoo: every variant, what comes closest to a refusal, where time goes."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signs_export.config import INT8_GEMM, VARIANTS, ExportConfig, VariantName
from signs_export.errors import ExportError
from signs_export.export import export_bundle
from signs_export.gate.verdict import ParityError, Verdict
from signs_export.job import Job
from signs_export.variants import Made
from signs_runtime.placement.timing import Candidate, time_side_by_side

from .catalogue import Animal

ROUNDS = 7  # of timing on one thread
PICTURES = {"families": 200}  # of the classifier's data, that its proofs are on
_PICTURES = 500  # where it is small


@dataclass
class Steps:
    """A Progress that counts the seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str, total: int) -> Iterator[Callable[[int], None]]:
        start = time.perf_counter()
        try:
            yield lambda done: None
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0) + time.perf_counter() - start, 1)


def measure(animal: Animal, seed: int, models: Path) -> dict[str, Any]:  # Any: JSON
    """Export a classifier in every variant, and give what came out; a refusal is a part of it."""
    record: dict[str, Any] = {"name": animal.name, "group": animal.group, "seed": seed}
    try:
        reference, dataset = animal.load(seed, models)
    except Exception as error:  # what other people's files make Keras raise
        return {**record, "not_opened": f"{type(error).__name__}: {error}"}
    steps = Steps()
    wanted: tuple[VariantName, ...] = VARIANTS
    refused: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    start = time.perf_counter()
    while True:
        pictures = PICTURES.get(animal.group, _PICTURES)
        config = ExportConfig(variants=wanted, parity_pictures=pictures, as_is=True)  # few know much of their pictures
        try:
            with tempfile.TemporaryDirectory() as folder:
                bundle = Path(folder, "bundle")
                made = export_bundle(Job(reference, dataset, config, steps, warnings.append), bundle).made
                seconds = round(time.perf_counter() - start, 1)
                alone = _on_one_thread(made, bundle) if animal.group == "trained" else {}
            break
        except ParityError as error:  # the others without the one that failed
            verdict = error.verdict
            refused[verdict.variant] = _figures(verdict)
            dropped = "int8" if verdict.variant == INT8_GEMM else verdict.variant
            wanted = tuple(name for name in wanted if name != dropped)
            made, alone, seconds = (), {}, round(time.perf_counter() - start, 1)
            if verdict.variant == "fp32":
                break
        except ExportError as error:
            return {**record, "not_exported": str(error), "seconds": steps.seconds}
    return {
        **record,
        "parameters": reference.model.count_params(),
        "variants": refused | {each.name: _of_made(each, made[0]) | alone.get(each.name, {}) for each in made},
        "warnings": sorted(set(warnings)),
        "seconds": steps.seconds,
        "total_seconds": seconds,
    }


def _on_one_thread(made: Sequence[Made], bundle: Path) -> dict[str, dict[str, float]]:
    """Each variant's speed over float32's on one thread, side by side."""
    candidates = {each.name: Candidate(str(bundle / each.file.path), threads=1, cache=False) for each in made}
    taken = time_side_by_side(candidates, rounds=ROUNDS)
    speeds = {name: taken["fp32"].milliseconds / timed.milliseconds for name, timed in taken.items()}
    return {name: {"speed_one_thread": round(speed, 3)} for name, speed in speeds.items()}


def _of_made(made: Made, float32: Made) -> dict[str, Any]:
    figures = _figures(made.verdict)
    if made.speed is not None:
        figures["speed"] = round(made.speed.speedup, 3)
    figures["size"] = round(made.file.bytes / float32.file.bytes, 3)
    if made.int8 is not None:
        figures["in_float"] = len(made.in_float)
        figures["layers"] = len(made.int8.noise)
    return figures


def _figures(verdict: Verdict) -> dict[str, Any]:
    closest, share = max(_shares(verdict), key=lambda each: each[1])
    accuracy = verdict.evidence.accuracy(verdict.expected)
    return {
        "passed": verdict.passed,
        "misses": [f"{check.name}: {check.says}" for check in verdict.misses],
        "closest": closest,
        "share_of_limit": round(min(share, 1e6), 4),
        "stages": len(verdict.stages),
        "agreement": verdict.same_label / verdict.pictures,
        "pictures": verdict.pictures,
        "max_difference": float(min(verdict.max_difference, 1e6)),
        "allowed": verdict.budget.max_difference or verdict.budget.mean_difference,
        "keras_accuracy": round(accuracy.share, 4),
    }


def _shares(verdict: Verdict) -> Iterator[tuple[str, float]]:
    """How much of each limit is used, by the check's name."""
    budget = verdict.budget
    if budget.max_difference is not None:
        yield "max difference", verdict.max_difference / budget.max_difference
    if budget.mean_difference is not None:
        yield "mean difference", verdict.mean_difference / budget.mean_difference
    if budget.agreement < 1:
        yield "agreement", (1 - verdict.same_label / verdict.pictures) / (1 - budget.agreement)
    for stage in verdict.stages:
        if stage.limit:
            yield f"stage {stage.name}", stage.error / stage.limit
