"""A CI system sees each check, and why it was missed."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
from junitparser import JUnitXml

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.report.junit import write_junit
from signs_export.source.reference import Reference

from ..changed_models import with_last_layer
from ..proving import prove

CONFIG = ExportConfig()


def test_a_junit_file_holds_a_case_for_each_check_and_a_failure_for_each_miss(
    converted: onnx.ModelProto, file: Path, reference: Reference, dataset: Dataset, tmp_path: Path
) -> None:
    onnx.save(with_last_layer(converted, np.negative), tmp_path / "b.onnx")
    verdicts = [prove(tmp_path / name, reference, dataset, CONFIG)[1] for name in ("a.onnx", "b.onnx")]
    write_junit(verdicts, tmp_path / "junit.xml")
    good, bad = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (good.tests, good.failures) == (len(verdicts[0].checks), 0)
    assert [case.name for case in bad if case.result] == [check.name for check in verdicts[1].misses]
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert root.tag == "testsuites"
    assert any("(stage: logits)" in failure.attrib["message"] for failure in root.iter("failure"))
