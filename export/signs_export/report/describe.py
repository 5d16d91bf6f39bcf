"""Makes the report's document from what the gate found."""

import math
import shlex
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from signs_builder.data.dataset import Dataset
from signs_builder.evaluation.evaluate import count_confusion
from signs_builder.evaluation.reliability import Reliability, reliability
from signs_builder.training.state import Epoch
from signs_export.confidence.temperature import Calibrated
from signs_export.confidence.unsure import Unsure
from signs_export.gate.evidence import Evidence
from signs_export.gate.trace import Stage
from signs_export.gate.verdict import Verdict
from signs_export.inspection.ranking import Tried
from signs_export.inspection.search import Inspection
from signs_export.int8.saturation import LARGEST
from signs_export.int8.variant import Int8
from signs_export.job import Job
from signs_export.report import document
from signs_export.report.document import Document, ModelFile, Share, shown
from signs_export.variants import FP32, Made, Price
from signs_runtime.bundle.manifest import Provenance, Speed
from signs_runtime.decisions import margins
from signs_runtime.figures import Accuracy, Paired, finite

FLIPPED = 24  # most flipped pictures shown of a variant
CLOSEST = 6  # pictures that differ most, shown if none is flipped
MISTAKES = 12  # most test pictures shown that Keras itself labels wrong


@dataclass(frozen=True)
class Findings:
    """All findings about a bundle, or about single models, that went through the gate, passed or not."""

    bundle: str  # the folder's name
    float32: onnx.ModelProto
    job: Job
    evidence: Evidence
    variants: tuple[document.Variant, ...]
    provenance: Provenance
    golden_pictures: int = 0  # 0 if nothing was sealed
    golden_labels: int = 0
    training: dict[str, Any] | None = None  # Any: JSON of `Run.as_json`; None if this project did not train the model
    warnings: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()  # that the user sealed with --as-is
    inspection: Inspection | None = None
    calibrated: Calibrated | None = None
    unsure: Unsure | None = None


def describe(findings: Findings) -> Document:
    """Make the document of these findings."""
    evidence, dataset = findings.evidence, findings.job.dataset
    failed = tuple(each.name for each in findings.variants if not each.proof.passed)
    floor = evidence.floor
    return Document(
        passed=not failed,
        failed=failed,
        date=datetime.now(UTC).date().isoformat(),
        bundle=shown(findings.bundle),
        model=_model(findings),
        data=_data(dataset, findings.provenance),
        proof=document.Proof(
            floor=document.Floor(floor.pictures, floor.max_difference, floor.tolerance, floor.says),
            pictures=len(evidence.files),
            test_pictures=int(evidence.is_test.sum()),
            batch_sizes=findings.variants[0].proof.batch_sizes,
        ),
        keras=document.KerasFigures(
            test=_test_figures(evidence, evidence.expected),
            reliability=_reliability(evidence),
            calibrated=findings.calibrated,
            unsure=None if (found := findings.unsure) is None else replace(found, source=shown(found.source)),
            mistakes=_mistakes(evidence),
        ),
        variants=findings.variants,
        training=None if findings.training is None else _training(findings.training),
        warnings=tuple(map(shown, findings.warnings)),
        contradictions=tuple(map(shown, findings.contradictions)),
        caveats=tuple(map(shown, dataset.caveats)),
        inspection=() if findings.inspection is None else _inspection(findings.inspection),
        golden_pictures=findings.golden_pictures,
        golden_labels=findings.golden_labels,
        provenance=findings.provenance,
        commands=_commands(findings),
    )


def describe_made(made: Made) -> document.Variant:
    """Describe a variant that was made here, with its measurements."""
    return describe_variant(
        made.name,
        ModelFile(**asdict(made.file)),
        made.verdict,
        speed=None if made.name == FP32 else made.speed,
        peak_memory=made.peak_memory,
        int8=None if made.int8 is None else _int8(made.int8, made.price),
    )


