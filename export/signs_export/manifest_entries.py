"""Builds the manifest's entries: variants, golden pictures, provenance and the export's run."""

import io
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from signs_export.bundle_files import write_file
from signs_export.config import ExportConfig
from signs_export.errors import ExportError
from signs_export.gate.evidence import Evidence
from signs_export.gate.probes import PROBES, make_probes
from signs_export.job import Job
from signs_export.report.document import shown
from signs_export.variants import Made
from signs_runtime.bundle.golden import GoldenPictures, dump_golden
from signs_runtime.bundle.manifest import MAX_GOLDEN_BYTES, FileRecord, Golden, Provenance, Run, Variant
from signs_runtime.decisions import margins
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image

GOLDEN_SLACK = 1e-3  # of a probability; what CPUs may differ by, on top of the difference from Keras measured here
VERSIONS_OF = ("signs-edge", "keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


def variant_of(made: Made, golden: NDArray[np.int64]) -> Variant:
    """The manifest's entry for a variant; `golden` holds the indices of the golden pictures."""
    verdict = made.verdict
    tolerance = verdict.budget.max_difference
    if tolerance is None:
        tolerance = float(verdict.differences[golden].max()) + GOLDEN_SLACK
    return Variant(
        name=made.name,
        file=made.file,
        precision=verdict.precision,
        tolerance=tolerance,
        budget=verdict.budget,
        parity=verdict.summary,
        test_accuracy=verdict.accuracy,
        test_pairs=verdict.paired,
        in_float=made.in_float,
    )


def golden_places(made: Sequence[Made], evidence: Evidence, config: ExportConfig) -> NDArray[np.int64]:
    """Choose golden pictures, by index, from those that every variant labels as Keras does. Raises ExportError.

    If Keras itself is undecided about a picture, another CPU may give it the other label. Such pictures are taken only
    if there are no others.
    """
    same = np.flatnonzero(~np.any([each.verdict.flipped for each in made], axis=0))
    clear = margins(evidence.expected[same], evidence.thresholds) > 2 * evidence.floor.tolerance
    same = same[clear] if clear.any() else same
    if not len(same):
        raise ExportError(
            "No picture gets the same label from Keras and from every variant. Export with more pictures."
        )
    decided, sure = evidence.decided(evidence.expected[same]), margins(evidence.expected[same], evidence.thresholds)
    return same[choose_golden(decided, sure, golden_count(config, evidence.input, count_decisions(decided)))]


def count_decisions(decided: NDArray[np.bool_]) -> int:
    """The number of different labels, or sets of labels, among the decisions (n, labels)."""
    return len(np.unique(decided, axis=0)) if len(decided) else 0


def golden_count(config: ExportConfig, spec: InputSpec, labels: int) -> int:
    """How many golden pictures to take: one for each label up to `golden_bytes`, and at least `golden_pictures`.

    A device limits the size of the golden file, and with it the number.
    """
    each = prod(spec.shape) + 4 * labels
    wanted = max(config.golden_pictures, min(labels, config.golden_bytes // each))
    room = MAX_GOLDEN_BYTES // 2 - PROBES * prod(spec.shape)  # half: the rest is for the picture files and the labels
    return max(1, min(wanted, room // each))


def choose_golden(decided: NDArray[np.bool_], sure: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Choose pictures for the device's proof, by index, from Keras's decisions (n, labels) and their margins (n,).

    First the least sure picture of each decision, which the smallest error flips. Then others, spread over all margins.
    """
    by_margin = np.argsort(sure, kind="stable")
    _, firsts = np.unique(decided[by_margin], axis=0, return_index=True)
    chosen = dict.fromkeys(by_margin[np.sort(firsts)][:count].tolist())
    others = np.array([i for i in by_margin.tolist() if i not in chosen], np.int64)
    left = min(count - len(chosen), len(others))
    spread = others[np.linspace(0, len(others) - 1, left).round().astype(int)]
    return np.sort(np.concatenate([np.array(list(chosen), np.int64), spread]))


def write_golden(path: Path, evidence: Evidence, chosen: NDArray[np.int64]) -> Golden:
    """Write the golden pictures (`chosen` are indices) and Keras's answers, for the device's proof."""
    images, spec = evidence.images[chosen], evidence.input
    files = tuple(make_probes(images, spec).values())
    golden = GoldenPictures(
        images=images,
        probabilities=evidence.expected[chosen],
        labels=evidence.labels,
        files=files,
        file_images=np.stack([read_image(io.BytesIO(file), spec) for file in files]),
    )
    return Golden(write_file(path, dump_golden(golden)), len(chosen))


def run_of(made: Sequence[Made], documents: tuple[FileRecord, ...], config: ExportConfig) -> Run:
    """The part of the manifest that changes whenever the same weights are exported again."""
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shown(config.command),
        speeds={each.name: each.speed for each in made if each.speed is not None},
        peak_memory={each.name: each.peak_memory for each in made if each.peak_memory is not None},
        documents=documents,
    )


def provenance_of(job: Job) -> Provenance:
    """The model, data and versions that an export comes from."""
    return Provenance(
        data=shown(job.dataset.name),
        data_sha256=job.dataset.sha256(),
        pictures=job.dataset.counts,
        model_sha256=job.reference.weights_sha256,
        scaling=job.reference.scaling,
        seed=job.config.seed,
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
    )
