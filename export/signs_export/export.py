"""A Keras model in, a sealed and proved bundle out: convert, make variants, choose golden pictures, seal."""

import io
import platform
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.dataset import Dataset
from signs_builder.disk import check_room
from signs_builder.model_file import weights_bytes, weights_sha256
from signs_builder.progress import Progress, no_progress
from signs_export.calibration import choose_calibration
from signs_export.config import ExportConfig
from signs_export.convert import convert
from signs_export.errors import ExportError, ParityError
from signs_export.evidence import Evidence, collected
from signs_export.junit import write_junit
from signs_export.page import model_card, report_page
from signs_export.probes import make_probes
from signs_export.reference import Reference
from signs_export.report import Document, describe, dump_report, shown
from signs_export.seal import (
    GOLDEN,
    JUNIT,
    MODEL_CARD,
    REPORT,
    REPORT_DATA,
    check_destination,
    failed_folder,
    sealed_folder,
)
from signs_export.variants import Made, make_variants, write_file
from signs_runtime import verify
from signs_runtime.bundle import MANIFEST, Bundle, open_bundle
from signs_runtime.golden import GoldenPictures, dump_golden
from signs_runtime.image import read_image
from signs_runtime.manifest import (
    SCHEMA,
    Accuracy,
    FileRecord,
    Golden,
    Manifest,
    Provenance,
    Run,
    Variant,
    dump_manifest,
)

GOLDEN_SLACK = 1e-3  # of a probability, between CPUs, beyond what int8 and float16 differ from Keras here
VERSIONS_OF = ("signs-edge", "keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow")


@dataclass(frozen=True)
class Export:
    """A bundle in its place, what proved it, and what Keras itself gets right on the test pictures."""

    bundle: Bundle
    made: tuple[Made, ...]
    keras_accuracy: Accuracy


def export_bundle(
    reference: Reference,
    dataset: Dataset,
    destination: Path,
    config: ExportConfig,
    *,
    training: Document | None = None,
    progress: Progress = no_progress,
    warn: Callable[[str], object] = warnings.warn,
) -> Export:
    """Convert a Keras model, prove it against Keras and seal it.

    `training` is what `Run.as_json` says of the model's own, for the report; `warn` is told what is doubtful about the
    data. Raises ExportError, and ParityError with the bundle kept aside where the gate fails; whatever was at
    `destination` is then as it was.
    """
    check_destination(destination, needed_bytes(reference))
    check_room(Path(tempfile.gettempdir()), weights_bytes(reference.model))  # onnxruntime folds from file to file
    with progress("Converting with tf2onnx", 0):
        model = convert(reference, dataset.labels, config)
    return seal_model(model, reference, dataset, destination, config, training=training, progress=progress, warn=warn)


def needed_bytes(reference: Reference) -> int:
    """Disk room for an export: the weights of the folded graph and of the bundle, and room for int8 and float16."""
    return 4 * weights_bytes(reference.model) + 2**24


def seal_model(
    model: onnx.ModelProto,
    reference: Reference,
    dataset: Dataset,
    destination: Path,
    config: ExportConfig,
    *,
    training: Document | None = None,
    progress: Progress = no_progress,
    warn: Callable[[str], object] = warnings.warn,
) -> Export:
    """Prove a converted model against its reference, and seal it; see `export_bundle`."""
    calibration = None
    if "int8" in config.variants:
        calibration = choose_calibration(dataset, reference.input, config.int8.calibration_pictures)
        for doubt in calibration.warnings:
            warn(doubt)
    with sealed_folder(destination) as work, collected(reference, dataset, config, progress=progress) as evidence:
        made = make_variants(model, evidence, calibration, config, work, progress=progress)
        failed = next((each.report for each in made if not each.report.passed), None)
        golden = np.empty(0, np.int64) if failed else _golden_pictures(made, evidence, config)
        provenance = provenance_of(reference, dataset, config)
        document = describe(
            destination.name,
            model,
            reference,
            dataset,
            evidence,
            made,
            provenance,
            command=config.command,
            golden_pictures=len(golden),
            training=training,
            warnings=() if calibration is None else calibration.warnings,
        )
        documents = _write_documents(work, document, evidence, made)
        if failed is not None:
            # No manifest: what failed must not open as a bundle.
            kept = f"The bundle at {destination} is as it was. " if destination.exists() else ""
            aside = failed_folder(destination)
            raise ParityError(failed, f"{kept}The failed model is in {aside}, with a {REPORT} about it.")
        manifest = Manifest(
            schema=SCHEMA,
            labels=dataset.labels,
            input=reference.input,
            variants=tuple(_variant(each, golden) for each in made),
            golden=_write_golden(work / GOLDEN, evidence, golden),
            provenance=provenance,
            run=_run(made, documents, config),
        )
        (work / MANIFEST).write_text(dump_manifest(manifest), encoding="utf-8")
        verification = verify(work)
        if not verification.passed:
            raise ExportError(
                f"Parity passed, and the bundle fails its own proof: this is a bug, report it.\n{verification.failures}"
            )
    return Export(open_bundle(destination), tuple(made), evidence.accuracy(evidence.expected))


def _write_documents(work: Path, document: Document, evidence: Evidence, made: list[Made]) -> tuple[FileRecord, ...]:
    """The report, for people, for machines and for CI systems, and a card for a model that passed."""
    contents = {
        REPORT: report_page(document, evidence.images, {each.name: each.report.stages for each in made}),
        REPORT_DATA: dump_report(document),
    }
    if document["passed"]:
        contents[MODEL_CARD] = model_card(document)
    junit = work / JUNIT
    write_junit([each.report for each in made], junit)
    records = [write_file(work / name, content.encode()) for name, content in contents.items()]
    return (*records, write_file(junit, junit.read_bytes()))


def _variant(made: Made, golden: NDArray[np.int64]) -> Variant:
    """What the manifest says of a variant."""
    report = made.report
    tolerance = report.budget.max_difference
    if tolerance is None:
        tolerance = float(report.differences[golden].max()) + GOLDEN_SLACK
    return Variant(
        name=made.name,
        file=made.file,
        precision=report.precision,
        tolerance=tolerance,
        budget=report.budget,
        parity=report.summary,
        test_accuracy=report.accuracy,
        test_pairs=report.paired,
        in_float=() if made.int8 is None else made.int8.in_float,
    )


def _golden_pictures(made: list[Made], evidence: Evidence, config: ExportConfig) -> NDArray[np.int64]:
    """The places of the golden pictures: such as every variant labels as Keras does."""
    same = np.flatnonzero(~np.any([each.report.flipped for each in made], axis=0))
    if not len(same):
        raise ExportError("There is no picture that every variant labels as Keras does; give more pictures.")
    return same[choose_golden(evidence.expected[same], config.golden_pictures)]


def _write_golden(path: Path, evidence: Evidence, chosen: NDArray[np.int64]) -> Golden:
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


def _run(made: list[Made], documents: tuple[FileRecord, ...], config: ExportConfig) -> Run:
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shown(config.command),
        speeds={each.name: each.speed for each in made if each.speed is not None},
        peak_memory={each.name: each.peak_memory for each in made if each.peak_memory is not None},
        documents=documents,
    )


def provenance_of(reference: Reference, dataset: Dataset, config: ExportConfig) -> Provenance:
    """Where an export of this model, proved on this data, comes from."""
    return Provenance(
        data=shown(dataset.name),
        data_sha256=dataset.sha256(),
        pictures=dataset.counts,
        model_sha256=weights_sha256(reference.model),
        scaling=reference.scaling,
        seed=config.seed,
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS_OF}},
    )