def describe_variant(
    name: str,
    file: ModelFile,
    verdict: Verdict,
    *,
    speed: Speed | None = None,
    peak_memory: int | None = None,
    int8: document.Int8Figures | None = None,
) -> document.Variant:
    """Describe a model file and the verdict on it."""
    flips = verdict.pictures - verdict.same_label
    return document.Variant(
        name=name,
        precision=verdict.precision,
        file=file,
        speed=speed,
        peak_memory=peak_memory,
        proof=_proof(verdict),
        stages=tuple(map(_stage, verdict.stages)),
        test=_test_figures(verdict.evidence, verdict.given),
        pictures=tuple(_difference(verdict, i) for i in verdict.worst(min(flips, FLIPPED) or CLOSEST)),
        int8=int8,
    )


def _model(findings: Findings) -> document.Model:
    graph, reference = findings.float32, findings.job.reference
    return document.Model(
        name=shown(reference.model.name),
        parameters=reference.model.count_params(),
        trainable_parameters=sum(math.prod(weight.shape) for weight in reference.model.trainable_weights),
        input=reference.input,
        scaling=reference.scaling,
        labels=findings.job.dataset.labels,
        thresholds=reference.thresholds,
        opset=next(each.version for each in graph.opset_import if each.domain in ("", "ai.onnx")),
        operators=dict(Counter(node.op_type for node in graph.graph.node).most_common()),
    )


def _data(dataset: Dataset, provenance: Provenance) -> document.Data:
    counts = {name: split.shown(len(dataset.labels)).sum(axis=0).tolist() for name, split in dataset.splits.items()}
    return document.Data(
        name=provenance.data,
        sha256=provenance.data_sha256,
        pictures=dataset.counts,
        per_label={label: {split: counts[split][i] for split in counts} for i, label in enumerate(dataset.labels)},
        passed_over=tuple(map(shown, dataset.passed_over)),
    )


def _inspection(found: Inspection) -> tuple[document.TriedSetting, ...]:
    return tuple(
        document.TriedSetting(
            stage.name,
            " ".join(each.setting.options(found.began)),
            Share(**each.right.as_json()),
            finite(each.log_likelihood),
            None if each is stage.tried[0] or each.same else _p_value(each, by_likelihood=stage.by_likelihood),
        )
        for stage in found.stages
        for each in stage.tried
    )


def _p_value(each: Tried, *, by_likelihood: bool) -> float:
    """That both are equally good: by the labels' likelihoods or, if those mislead, by the correct pictures of each."""
    return each.p_value if by_likelihood else Paired(each.right.total, each.only_best, each.only_this).p_value


def _proof(verdict: Verdict) -> document.VariantProof:
    return document.VariantProof(
        passed=verdict.passed,
        stage=verdict.stage,
        checks=tuple(replace(check, says=shown(check.says)) for check in verdict.checks),
        budget=verdict.budget,
        pictures=verdict.pictures,
        batch_sizes=verdict.batch_sizes,
        max_difference=finite(verdict.max_difference),
        p99_difference=finite(verdict.p99_difference),
        mean_difference=finite(verdict.mean_difference),
        same_label=verdict.same_label,
        test_pairs=verdict.test_pairs,
        by_label=verdict.by_label,
    )


def _stage(stage: Stage) -> document.StageFigures:
    return document.StageFigures(shown(stage.name), stage.passed, finite(stage.error), finite(stage.limit), stage.says)


def _test_figures(evidence: Evidence, probabilities: NDArray[np.float32]) -> document.TestFigures:
    """How many test pictures probabilities (n, labels) label correctly, per label, and which labels they confuse."""
    labels = evidence.labels
    if evidence.thresholds:
        right = evidence.right_decisions(probabilities)
        by_label = {
            label: Share(**Accuracy(int(own.sum()), len(own)).as_json())
            for label, own in zip(labels, right.T, strict=True)
        }
        return document.TestFigures(**evidence.accuracy(probabilities).as_json(), per_label=by_label, confusion=())
    said, shows = probabilities.argmax(axis=1)[evidence.is_test], evidence.truth[evidence.is_test].argmax(axis=1)
    counts = count_confusion(shows, said, len(labels))
    totals = counts.sum(axis=1).tolist()
    return document.TestFigures(
        **evidence.accuracy(probabilities).as_json(),
        per_label={
            label: Share(**Accuracy(int(counts[i, i]), totals[i]).as_json())
            for i, label in enumerate(labels)
            if totals[i]
        },
        confusion=tuple(
            document.Confused(labels[shows], labels[given], int(counts[shows, given]))
            for shows, given in np.argwhere(counts).tolist()
        ),
    )


