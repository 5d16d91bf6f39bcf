"""The report as data: all that was found out about a bundle, as one JSON document that pages are rendered from."""

import json
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.dataset import Dataset
from signs_export.evidence import Evidence
from signs_export.int8 import Int8
from signs_export.parity import ParityReport
from signs_export.reference import Reference
from signs_export.saturation import LARGEST
from signs_export.trace import Stage
from signs_export.variants import FP32, Made, Price
from signs_runtime.cli import finite
from signs_runtime.manifest import Accuracy, Provenance, is_text

FLIPPED = 24  # pictures of a variant that are shown at most
CLOSEST = 6  # pictures that differ most, where none is flipped
MISTAKES = 12  # test pictures that Keras itself labels wrong

Document = dict[str, Any]  # Any: JSON


def describe(
    bundle: str,
    model: onnx.ModelProto,
    reference: Reference,
    dataset: Dataset,
    evidence: Evidence,
    made: Sequence[Made],
    provenance: Provenance,
    *,
    command: str,
    golden_pictures: int,
    training: Document | None,
    warnings: Sequence[str],
) -> Document:
    """Describe the variants of a `bundle` (its folder's name), whether they passed their gate or did not.

    `command` made them; `golden_pictures` are 0 where nothing was sealed; `training` is what `Run.as_json` says, None
    where this project did not train the model. Numbers that are not finite are None, and every text is a line that can
    be shown.
    """
    failed = [each.name for each in made if not each.report.passed]
    return {
        "passed": not failed,
        "failed": failed,
        "date": datetime.now(UTC).date().isoformat(),
        "bundle": shown(bundle),
        "model": _model(model, reference, dataset.labels),
        "data": _data(dataset, provenance),
        "proof": {
            "floor": asdict(evidence.floor) | {"tolerance": evidence.floor.tolerance, "says": evidence.floor.says},
            "pictures": len(evidence.files),
            "test_pictures": int(evidence.is_test.sum()),
            "batch_sizes": made[0].report.batch_sizes,
        },
        "keras": {"test": _test_figures(evidence, evidence.expected), "mistakes": _mistakes(evidence)},
        "variants": [_variant(each) for each in made],
        "training": None if training is None else _training(training),
        "warnings": [shown(warning) for warning in warnings],
        "golden_pictures": golden_pictures,
        "provenance": asdict(provenance),
        "commands": _commands(bundle, provenance, command),
    }


