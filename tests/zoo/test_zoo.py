"""A part of the zoo: no honest export is refused, and what is broken in it is found."""

from pathlib import Path

import pytest

from signs_builder.progress import ignore_progress

from .catalogue import Animal, catalogue
from .faulty import score_faults
from .measure import measure

# Each of a make that the gate once refused, or stumbled over.
EXPORTED = ("separable_normed", "preactivated", "inverted_residuals", "vision_transformer", "cbam")
BROKEN = ("separable_normed",)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


def animal(name: str) -> Animal:
    return next(each for each in catalogue() if each.name == name and each.group == "layers")


@pytest.mark.parametrize("name", EXPORTED)
def test_an_honest_export_of_any_make_is_not_refused(name: str, models: Path) -> None:
    record = measure(animal(name), 0, models)
    variants = record["variants"]
    assert {"fp32", "fp16"} <= variants.keys()
    assert [(variant, each["misses"]) for variant, each in variants.items() if not each["passed"]] == []
    assert "int8" in variants or any("no int8 variant" in each for each in record["warnings"])
    assert variants["fp32"]["stages"] >= 5


@pytest.mark.parametrize("name", BROKEN)
def test_faults_in_other_makes_are_caught_at_their_stage(name: str, models: Path) -> None:
    record = score_faults(animal(name), 0, models, ignore_progress)
    assert len(record["faults"]) >= 20
    assert [each for each in record["faults"] if not each["caught"]] == []
    assert [each for each in record["faults"] if not each["right_stage"]] == []
