"""Labels one block of a job: the same on this machine and on a cluster."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from signs_runtime.classifier import Classifier
from signs_runtime.errors import AnswerError, SignsError
from signs_runtime.labelling.job import Job
from signs_runtime.labelling.pictures import Budget, opened
from signs_runtime.labelling.rows import ERROR, PICTURE, Columns, explain


@dataclass(frozen=True)
class BlockResult:
    """What was written for one block."""

    block: int
    pictures: int
    errors: int
    first_error: str | None


def label_block(classifier: Classifier, job: Job, block: int, batch: int | None) -> BlockResult:
    """Label a block's pictures and write its rows; a picture that cannot be labelled becomes a row with an error.

    Raises SourceError if a store cannot be reached, and AnswerError if the model answers none of the pictures.
    """
    settings, budget = job.settings, Budget()
    columns = Columns(classifier.labels, min(settings.top_k, len(classifier.labels)), bool(classifier.thresholds))
    entries = job.entries(block)
    rows: list[dict[str, Any]] = []  # Any: a value of any type
    errors: list[SignsError] = []
    with closing(classifier.stream(opened(entries, settings.column, budget), batch=batch)) as outcomes:
        for entry, outcome in zip(entries, outcomes, strict=True):
            budget.free_first()
            row = {PICTURE: _printable(entry.name)}
            if outcome.error is None:
                row |= zip(columns.names, columns.values(outcome.prediction), strict=True)
            else:
                row[ERROR] = _printable(explain(entry.name, outcome.error))
                errors.append(outcome.error)
            rows.append(row)
    unanswered = [error for error in errors if isinstance(error, AnswerError)]
    if unanswered and len(errors) == len(rows):  # the device's fault, not the pictures'
        raise unanswered[0]
    job.write(block, rows, columns)
    return BlockResult(block, len(rows), len(errors), next((row[ERROR] for row in rows if ERROR in row), None))


def _printable(text: str) -> str:
    """Escape what UTF-8 cannot encode: file names that are not valid text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