def dump_report(document: Document) -> str:
    """Write the document as strict JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def shown(text: str) -> str:
    """The text with what a terminal cannot show in escapes."""
    return "".join(character if is_text(character) else ascii(character)[1:-1] for character in text)


def _model(model: onnx.ModelProto, reference: Reference, labels: tuple[str, ...]) -> Document:
    """The Keras model and the graph (float32's) that it became."""
    return {
        "name": shown(reference.model.name),
        "parameters": reference.model.count_params(),
        "trainable_parameters": sum(math.prod(weight.shape) for weight in reference.model.trainable_weights),
        "input": asdict(reference.input),
        "scaling": reference.scaling,
        "labels": labels,
        "opset": next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx")),
        "operators": dict(Counter(node.op_type for node in model.graph.node).most_common()),
    }


def _data(dataset: Dataset, provenance: Provenance) -> Document:
    counts = {
        name: np.bincount(split.labels, minlength=len(dataset.labels)).tolist()
        for name, split in dataset.splits.items()
    }
    return {
        "name": provenance.data,
        "sha256": provenance.data_sha256,
        "pictures": dataset.counts,
        "per_label": {label: {split: counts[split][i] for split in counts} for i, label in enumerate(dataset.labels)},
    }


def _variant(made: Made) -> Document:
    report = made.report
    proof = report.as_json()
    for key in ("variant", "test_accuracy", "worst", "flipped"):  # said elsewhere; a bundle is no place for whole paths
        del proof[key]
    flips = report.pictures - report.same_label
    return {
        "name": made.name,
        "precision": report.precision,
        "file": asdict(made.file),
        "speed": None if made.speed is None or made.name == FP32 else asdict(made.speed),
        "peak_memory": made.peak_memory,
        "proof": proof,
        "stages": [_stage(stage) for stage in report.stages],
        "test": _test_figures(report.evidence, report.given),
        "pictures": [_difference(report, i) for i, _ in report.worst(min(flips, FLIPPED) or CLOSEST)],
        "int8": None if made.int8 is None else _int8(made.int8, made.price),
    }


def _stage(stage: Stage) -> Document:
    return {
        "name": shown(stage.name),
        "passed": stage.passed,
        "error": finite(stage.error),
        "limit": stage.limit,
        "says": stage.says,
    }


def _test_figures(evidence: Evidence, probabilities: NDArray[np.float32]) -> Document:
    """What these probabilities (n, labels) label right, per label, and what they take for what.

    The confusion lists the pairs that occur: with many labels nearly all do not.
    """
    said = probabilities.argmax(axis=1)[evidence.is_test]
    truth = evidence.truth[evidence.is_test]
    pairs = Counter(zip(truth.tolist(), said.tolist(), strict=True))
    totals = Counter(truth.tolist())
    return {
        **evidence.accuracy(probabilities).as_json(),
        "per_label": {
            evidence.labels[i]: Accuracy(pairs[i, i], total).as_json() for i, total in sorted(totals.items())
        },
        "confusion": [
            {"shows": evidence.labels[shows], "said": evidence.labels[given], "pictures": count}
            for (shows, given), count in sorted(pairs.items())
        ],
    }


def _mistakes(evidence: Evidence) -> list[Document]:
    """The test pictures that Keras labels wrong, the surest first."""
    wrong = np.flatnonzero(evidence.is_test & (evidence.expected.argmax(axis=1) != evidence.truth))
    surest = wrong[np.argsort(-evidence.expected[wrong].max(axis=1), kind="stable")]
    return [_picture(evidence, i) for i in surest[:MISTAKES].tolist()]


def _difference(report: ParityReport, i: int) -> Document:
    return {
        **_picture(report.evidence, i),
        "variant": _answer(report.evidence, report.given[i]),
        "difference": finite(float(report.differences[i])),
        "flipped": bool(report.flipped[i]),
    }


def _picture(evidence: Evidence, i: int) -> Document:
    """What picture `i` shows and what Keras says of it; `place` is its own among the pictures of the proof."""
    file: Path = evidence.files[i]
    top = np.sort(evidence.expected[i])
    return {
        "place": i,
        "file": shown(f"{file.parent.name}/{file.name}"),
        "shows": evidence.labels[evidence.truth[i]],
        "keras": _answer(evidence, evidence.expected[i]),
        "keras_margin": finite(float(top[-1] - top[-2])),
    }


def _answer(evidence: Evidence, probabilities: NDArray[np.float32]) -> Document:
    index = int(probabilities.argmax())
    return {"label": evidence.labels[index], "probability": finite(float(probabilities[index]))}


def _int8(int8: Int8, price: Price | None) -> Document:
    """The layers, those first that bring most noise into the answers."""
    ranked = sorted(int8.noise.items(), key=lambda item: -item[1])
    return {
        "in_float": [shown(layer) for layer in int8.in_float],
        "all_in_int8": None if price is None else asdict(price),
        "layers": [
            {
                "layer": shown(layer),
                "noise": finite(noise),
                "signal_to_noise_db": finite(-10 * math.log10(noise)) if noise else None,
                "in_float": layer in int8.in_float,
            }
            for layer, noise in ranked
        ],
        "largest_16_bit_sum": LARGEST,
        "pair_sums": [
            {
                "layer": shown(each.layer),
                "bound": each.bound,
                "measured": each.measured,
                "at_risk": each.at_risk,
                "saturates": each.saturates,
            }
            for each in int8.saturation
        ],
    }


def _training(training: Document) -> Document:
    """What `Run.as_json` says, less what grows with the square of the labels and what the proof measures again."""
    test = {key: training["test"][key] for key in ("loss", "correct", "total", "accuracy", "interval_95")}
    return {**training, "test": {**test, "shift_suite": training["test"]["shift_suite"]}}


def _commands(bundle: str, provenance: Provenance, command: str) -> Document:
    """How to check the bundle, and to make it again."""
    folder = shlex.quote(shown(bundle))
    scaling = "" if provenance.scaling == "none" else f" --scaling {provenance.scaling}"
    return {
        "verify": f"signs verify {folder}",
        "parity": f"signs parity MODEL.keras {folder} --data PICTURES{scaling}",
        "export": shown(command),
    }
