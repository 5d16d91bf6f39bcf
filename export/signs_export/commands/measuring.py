"""Opens a model whose scaling is unknown: measures it for `--scaling measured`, otherwise suggests one and stops."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from signs_export.commands.opening import MEASURED, TRIED_FIRST, ModelOptions, check_classes, open_reference
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_export.inspection.search import Inspection
    from signs_export.source.reference import Reference


def open_measured(
    path: Path, dataset: "Dataset", about: ModelOptions, *, image_size: tuple[int, int] | None, reading: Reading
) -> tuple["Reference", "Dataset", "Inspection | None"]:
    """Open a model with its given or measured scaling. Returns the model, the data (with a note) and the inspection.

    Raises ExportError if the scaling is missing, with what the pictures suggest, or if the pictures cannot decide it.
    """
    from signs_export.errors import ExportError, ScalingNeededError

    def opened(about: ModelOptions, reading: Reading, *, is_settled: bool = False) -> "Reference":
        return open_reference(
            path,
            about,
            image_size=image_size,
            reading=reading,
            multi_label=dataset.test.is_multi_label,
            is_settled=is_settled,
        )

    try:
        if about.scaling != MEASURED:
            return opened(about, reading), dataset, None
        reference = opened(replace(about, scaling=None), reading)
        return reference, dataset, None  # the model scales pixels itself
    except ScalingNeededError as error:
        needed = error
    if dataset.test.is_multi_label:
        raise needed
    found = _inspected(path, opened(replace(about, scaling=TRIED_FIRST), reading), dataset)
    from signs_export.inspection.conclusions import conclusions

    told = "\n".join(conclusions(found))
    if about.scaling != MEASURED:
        raise ExportError(f"{needed}\nMeasured on these pictures: {told}\nPass these options, or --scaling measured.")
    if not found.is_sure or found.other_order is not None:
        raise ExportError(
            f"--scaling measured: these pictures cannot decide it.\n{told}\nRun signs inspect for the ranking."
        )
    setting = found.setting
    note = f"Scaling and reading were measured on these pictures: {told}"
    dataset = replace(dataset, notes=(*dataset.notes, note.replace("\n", " ")))
    return opened(replace(about, scaling=setting.scaling), setting.reading, is_settled=True), dataset, found


def _inspected(path: Path, reference: "Reference", dataset: "Dataset") -> "Inspection":
    from signs_builder.commands.progress_bar import progress_bar
    from signs_export.inspection.search import inspect

    check_classes(path, reference, dataset)
    return inspect(reference, dataset, progress=progress_bar)
