"""The gate: compares the runtime's answers to the picture files with Keras's."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.progress import Progress, no_progress
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.gate.checks import (
    PICTURES,
    Check,
    check_batches,
    check_labels,
    check_layers,
    check_pixels,
    check_ranges,
    check_sums,
    check_weights,
    read_differently,
)
from signs_export.gate.evidence import Evidence
from signs_export.gate.trace import Stage, walk_layers
from signs_export.gate.verdict import Verdict
from signs_export.onnx_graph import precision_of
from signs_runtime import AnswerError, Classifier
from signs_runtime.bundle.manifest import Budget, Precision
from signs_runtime.pictures.read import Picture
from signs_runtime.proof.answers import Comparison


def compare(
    classifier: Classifier,
    file: Path,
    variant: str,
    evidence: Evidence,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> Verdict:
    """Label every picture file through the runtime at each batch size, and run all checks of the gate.

    `file` is the .onnx file that the classifier runs. A failed check gives a verdict that has not passed. Raises
    ExportError if the number of labels or the input's size differs, so that nothing can be compared.
    """
    if len(classifier.labels) != len(evidence.labels) or classifier.input.shape != evidence.input.shape:
        raise ExportError(
            f"{variant} has {len(classifier.labels)} labels and takes {classifier.input.shape}, but the Keras model "
            f"and the data have {len(evidence.labels)} labels and {evidence.input.shape}. Pass the Keras model that it "
            "was exported from, and that model's data."
        )
    model = onnx.load(file)
    precision = precision_of(model)
    budget = config.budget(precision, evidence.floor.tolerance, evidence.stages.float16_noise)
    sizes = config.batch_sizes
    with progress(f"Proving {variant}", len(evidence.files) * len(sizes)) as on_done:
        difference = read_differently(classifier, evidence)
        # If all files give the pixels that Keras saw, they are decoded for only one batch size.
        images = list(evidence.input.in_rgb(evidence.images))
        pixels: Sequence[Picture] = evidence.files if difference else images
        asked = {size: _ask(classifier, evidence, pixels, size, on_done) for size in sizes[:-1]}
        asked |= {size: _ask(classifier, evidence, evidence.files, size, on_done) for size in sizes[-1:]}
    answers = {size: given for size, (given, _) in asked.items()}
    with progress(f"Comparing {variant}'s layers", 0):
        layers, other_checks = _look_inside(model, precision, evidence)
    closeness = budget.max_difference if budget.max_difference is not None else budget.mean_difference
    checks = [
        check_labels(classifier, sum(misnamed for _, misnamed in asked.values()), evidence),
        check_pixels(classifier, evidence, difference),
        *other_checks,
        check_weights(model, evidence),
        check_batches(answers, closeness or 0.0),
    ]
    stages = (*(difference[1] if difference else ()), *layers)
    return _verdict(variant, evidence, answers, precision, budget, tuple(checks), stages)


def _look_inside(
    model: onnx.ModelProto, precision: Precision, evidence: Evidence
) -> tuple[tuple[Stage, ...], list[Check]]:
    """The stages of a model's file, and the checks of them and of int8's ranges and sums."""
    stages = walk_layers(evidence.stages, model, precision)
    checks = [check_layers(stages, evidence)]
    if precision == "int8":
        some = evidence.images[:: -(-len(evidence.images) // PICTURES)]
        checks += [check_ranges(model, evidence, some), check_sums(model, some)]
    return stages, checks


def verdict_at_once(
    variant: str, evidence: Evidence, given: NDArray[np.float32], precision: Precision, budget: Budget
) -> Verdict:
    """The verdict on answers (n, labels) to all of the evidence's images in one batch."""
    return _verdict(variant, evidence, {len(given): given}, precision, budget)


def _ask(
    classifier: Classifier,
    evidence: Evidence,
    pictures: Sequence[Picture],
    batch_size: int,
    on_done: Callable[[int], None],
) -> tuple[NDArray[np.float32], int]:
    """The answers (n, labels) to pictures, nan without an answer, and how many predictions have a wrong label."""
    given = np.full_like(evidence.expected, np.nan)
    misnamed = 0
    for start in range(0, len(given), batch_size):
        batch = slice(start, start + batch_size)
        try:
            predictions = classifier.predict_batch(pictures[batch])
        except AnswerError:  # counts as a wrong answer
            predictions = []
        for i, prediction in enumerate(predictions, start):
            given[i] = prediction.probabilities
            meant = evidence.decided(given[i : i + 1])[0] & (given[i].astype(np.float64) >= classifier.threshold)
            misnamed += {*prediction.found} != {classifier.labels[place] for place in np.flatnonzero(meant)}
        on_done(len(given[batch]))
    return given, misnamed


def _verdict(
    variant: str,
    evidence: Evidence,
    answers: dict[int, NDArray[np.float32]],
    precision: Precision,
    budget: Budget,
    checks: tuple[Check, ...] = (),
    stages: tuple[Stage, ...] = (),
) -> Verdict:
    """The verdict on answers (n, labels) by batch size."""
    beside_keras = [Comparison(evidence.expected, given, evidence.thresholds) for given in answers.values()]
    together = np.stack(list(answers.values()))  # (batch sizes, n, labels)
    furthest = np.argmax([each.differences for each in beside_keras], axis=0)  # (n,)
    return Verdict(
        expected=evidence.expected,
        given=together[furthest, np.arange(len(furthest))],
        thresholds=evidence.thresholds,
        variant=variant,
        evidence=evidence,
        flips=np.any([each.flipped for each in beside_keras], axis=0),
        mean_difference=float(np.nan_to_num(np.abs(together - evidence.expected), nan=np.inf).mean(dtype=np.float64)),
        batch_sizes=tuple(answers),
        precision=precision,
        budget=budget,
        other_checks=checks,
        stages=stages,
    )
