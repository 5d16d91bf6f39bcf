"""Prints a classifier's figures: accuracy, confusion and shift suite."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from signs_runtime.commands.shared import print_table
from signs_runtime.figures import Accuracy

if TYPE_CHECKING:
    from signs_builder.evaluation.evaluate import Figures

MAX_CONFUSION = 12  # classes; a wider table is unreadable


def show_figures(figures: "Figures", caveats: Sequence[str] = (), *, err: bool = False) -> None:
    """Print the accuracy with the data set's caveats, then the confusion or the worst classes, then the shift suite."""
    click.echo(f"Test loss = {figures.loss:.4f}\nTest accuracy = {figures.accuracy.share:.4f}", err=err)
    click.echo(f"Test pictures right: {figures.accuracy}", err=err)
    for caveat in caveats:
        click.echo(f"Note: {caveat}", err=err)
    click.echo(err=err)
    if len(figures.labels) <= MAX_CONFUSION:
        rows = [
            [label, *("." if not count else str(count) for count in row), _percent(figures.per_class.get(label))]
            for label, row in zip(figures.labels, figures.confusion, strict=True)
        ]
        print_table(rows, ("true \\ predicted", *figures.labels, "right"), err=err)
    else:
        worst = sorted(figures.per_class.items(), key=lambda each: each[1].share)[:MAX_CONFUSION]
        print_table([[label, str(each)] for label, each in worst], ("worst classes", "right"), err=err)
    if figures.mean_of_shifts is not None:
        click.echo(err=err)
        rows = [[name, _percent(each)] for name, each in figures.shifts.items()]
        print_table([*rows, ["mean", f"{figures.mean_of_shifts:.1%}"]], ("shift suite", "right"), err=err)


def _percent(accuracy: Accuracy | None) -> str:
    return "-" if accuracy is None else f"{accuracy.share:.1%}"
