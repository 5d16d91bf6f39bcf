"""Turns a Keras model into a sealed bundle: converts it, makes variants, proves them and seals the bundle."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.disk import check_room
from signs_builder.network.model_file import weights_bytes
from signs_export.bundle_files import GIT_ATTRIBUTES, GOLDEN, JUNIT, MODEL_CARD, REPORT, REPORT_DATA, write_file
from signs_export.confidence.temperature import Calibrated, calibrate
from signs_export.confidence.unsure import Unsure, find_unsure
from signs_export.convert.convert import check_labels, convert
from signs_export.destination import check_destination, failed_folder, replaced_whole
from signs_export.errors import ExportError
from signs_export.gate.doubts import doubts_about_answers, doubts_about_stages, doubts_about_turned
from signs_export.gate.evidence import Answers, Evidence, asked, evidence_of
from signs_export.gate.sense import SenseError, contradictions
from signs_export.gate.verdict import ParityError, Verdict
from signs_export.inspection.search import Inspection
from signs_export.int8.calibration import Calibration, choose_calibration
from signs_export.job import Job
from signs_export.manifest_entries import (
    count_decisions,
    golden_places,
    provenance_of,
    run_of,
    variant_of,
    write_golden,
)
from signs_export.report.describe import Findings, describe, describe_made
from signs_export.report.document import dump_report
from signs_export.report.junit import write_junit
from signs_export.report.page import model_card, report_page
from signs_export.source.reference import Reference
from signs_export.variants import LeftOut, Made, make_variants
from signs_runtime import verify
from signs_runtime.bundle.folder import MANIFEST, Bundle, open_bundle
from signs_runtime.bundle.manifest import MAX_FILE_BYTES, FileRecord, Manifest, dump_manifest, needed_schema
from signs_runtime.figures import Accuracy


@dataclass(frozen=True)
class Export:
    """A sealed bundle, the proof of its variants, and Keras's own accuracy on the test pictures."""

    bundle: Bundle
    made: tuple[Made, ...]
    left_out: tuple[LeftOut, ...]
    keras_accuracy: Accuracy
    contradictions: tuple[str, ...] = ()  # between the model and the pictures, sealed nevertheless (--as-is)
    calibrated: Calibrated | None = None
    unsure: Unsure | None = None


def export_bundle(
    job: Job,
    destination: Path,
    *,
    training: dict[str, Any] | None = None,  # Any: JSON
    inspection: Inspection | None = None,
) -> Export:
    """Convert a Keras model, prove it against Keras and seal it.

    `training` (from `Run.as_json`) and `inspection` (how the scaling and reading were measured) go into the report.
    Raises ExportError. Raises ParityError if the gate fails: the failed model is kept in `<destination>.failed`, and
    `destination` is unchanged.
    """
    largest = MAX_FILE_BYTES - 2**24  # leaves room for the graph itself
    if (size := weights_bytes(job.reference.model)) > largest:
        raise ExportError(
            f"The model's weights take {size / 2**30:.2f} GiB, but an ONNX file holds at most {largest / 2**30:.2f} "
            "GiB. Use a smaller network of the same family."
        )
    check_destination(destination, needed_bytes(job.reference))
    check_labels(job.reference, job.dataset.labels)
    calibrated, unsure = None, None
    fits = job.config.calibrate or job.config.others is not None
    if fits and training is None and not job.config.as_is:
        with asked(job) as (answers, _):
            _contradictions(job, answers)  # before anything is fitted to these pictures
    if job.config.calibrate:
        job, calibrated = calibrate(job)
    if job.config.others is not None:
        job, unsure = find_unsure(job, job.config.others)
    # onnxruntime folds constants by way of a file in the temporary folder.
    check_room(Path(tempfile.gettempdir()), weights_bytes(job.reference.model))
    with job.progress("Converting with tf2onnx", 0):
        model = convert(job.reference, job.dataset.labels, job.config)
    return seal_model(
        model, job, destination, training=training, inspection=inspection, calibrated=calibrated, unsure=unsure
    )


def needed_bytes(reference: Reference) -> int:
    """Disk space for an export: the folded graph, the bundle's float32 variant, and room for int8 and float16."""
    return 4 * weights_bytes(reference.model) + 2**24


