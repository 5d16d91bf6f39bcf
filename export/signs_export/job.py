"""One export or comparison: which model, on which data, how, and who hears of its progress and its doubts."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from signs_builder.data.dataset import Dataset, Split
from signs_builder.progress import Progress, no_progress
from signs_export.config import ExportConfig
from signs_export.source.reference import Reference


@dataclass(frozen=True)
class Job:
    """What every step of an export needs to know; it is handed along whole."""

    reference: Reference
    dataset: Dataset
    config: ExportConfig
    progress: Progress = no_progress
    warn: Callable[[str], object] = warnings.warn  # is told what is doubtful about the data
    held_out: Split | None = None  # pictures besides the test's that the training did not see, as far as is known
