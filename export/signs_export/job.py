"""One export or comparison: its model, data, settings, and callbacks for progress and warnings."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from signs_builder.data.dataset import Dataset, Split
from signs_builder.progress import Progress, no_progress
from signs_export.config import ExportConfig
from signs_export.source.reference import Reference


@dataclass(frozen=True)
class Job:
    """What every step of an export needs; passed as one value."""

    reference: Reference
    dataset: Dataset
    config: ExportConfig
    progress: Progress = no_progress
    warn: Callable[[str], object] = warnings.warn  # called with each doubt about the model or the data
    held_out: Split | None = None  # further pictures that the training did not see, as far as is known
