"""A Keras model in, a sealed and proved bundle out: convert, compare, choose golden pictures, seal."""

import hashlib
import json
import platform
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.dataset import Dataset
from signs_builder.disk import check_room
from signs_builder.model_file import weights_bytes, weights_sha256
from signs_builder.progress import Progress, no_progress
from signs_export.config import ExportConfig
from signs_export.convert import convert
from signs_export.errors import ExportError, ParityError
from signs_export.parity import Evidence, ParityReport, prove
from signs_export.reference import Reference
from signs_export.seal import check_destination, failed_folder, sealed_folder
from signs_runtime import Classifier, verify
from signs_runtime.bundle import MANIFEST, Bundle, open_bundle
from signs_runtime.manifest import (
    SCHEMA,
    Accuracy,
    FileRecord,
    Golden,
    Manifest,
    Provenance,
    Variant,
    dump_manifest,
    is_text,
)

FP32 = "fp32"
VERSIONS_OF = ("signs-edge", "keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


@dataclass(frozen=True)
class Export:
    """A bundle in its place, what proved it, and what Keras itself gets right on the test pictures."""

    bundle: Bundle
    reports: tuple[ParityReport, ...]
    keras_accuracy: Accuracy


def export_bundle(
    reference: Reference,
    dataset: Dataset,
    destination: Path,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> Export:
    """Convert a Keras model, prove it against Keras and seal it.

    Raises ExportError, and ParityError with the bundle kept aside where the gate fails; whatever was at `destination`
    is then as it was.
    """
    check_destination(destination, needed_bytes(reference))
    check_room(Path(tempfile.gettempdir()), weights_bytes(reference.model))  # onnxruntime folds from file to file
    with progress("Converting with tf2onnx", 0):
        model = convert(reference, dataset.labels, config)
    return seal_model(model, reference, dataset, destination, config, progress=progress)


def needed_bytes(reference: Reference) -> int:
    """Disk room for an export: the weights of the folded graph and of the bundle, and half as much to spare."""
    return 3 * weights_bytes(reference.model) + 2**24


def seal_model(
    model: onnx.ModelProto,
    reference: Reference,
    dataset: Dataset,
    destination: Path,
    config: ExportConfig,
    *,
    progress: Progress = no_progress,
) -> Export:
    """Prove a converted model against its reference, and seal it; see `export_bundle`."""
    with sealed_folder(destination) as work:
        file = _write(work / f"{FP32}.onnx", model.SerializeToString(deterministic=True))
        evidence, (report,) = prove({FP32: Classifier(work / file.path)}, reference, dataset, config, progress=progress)
        if not report.passed:
            # No manifest: what failed must not open as a bundle.
            (work / "parity.json").write_text(json.dumps(report.as_json(), indent=2), encoding="utf-8")
            kept = f"The bundle at {destination} is as it was. " if destination.exists() else ""
            raise ParityError(report, f"{kept}The failed model is in {failed_folder(destination)}.")
        accuracy = evidence.accuracy(report.given)
        manifest = Manifest(
            schema=SCHEMA,
            labels=dataset.labels,
            input=reference.input,
            variants=(Variant(FP32, file, "float32", config.tolerance, report.summary, accuracy),),
            golden=_write_golden(work / "golden.npz", evidence, config),
            provenance=_provenance(reference, dataset, config),
        )
        (work / MANIFEST).write_text(dump_manifest(manifest), encoding="utf-8")
        if not all(result.passed for result in verify(work)):
            raise ExportError(
                "The bundle fails its own golden pictures, though parity passed: this is a bug, report it."
            )
    return Export(open_bundle(destination), (report,), evidence.accuracy(evidence.expected))


def _write(path: Path, content: bytes) -> FileRecord:
    path.write_bytes(content)
    return FileRecord(path.name, hashlib.sha256(content).hexdigest(), len(content))


def _write_golden(path: Path, evidence: Evidence, config: ExportConfig) -> Golden:
    chosen = choose_golden(evidence.expected, config.golden_pictures)
    np.savez(path, images=evidence.images[chosen], probabilities=evidence.expected[chosen])
    return Golden(_write(path, path.read_bytes()), len(chosen))


def choose_golden(probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Choose pictures for the device's self-test from Keras's probabilities (n, labels): positions, sorted.

    First the least sure picture of each label, which the smallest error flips; then a spread over all margins.
    """
    top = np.sort(probabilities, axis=1)
    by_margin = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    _, firsts = np.unique(probabilities.argmax(axis=1)[by_margin], return_index=True)
    chosen = dict.fromkeys(by_margin[np.sort(firsts)][:count].tolist())
    others = np.array([i for i in by_margin.tolist() if i not in chosen], np.int64)
    left = min(count - len(chosen), len(others))
    spread = others[np.linspace(0, len(others) - 1, left).round().astype(int)]
    return np.sort(np.concatenate([np.array(list(chosen), np.int64), spread]))


def shown(text: str) -> str:
    """The text with what a terminal cannot show in escapes."""
    return "".join(character if is_text(character) else ascii(character)[1:-1] for character in text)


def _provenance(reference: Reference, dataset: Dataset, config: ExportConfig) -> Provenance:
    return Provenance(
        data=shown(dataset.name),
        data_sha256=dataset.sha256(),
        pictures=dataset.counts,
        model_sha256=weights_sha256(reference.model),
        scaling=reference.scaling,
        seed=config.seed,
        command=shown(config.command),
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
    )
