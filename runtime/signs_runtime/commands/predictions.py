"""Prints predictions as a table for people, as CSV for spreadsheets, or as JSON for machines."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from signs_runtime.classifier import Prediction
from signs_runtime.commands.shared import print_json, print_table
from signs_runtime.errors import SignsError
from signs_runtime.labelling.rows import ERROR, PICTURE, Columns, explain


class Form(Protocol):
    """A form in which results are printed; whoever adds to it must call `end` at the end."""

    def add(self, picture: Path, prediction: Prediction) -> None: ...

    def add_error(self, picture: Path, error: SignsError) -> None: ...

    def end(self) -> None: ...


class TextTable:
    """Prints a table at the end, and then the errors on stderr."""

    def __init__(self, labels: Sequence[str], top_k: int, *, multi_label: bool) -> None:
        self._top_k, self._multi_label = top_k, multi_label
        self._rows: list[tuple[str, ...]] = []
        self._errors: list[str] = []

    def add(self, picture: Path, prediction: Prediction) -> None:
        ranked = prediction.top_k(len(prediction.labels) if self._multi_label else self._top_k)
        if self._multi_label and prediction.found:
            label = ", ".join(prediction.found)
            probability = ", ".join(f"{value:.4f}" for name, value in ranked if name in prediction.found)
        else:
            label, probability = prediction.label, f"{prediction.probability:.4f}"
        # An unsure prediction shows its most probable label here.
        others = [f"{name} {value:.4f}" for name, value in ranked[: self._top_k] if name not in prediction.found]
        self._rows.append((str(picture), label, probability, ", ".join(others)))

    def add_error(self, picture: Path, error: SignsError) -> None:
        self._errors.append(explain(picture, error))

    def end(self) -> None:
        if self._rows:
            columns = 4 if any(row[3] for row in self._rows) else 3
            print_table([row[:columns] for row in self._rows], ("picture", "label", "probability", "others")[:columns])
        for error in self._errors:
            click.echo(f"Error: {error}", err=True)


class CsvTable:
    """Prints one CSV line for each picture as soon as it is labelled; a picture that fails has an error."""

    def __init__(self, labels: Sequence[str], top_k: int, *, multi_label: bool) -> None:
        self._columns = Columns(labels, top_k, multi_label)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow([PICTURE, *self._columns.names, ERROR])

    def add(self, picture: Path, prediction: Prediction) -> None:
        values = ["|".join(value) if isinstance(value, list) else value for value in self._columns.values(prediction)]
        self._writer.writerow([picture, *values, ""])
        sys.stdout.flush()  # so that a pipe, too, gets each line when its picture is labelled

    def add_error(self, picture: Path, error: SignsError) -> None:
        self._writer.writerow([picture, *[""] * len(self._columns.names), explain(picture, error)])
        click.echo(f"Error: {explain(picture, error)}", err=True)

    def end(self) -> None:
        sys.stdout.flush()


class JsonDocument:
    """Prints one JSON document at the end, and errors on stderr at once."""

    def __init__(self, labels: Sequence[str], top_k: int, *, multi_label: bool) -> None:
        self._labels, self._top_k, self._multi_label = labels, top_k, multi_label
        self._predictions: list[dict[str, Any]] = []
        self._errors: list[dict[str, str]] = []

    def add(self, picture: Path, prediction: Prediction) -> None:
        self._predictions.append(
            {
                "picture": str(picture),
                "label": prediction.label,
                **({"labels": prediction.found} if self._multi_label else {}),
                "probability": prediction.probability,
                "top": [{"label": label, "probability": value} for label, value in prediction.top_k(self._top_k)],
                "probabilities": dict(zip(self._labels, prediction.probabilities.tolist(), strict=True)),
            }
        )

    def add_error(self, picture: Path, error: SignsError) -> None:
        self._errors.append({"picture": str(picture), "error": explain(picture, error)})
        click.echo(f"Error: {explain(picture, error)}", err=True)

    def end(self) -> None:
        print_json({"predictions": self._predictions, "errors": self._errors})
