"""One bundle with a report, shared by the tests that only look at it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from signs_builder.data.dataset import Dataset
from signs_export.export import seal_model
from signs_export.job import Job
from signs_export.source.reference import Reference
from signs_runtime.bundle.strict_json import parse_json

from .made_up import CONFIG, TRAINING


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory, converted: onnx.ModelProto, reference: Reference, dataset: Dataset
) -> Path:
    folder = tmp_path_factory.mktemp("report") / "bundle"
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(converted, Job(reference, dataset, config), folder, training=TRAINING)
    return folder


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = parse_json((bundle / "report.json").read_bytes(), "report.json")  # refuses NaN
    return parsed
