"""Opens a model whose scaling nobody has said: measured where that is asked for, else told and refused."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from signs_export.commands.opening import MEASURED, TRIED_FIRST, ModelOptions, open_reference
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_builder.data.dataset import Dataset
    from signs_export.inspection.search import Inspection
    from signs_export.source.reference import Reference


def open_measured(
    path: Path, dataset: "Dataset", about: ModelOptions, *, image_size: tuple[int, int] | None, reading: Reading
) -> tuple["Reference", "Dataset", "Inspection | None"]:
    """The model, with the scaling that was said or measured (`--scaling measured`), the data with a note of that, and
    what was measured.

    Raises ExportError where no scaling is said, with what these pictures tell of it, and where they cannot tell.
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
        return reference, dataset, None  # it scales pixels itself
    except ScalingNeededError as error:
        needed = error
    if dataset.test.is_multi_label:
        raise needed
    found = _inspected(opened(replace(about, scaling=TRIED_FIRST), reading), dataset)
    from signs_export.inspection.conclusions import conclusions

    told = "\n".join(conclusions(found))
    if about.scaling != MEASURED:
        raise ExportError(f"{needed}\nTried on these pictures: {told}\nSay so, or say --scaling measured.")
    if not found.is_sure or found.other_order is not None:
        raise ExportError(f"--scaling measured: these pictures do not settle it.\n{told}\nSee signs inspect.")
    setting = found.setting
    note = f"Scaling and reading were measured on these pictures: {told}"
    dataset = replace(dataset, notes=(*dataset.notes, note.replace("\n", " ")))
    return opened(replace(about, scaling=setting.scaling), setting.reading, is_settled=True), dataset, found


def _inspected(reference: "Reference", dataset: "Dataset") -> "Inspection":
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.errors import DatasetError
    from signs_export.inspection.search import inspect

    if reference.classes != len(dataset.labels):
        raise DatasetError(
            f"The model tells {reference.classes} classes apart, and {dataset.name} has {len(dataset.labels)}."
        )
    return inspect(reference, dataset, progress=progress_bar)
