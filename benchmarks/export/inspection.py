"""Counts how often `signs inspect` finds the settings of classifiers that were trained in known ways.

The classifiers are small networks, trained on drawn hands with every scaling and order of colours. Their labels are in
the data's order, or two are exchanged, three moved or all reversed. Others are trained on wide pictures with other fits
and filters. With --data, they are trained on a folder's pictures, with every scaling and order of colours. A case is
found if scaling, colours, order of labels and fit are those of the training. It is wrong if another setting is
reported as certain.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from signs_builder.data.sources import load_dataset
from signs_export.config import SCALINGS
from signs_export.inspection.search import Inspection, inspect
from signs_runtime.commands.shared import print_table
from signs_runtime.pictures.input_spec import Fit, Reading, ResizeFilter
from tests.export.inspection.cases import Case, made

ORDERS = ((0, 1, 2, 3, 4, 5), (0, 4, 2, 3, 1, 5), (2, 0, 1, 3, 4, 5), (5, 4, 3, 2, 1, 0))
FITS: tuple[Fit, ...] = ("crop", "pad")
FILTERS: tuple[ResizeFilter, ...] = ("nearest", "cv2-area")


def cases() -> Iterator[tuple[Case, bool]]:
    """Sixty cases, each with whether its pictures have other proportions than the network's input."""
    for scaling, channels, order in itertools.product(SCALINGS, ("RGB", "BGR"), ORDERS):
        yield Case(scaling, Reading(channels=channels), order), False  # type: ignore[arg-type]  # one of two
    for scaling in SCALINGS:
        for fit in FITS:
            yield Case(scaling, Reading(fit=fit), ORDERS[1]), True
        for filter_ in FILTERS:
            yield Case(scaling, Reading(resize=filter_), ORDERS[2]), True


def cases_of(classes: int) -> Iterator[Case]:
    """Twenty cases for any labelled pictures: every scaling and order of colours, with and without moved labels."""
    orders = [[*range(classes)] for _ in range(4)]
    orders[1][1], orders[1][-2] = orders[1][-2], orders[1][1]
    orders[2][:3] = [2, 0, 1]
    orders[3].reverse()
    settings = itertools.product(SCALINGS, ("RGB", "BGR"))
    for i, (scaling, channels) in enumerate(settings):
        for order in (orders[i % 2], orders[2 + i % 2]):
            yield Case(scaling, Reading(channels=channels), tuple(order))  # type: ignore[arg-type]  # one of two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=60, help="Run only this many cases, the first ones.")
    parser.add_argument("--data", type=Path, help="A folder of labelled pictures, instead of drawn hands.")
    arguments = parser.parse_args()
    rows, found, wrong = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder, "wide")
        every: Iterator[tuple[Case, Path | None]] = ((case, wide if is_wide else None) for case, is_wide in cases())
        if arguments.data is not None:
            classes = len(load_dataset(arguments.data).labels)
            if classes < 4:
                sys.exit(f"{arguments.data} has {classes} labels; 4 or more are needed, so that the orders differ.")
            every = ((case, arguments.data) for case in cases_of(classes))
        for case, pictures in itertools.islice(every, arguments.first):
            reference, dataset = made(case, pictures)
            begin = time.perf_counter()
            result = inspect(reference, dataset)
            seconds = time.perf_counter() - begin
            order = tuple(dataset.labels[i] for i in case.order)
            said = result.other_order or result.labels
            same = (result.setting.scaling, result.setting.reading.channels, result.setting.reading.fit, said)
            is_found = same == (case.scaling, case.reading.channels, case.reading.fit, order)
            is_wrong = _claims_otherwise(result, case, order)
            found, wrong = found + is_found, wrong + is_wrong
            outcome = "found" if is_found else "WRONG" if is_wrong else "not found"
            rows.append((case.named(), outcome, " ".join(result.options), f"{result.right}", f"{seconds:.1f}"))
            print(*rows[-1], sep="  ", file=sys.stderr)
    print_table(rows, ("trained with", "", "said", "right", "s"))
    print(f"{found} of {len(rows)} found ({found / len(rows):.1%}), {wrong} wrong but reported as certain")


def _claims_otherwise(result: Inspection, case: Case, order: tuple[str, ...]) -> bool:
    """Whether the result reports something wrong as certain."""
    reading, true = result.setting.reading, case.reading
    if result.is_sure and (result.setting.scaling, reading.channels) != (case.scaling, true.channels):
        return True
    for stage in result.stages[1:]:
        mine, theirs = (reading.fit, true.fit) if stage.name == "fit" else (reading.resize, true.resize)
        if stage.is_sure and mine != theirs:
            return True
    return result.other_order is not None and result.other_order != order


if __name__ == "__main__":
    main()
