"""The gate catches real mistakes of exporters and serving code, and names the stage where each is."""

from collections.abc import Iterator

import pytest

from signs_export.config import ExportConfig
from signs_export.gate.evidence import Evidence, collected
from signs_export.job import Job
from signs_runtime import Classifier

from .faults import FAULTS, Export, Fault
from .mutation_score import PICTURES, small_export, try_fault

CONFIG = ExportConfig(variants=("fp32", "int8"), parity_pictures=PICTURES)


@pytest.fixture(scope="module")
def honest() -> Iterator[tuple[Export, Evidence]]:
    export, dataset = small_export()
    with collected(Job(export.reference, dataset, CONFIG)) as evidence:
        yield export, evidence


def test_an_honest_export_is_no_fault(honest: tuple[Export, Evidence]) -> None:
    export, evidence = honest
    fault = Fault("none", lambda export: (export.float32, Classifier), lambda export: set())
    score = try_fault(fault, export, evidence, CONFIG)
    assert not score.caught, score


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught_at_its_stage(fault: Fault, honest: tuple[Export, Evidence]) -> None:
    score = try_fault(fault, *honest, CONFIG)
    assert score.caught
    assert score.right_stage, score


def test_the_small_network_has_learned_something(honest: tuple[Export, Evidence]) -> None:
    _, evidence = honest
    assert evidence.expected.max(axis=1).mean() > 0.5  # near-uniform answers would prove nothing
    accuracy = evidence.accuracy(evidence.expected)
    assert accuracy.interval[0] > 1 / len(evidence.labels)  # nor would answers that chance explains
