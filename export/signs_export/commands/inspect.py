"""The command `signs inspect`: measures on labelled pictures how a Keras model's training prepared its pictures."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_builder.commands.shared import describe_counts, image_size_option, reading_options, start_keras
from signs_export.commands.opening import (
    TRIED_FIRST,
    ModelOptions,
    check_classes,
    model_options,
    open_data,
    open_reference,
)
from signs_export.commands.options import data_for, data_of_model
from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.figures import finite
from signs_runtime.pictures.input_spec import Reading

if TYPE_CHECKING:
    from signs_export.inspection.ranking import Stage
    from signs_export.inspection.search import Inspection


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@data_of_model
@model_options(scalings=(), thresholds=False)
@image_size_option("the model's own")
@reading_options
@click.option(
    "--write-labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="If the labels are beyond doubt in another order, write them to this file in the model's order, for --labels.",
)
@json_option
def inspect(
    model: Path,
    data: str | None,
    about_model: ModelOptions,
    image_size: tuple[int, int] | None,
    reading: Reading,
    write_labels: Path | None,
    as_json: bool,
) -> None:
    """Find out how MODEL was trained: scaling, colours, reading, and the order of its labels.

    Tries every setting on DATA's pictures, ranks the settings by accuracy, and reports what the pictures cannot
    decide. The search starts from the options that you pass.
    """
    data = data_for(model, data)
    start_keras()
    from signs_builder.commands.progress_bar import progress_bar
    from signs_builder.disk import written_whole
    from signs_builder.errors import DatasetError
    from signs_export.inspection.conclusions import conclusions
    from signs_export.inspection.search import inspect as search

    dataset = open_data(data, model, about_model)
    if dataset.test.is_multi_label:
        raise DatasetError(f"{dataset.name} is a table of labels, but inspect needs a folder for each label.")
    click.echo(describe_counts(dataset), err=as_json)
    reference = open_reference(model, replace(about_model, scaling=TRIED_FIRST), image_size=image_size, reading=reading)
    check_classes(model, reference, dataset)
    found = search(reference, dataset, progress=progress_bar)
    written = write_labels if found.other_order is not None else None
    if written is not None and found.other_order is not None:
        with written_whole(written) as partial:
            partial.write_text(json.dumps(found.other_order, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    command = _command(model, data, found, written, about_model, image_size)
    if as_json:
        print_json({**_document(found, command, written), "conclusions": conclusions(found)})
        return
    for stage in found.stages:
        _show(stage, found.began)
    for sentence in conclusions(found):
        click.echo(sentence)
    if written is not None:
        click.echo(f"Wrote {written}: the labels in the order of the model's outputs.")
    elif write_labels is not None:
        click.echo(f"Did not write {write_labels}: no other order of the labels is better beyond doubt.")
    click.echo(f"Next: {command}")


def _command(
    model: Path,
    data: str,
    found: "Inspection",
    written: Path | None,
    about: ModelOptions,
    image_size: tuple[int, int] | None,
) -> str:
    """The command to run next: the export, or inspect with --write-labels if the labels are in another order."""
    labels = written or about.labels
    given = {
        "--labels": labels,
        "--custom-objects": about.custom_objects,
        "--image-size": None if image_size is None else "x".join(map(str, image_size)),
    }
    more = [str(word) for option, value in given.items() if value is not None for word in (option, value)]
    more += ["--logits"] if about.logits else []
    if found.other_order is not None and written is None:
        return shlex.join(["signs", "inspect", str(model), data, *more, "--write-labels", "labels.json"])
    return shlex.join(["signs", "export", str(model), data, *found.options, *more])


def _show(stage: "Stage", began: Reading) -> None:
    rows = [
        (
            " ".join(each.setting.options(began)),
            f"{each.right.correct} of {each.right.total}",
            "{:.1%} to {:.1%}".format(*each.right.interval),
            f"{each.log_likelihood:.3f}",
            f"{each.temperature:.2g}",
            "" if each is stage.tried[0] else "the same" if each.same else f"{each.p_value:.1g}",
        )
        for each in stage.tried
    ]
    print_table(rows, (stage.name, "right", "95%", "log-likelihood", "temperature", "p against the first"))
    click.echo()


def _document(found: "Inspection", command: str, written: Path | None) -> dict[str, Any]:  # Any: JSON
    def tried(stage: "Stage") -> list[dict[str, Any]]:
        return [
            {
                "scaling": each.setting.scaling,
                **asdict(each.setting.reading),
                "right": each.right.as_json(),
                "log_likelihood": finite(each.log_likelihood),
                "temperature": each.temperature,
                "p_value": each.p_value,
                "same": each.same,
                "worse": stage.is_worse(each),
            }
            for each in stage.tried
        ]

    return {
        "sure": found.is_sure,
        "beats_chance": found.beats_chance,
        "options": found.options,
        "command": command,
        "right": found.right.as_json(),
        "pictures": found.pictures,
        "stages": [{"name": stage.name, "sure": stage.is_sure, "tried": tried(stage)} for stage in found.stages],
        "order": {
            "own": found.order.own.as_json(),
            "other": found.order.other.as_json(),
            "p_value": found.order.p_value,
            "labels": found.other_order,
            "written": None if written is None else str(written),
        },
    }
