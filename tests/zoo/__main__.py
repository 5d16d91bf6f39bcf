"""Runs the zoo: exports every classifier in every variant, and prints who was refused, what came closest, how long.

    python -m tests.zoo                                   everything that is not in the results yet
    python -m tests.zoo --group layers --seeds 3          three trainings of each small network
    python -m tests.zoo Xception MobileNetV2 --again      these two anew
    python -m tests.zoo --faults                          every fault in every network it applies to

Ends with 1 where an honest export was refused, or a fault missed.
"""

import json
import sys
from pathlib import Path
from typing import Any, get_args

import click

from signs_builder.commands.progress_bar import progress_bar
from signs_runtime.commands.shared import print_table

from .catalogue import Animal, Group, catalogue
from .measure import measure


@click.command()
@click.argument("names", nargs=-1)
@click.option("--group", "groups", multiple=True, type=click.Choice(get_args(Group)), help="Only this group.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings of each.")
@click.option("--again", is_flag=True, help="Measure anew what is in the results.")
@click.option("--models", type=click.Path(path_type=Path), default=Path("zoo/models"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("zoo/results.json"), show_default=True)
@click.option("--train-only", is_flag=True, help="Train, and export nothing.")
def main(
    names: tuple[str, ...],
    groups: tuple[Group, ...],
    seeds: int,
    again: bool,
    models: Path,
    results: Path,
    train_only: bool,
) -> None:
    """Export the zoo's classifiers, and print what the gate said of each."""
    chosen = [
        (animal, seed)
        for animal in catalogue()
        for seed in range(seeds if animal.training else 1)
        if (not names or animal.name in names) and (not groups or animal.group in groups)
    ]
    found: dict[str, dict[str, Any]] = json.loads(results.read_text()) if results.exists() else {}
    with progress_bar("Zoo", len(chosen)) as on_done:
        for animal, seed in chosen:
            key = f"{animal.group}/{animal.name}/{seed}"
            if train_only:
                animal.load(seed, models)
            elif again or key not in found:
                found[key] = measure(animal, seed, models)
                results.parent.mkdir(parents=True, exist_ok=True)
                results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            on_done(1)
    if train_only:
        return
    shown = [found[f"{animal.group}/{animal.name}/{seed}"] for animal, seed in chosen]
    print_table([row for record in shown for row in _rows(record)], header=_HEADER)
    alarms = [record for record in shown if any(not each["passed"] for each in record.get("variants", {}).values())]
    click.echo(f"{len(alarms)} refused of {len(shown)}")
    sys.exit(bool(alarms))


_HEADER = ("network", "variant", "", "closest", "of limit", "agreement", "difference", "speed", "size", "in float", "s")


def _rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    name = f"{record['name']} {record['seed']}"
    if why := record.get("not_opened") or record.get("not_exported"):
        return [(name, "", why.splitlines()[0][:60], *[""] * 8)]
    return [
        (
            name,
            variant,
            "passed" if each["passed"] else "REFUSED",
            each["closest"],
            f"{each['share_of_limit']:.2g}",
            f"{each['agreement']:.2%}",
            f"{each['max_difference']:.1e}",
            f"{each['speed']:.2f}" if "speed" in each else "",
            f"{each['size']:.0%}" if "size" in each else "",
            f"{each['in_float']} of {each['layers']}" if "in_float" in each else "",
            f"{record['total_seconds']:.0f}" if variant == "fp32" else "",
        )
        for variant, each in record["variants"].items()
    ]


if __name__ == "__main__":
    main()
