"""The pictures of a proof are the test split's first."""

from pathlib import Path

from signs_builder.data.dataset import Dataset
from signs_export.config import ExportConfig
from signs_export.source.reference import Reference

from ..proving import prove


def test_a_limit_on_pictures_keeps_the_test_split_first(file: Path, reference: Reference, dataset: Dataset) -> None:
    for limit, test, total in ((30, 24, 30), (10, 10, 10)):
        evidence, verdict = prove(file, reference, dataset, ExportConfig(parity_pictures=limit))
        assert (int(evidence.is_test.sum()), verdict.pictures) == (test, total)
        assert evidence.truth.any(axis=0).all()