def _reliability(evidence: Evidence) -> Reliability | None:
    """How well Keras's probabilities match its accuracy on the test pictures; None for a multi-label classifier."""
    if evidence.thresholds:
        return None
    said = evidence.expected[evidence.is_test].max(axis=1)
    return reliability(said, np.asarray(evidence.right_decisions(evidence.expected).all(axis=1)))


def _mistakes(evidence: Evidence) -> tuple[document.Picture, ...]:
    """The test pictures that Keras labels wrong, those with the highest probability first."""
    wrong = np.flatnonzero(evidence.is_test & (evidence.decided(evidence.expected) != evidence.truth).any(axis=1))
    sure = (
        margins(evidence.expected[wrong], evidence.thresholds)
        if evidence.thresholds
        else evidence.expected[wrong].max(axis=1)
    )
    surest = wrong[np.argsort(-sure, kind="stable")]
    return tuple(_picture(evidence, i) for i in surest[:MISTAKES].tolist())


def _difference(verdict: Verdict, i: int) -> document.ComparedPicture:
    seen = _picture(verdict.evidence, i)
    return document.ComparedPicture(
        **vars(seen),
        variant=_answer(verdict.evidence, verdict.given[i]),
        difference=finite(float(verdict.differences[i])),
        flipped=bool(verdict.flipped[i]),
    )


def _picture(evidence: Evidence, i: int) -> document.Picture:
    file: Path = evidence.files[i]
    shows = [label for label, is_shown in zip(evidence.labels, evidence.truth[i], strict=True) if is_shown]
    return document.Picture(
        place=i,
        file=shown(f"{file.parent.name}/{file.name}"),
        shows=", ".join(shows) or "no label",
        keras=_answer(evidence, evidence.expected[i]),
        keras_margin=finite(float(margins(evidence.expected[i : i + 1], evidence.thresholds)[0])),
    )


def _answer(evidence: Evidence, probabilities: NDArray[np.float32]) -> document.Answer:
    largest = int(probabilities.argmax())
    (decided,) = evidence.decided(probabilities[None])
    found = ", ".join(label for label, is_found in zip(evidence.labels, decided, strict=True) if is_found)
    return document.Answer(found or "no label", finite(float(probabilities[largest])))


def _int8(int8: Int8, price: Price | None) -> document.Int8Figures:
    ranked = sorted(int8.noise.items(), key=lambda item: -item[1])
    in_float = int8.in_float
    return document.Int8Figures(
        in_float=tuple(map(shown, in_float)),
        all_in_int8=price,
        layers=tuple(
            document.LayerNoise(
                layer=shown(layer),
                noise=finite(noise),
                signal_to_noise_db=finite(-10 * math.log10(noise)) if noise else None,
                in_float=layer in in_float,
            )
            for layer, noise in ranked
        ),
        largest_16_bit_sum=LARGEST,
        pair_sums=tuple(
            document.PairSum(shown(each.layer), each.bound, each.measured, each.at_risk, each.saturates)
            for each in int8.saturation
        ),
    )


def _training(training: dict[str, Any]) -> document.Training:  # Any: JSON
    test = training["test"]
    suite = test["shift_suite"]
    shifts = {name: Share(**each) for name, each in suite["shifts"].items()}
    return document.Training(
        config=training["config"],
        history=tuple(Epoch(**epoch) for epoch in training["history"]),
        kept_epoch=training["kept_epoch"],
        stopped_early=training["stopped_early"],
        test=document.TrainedTest(
            **{key: test[key] for key in ("loss", "correct", "total", "accuracy", "interval_95")},
            shift_suite=document.ShiftSuite(suite["mean_accuracy"], shifts),
        ),
    )


def _commands(findings: Findings) -> document.Commands:
    folder, scaling = shlex.quote(shown(findings.bundle)), findings.provenance.scaling
    options = "" if scaling == "none" else f" --scaling {scaling}"
    return document.Commands(
        verify=f"signs verify {folder}",
        parity=f"signs parity MODEL.keras {folder} PICTURES{options}",
        export=shown(findings.job.config.command),
    )
