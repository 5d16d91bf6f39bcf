"""Every fault in one classifier of the zoo: which of them the gate catches, and at which stage."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from signs_export.config import ExportConfig
from signs_export.gate.evidence import collected
from signs_export.job import Job

from ..parity.mutation_score import honest_export, trained_on, try_all
from .catalogue import Animal

CONFIG = ExportConfig(variants=("fp32", "int8"), parity_pictures=60, batch_sizes=(1, 17))


def score_faults(animal: Animal, seed: int, models: Path, on_done: Callable[[int], None]) -> dict[str, Any]:
    """Try all faults in a classifier; JSON."""
    record: dict[str, Any] = {"name": animal.name, "group": animal.group, "seed": seed}
    reference, dataset = animal.load(seed, models)
    try:
        export = honest_export(reference, trained_on(reference, dataset), dataset)
    except Exception as error:  # other people's models raise whatever they like
        return {**record, "not_exported": f"{type(error).__name__}: {error}"}
    with collected(Job(reference, dataset, CONFIG)) as evidence:
        scores, spared = try_all(export, evidence, CONFIG, on_done)
    return {**record, "faults": [asdict(score) for score in scores], "spared": spared}
