"""A model file through the whole gate."""

from pathlib import Path

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.gate.compare import compare
from signs_export.gate.evidence import Evidence, collected
from signs_export.gate.verdict import Verdict
from signs_export.job import Job
from signs_export.source.reference import Reference
from signs_runtime import Classifier


def prove(model: Path, reference: Reference, dataset: Dataset, config: ExportConfig) -> tuple[Evidence, Verdict]:
    with collected(Job(reference, dataset, config)) as evidence:
        return evidence, compare(Classifier(model), model, model.stem, evidence, config)