def seal_model(
    model: onnx.ModelProto,
    job: Job,
    destination: Path,
    *,
    training: dict[str, Any] | None = None,  # Any: JSON
    inspection: Inspection | None = None,
    calibrated: Calibrated | None = None,
    unsure: Unsure | None = None,
) -> Export:
    """Prove a converted model against its reference and seal it; see `export_bundle`."""
    calibration = _calibration(job)
    with replaced_whole(destination, keep_after=(ParityError,)) as work, asked(job) as (answers, folder):
        against = () if training is not None else _contradictions(job, answers)
        evidence = evidence_of(job, answers, folder, calibration)
        doubts = _doubts(job, evidence, trained_here=training is not None)
        variants = make_variants(model, evidence, calibration, job, work)
        made = variants.made
        missing = tuple(f"There is no {each.name} variant: {each.why}." for each in variants.left_out)
        for each in missing:
            job.warn(each)
        failed = next((each.verdict for each in made if not each.verdict.passed), None)
        golden = np.empty(0, np.int64) if failed else golden_places(made, evidence, job.config)
        findings = Findings(
            bundle=destination.name,
            float32=model,
            job=job,
            evidence=evidence,
            variants=tuple(map(describe_made, made)),
            provenance=provenance_of(job),
            golden_pictures=len(golden),
            golden_labels=count_decisions(evidence.decided(evidence.expected[golden])),
            training=training,
            contradictions=against,
            inspection=inspection,
            calibrated=calibrated,
            unsure=unsure,
            warnings=(*(() if calibration is None else calibration.warnings), *doubts, *missing),
        )
        documents = _write_documents(work, findings, made)
        if failed is not None:
            # There is no manifest yet, so a failed model cannot be opened as a bundle.
            raise _missed(failed, destination)
        _seal(work, findings, made, golden, documents)
    keras = evidence.accuracy(evidence.expected)
    return Export(open_bundle(destination), made, variants.left_out, keras, against, calibrated, unsure)


def _calibration(job: Job) -> Calibration | None:
    """Choose the pictures that int8 is calibrated on, and warn about doubts; None without int8."""
    if "int8" not in job.config.variants:
        return None
    calibration = choose_calibration(job.dataset, job.reference.input, job.config.int8.calibration_pictures)
    for doubt in calibration.warnings:
        job.warn(doubt)
    return calibration


def _contradictions(job: Job, answers: Answers) -> tuple[str, ...]:
    """Contradictions between the pictures and the model. Raises SenseError if there are any, unless --as-is."""
    against = contradictions(answers, job.reference, job.dataset, progress=job.progress)
    if against and not job.config.as_is:
        raise SenseError(against, answers.accuracy(answers.expected))
    for each in against:
        job.warn(f"Sealed nevertheless (--as-is): {each}")
    return against


def _doubts(job: Job, evidence: Evidence, *, trained_here: bool) -> tuple[str, ...]:
    """Find what is doubtful about the model on these pictures, and warn about it."""
    doubts = (
        *doubts_about_stages(job.reference),
        *doubts_about_answers(evidence),
        *(() if trained_here else doubts_about_turned(job.dataset, job.reference.input)),
    )
    for doubt in doubts:
        job.warn(doubt)
    return doubts


def _write_documents(work: Path, findings: Findings, made: Sequence[Made]) -> tuple[FileRecord, ...]:
    """Write the report (HTML, JSON and JUnit), and a model card if the model passed."""
    document = describe(findings)
    stages = {each.name: each.verdict.stages for each in made}
    contents = {
        REPORT: report_page(document, findings.evidence.images, stages),
        REPORT_DATA: dump_report(document),
    }
    if document.passed:
        contents[MODEL_CARD] = model_card(document)
    junit = work / JUNIT
    write_junit([each.verdict for each in made], junit)
    records = [write_file(work / name, content.encode(errors="backslashreplace")) for name, content in contents.items()]
    return (*records, write_file(junit, junit.read_bytes()))


def _missed(failed: Verdict, destination: Path) -> ParityError:
    kept = f"The bundle at {destination} is unchanged. " if destination.exists() else ""
    aside = failed_folder(destination)
    return ParityError(failed, f"{kept}The failed model is in {aside}; {REPORT} there shows what differs.")


def _seal(
    work: Path, findings: Findings, made: Sequence[Made], golden: NDArray[np.int64], documents: tuple[FileRecord, ...]
) -> None:
    """Write the golden pictures and the manifest, then verify the bundle as a device does."""
    job = findings.job
    manifest = Manifest(
        schema=needed_schema(
            job.reference.input,
            job.reference.thresholds,
            is_adjusted=job.reference.temperature != 1 or job.reference.unsure_below > 0,
        ),
        labels=job.dataset.labels,
        input=job.reference.input,
        variants=tuple(variant_of(each, golden) for each in made),
        golden=write_golden(work / GOLDEN, findings.evidence, golden),
        provenance=findings.provenance,
        run=run_of(made, documents, job.config),
        kind="multi-label" if job.reference.thresholds else "single-label",
        thresholds=job.reference.thresholds,
        temperature=job.reference.temperature,
        unsure_below=job.reference.unsure_below,
    )
    (work / MANIFEST).write_bytes(dump_manifest(manifest).encode())
    name, content = GIT_ATTRIBUTES
    (work / name).write_bytes(content)
    verification = verify(work)
    if not verification.passed:
        raise ExportError(
            f"The gate passed, but the bundle fails its own proof. This is a bug; please report it.\n"
            f"{verification.failures}"
        )
