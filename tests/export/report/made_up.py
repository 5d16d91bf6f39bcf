"""What the tests of the report make up: a training, and a classifier of many oddly named labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from signs_builder.data.dataset import Dataset, Split
from signs_export.config import ExportConfig
from signs_export.gate.compare import verdict_at_once
from signs_export.gate.evidence import Evidence
from signs_export.int8.saturation import Saturation
from signs_export.int8.variant import Int8
from signs_export.job import Job
from signs_export.report.describe import Findings, describe, describe_made
from signs_export.report.document import Document
from signs_export.source.reference import Reference
from signs_export.variants import Made
from signs_runtime.bundle.manifest import Budget, FileRecord, Provenance, Speed

HOSTILE = "</td><script>alert(1)</script>|`*_[x](http://evil.example)$&amp;"
CONFIG = ExportConfig(command="pytest", golden_pictures=8, variants=("fp32", "int8"), speed_rounds=1)
EPOCH = {"loss": 1.5, "accuracy": 0.5, "seconds": 1.0, "validation_loss": None, "validation_accuracy": None}
TRAINING: dict[str, Any] = {
    "config": {"batch_size": 32, "learning_rate": 0.001, "seed": 1, "patience": None, "augmentation": {"shift": 0.12}},
    "history": [{**EPOCH, "number": number} for number in range(1, 9)],
    "kept_epoch": 8,
    "stopped_early": False,
    "test": {
        "loss": 0.25,
        "correct": 22,
        "total": 24,
        "accuracy": 22 / 24,
        "interval_95": [0.74, 0.98],
        "per_class": {},
        "confusion": [[0]],
        "wrong": [],
        "shift_suite": {
            "mean_accuracy": 0.875,
            "shifts": {
                "dim light": {"correct": 21, "total": 24, "accuracy": 0.875, "interval_95": [0.69, 0.96]},
            },
        },
    },
}


def many_labels(
    converted: onnx.ModelProto, reference: Reference, evidence: Evidence, count: int, *, side: int = 300
) -> tuple[Document, Evidence]:
    """The report on a classifier of `count` oddly named labels that flips 200 of 400 large, noisy pictures."""
    rng = np.random.default_rng(0)
    labels = tuple(f"{HOSTILE} {i}" for i in range(count))
    truth = np.arange(400) % count
    split = Split(np.zeros((count, 4, 4, 3), np.uint8), np.arange(count))
    expected = rng.dirichlet(np.full(count, 0.05), 400).astype(np.float32)
    files = tuple(Path(f"/home/somebody/pictures/{HOSTILE.replace('/', ':')}{i}.png") for i in range(400))
    images = rng.integers(0, 256, (400, side, side, 3), np.uint8)
    made_up = replace(
        evidence,
        labels=labels,
        files=files,
        images=images,
        truth=truth[:, None] == np.arange(count),
        is_test=np.arange(400) < 300,
        expected=expected,
    )
    given = expected.copy()
    given[::2] = np.roll(expected[::2], 1, axis=1)
    layers = {f"{HOSTILE} {i}": 0.1 / (i + 1) for i in range(300)}
    int8 = Int8(converted, converted, layers, [Saturation(layer, 40_000, 39_000) for layer in layers])
    made = [
        Made(
            name,
            FileRecord(f"{name}.onnx", "0" * 64, 10**6),
            verdict_at_once(name, made_up, given, "float32", Budget(0.99, 1e-5, None)),
            Speed(1.0, 2, size_only=True),
            10**8,
            int8 if name == "int8" else None,
        )
        for name in ("fp32", "int8", "fp16")
    ]
    dataset = Dataset(HOSTILE, labels, split, None, split)
    findings = Findings(
        bundle="bundle",
        float32=converted,
        job=Job(reference, dataset, CONFIG),
        evidence=made_up,
        variants=tuple(map(describe_made, made)),
        provenance=Provenance(HOSTILE, "0" * 64, dataset.counts, "0" * 64, "none", None, {"keras": "3"}),
        warnings=(HOSTILE,),
    )
    return describe(findings), made_up
