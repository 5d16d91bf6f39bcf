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
from signs_builder.progress import ignore_progress
from signs_runtime.commands.shared import print_table

from .catalogue import THRICE, Animal, Group, catalogue
from .faulty import score_faults
from .measure import measure
from .page import page, score


@click.command()
@click.argument("names", nargs=-1)
@click.option("--group", "groups", multiple=True, type=click.Choice(get_args(Group)), help="Only this group.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings of each.")
@click.option("--thrice", is_flag=True, help="Only the twelve that are trained three times.")
@click.option("--again", is_flag=True, help="Measure anew what is in the results.")
@click.option("--models", type=click.Path(path_type=Path), default=Path("zoo/models"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("docs/zoo.json"), show_default=True)
@click.option("--train-only", is_flag=True, help="Train, and export nothing.")
@click.option("--faults", is_flag=True, help="Instead, break each export in every way, and count what is caught.")
def main(
    names: tuple[str, ...],
    groups: tuple[Group, ...],
    seeds: int,
    thrice: bool,
    again: bool,
    models: Path,
    results: Path,
    train_only: bool,
    faults: bool,
) -> None:
    """Export the zoo's classifiers, and print what the gate said of each."""
    chosen = [
        (animal, seed)
        for animal in catalogue()
        for seed in range(seeds if animal.training else 1)
        if (not names or animal.name in names)
        and (not groups or animal.group in groups)
        and (not thrice or (animal.group == "layers" and animal.name in THRICE))
    ]
    if train_only:
        with progress_bar("Training", len(chosen)) as on_done:
            for animal, seed in chosen:
                animal.load(seed, models)
                on_done(1)
        return
    found: dict[str, dict[str, Any]] = json.loads(results.read_text()) if results.exists() else {}
    with progress_bar("Zoo", len(chosen)) as on_done:
        for animal, seed in chosen:
            key = _key(animal, seed, faults=faults)
            if again or key not in found:
                found[key] = (
                    score_faults(animal, seed, models, ignore_progress) if faults else measure(animal, seed, models)
                )
                results.parent.mkdir(parents=True, exist_ok=True)
                _write(found, results)
            on_done(1)
    shown = [found[_key(animal, seed, faults=faults)] for animal, seed in chosen]
    sys.exit(_show_faults(shown) if faults else _show_exports(shown))


def _write(found: dict[str, dict[str, Any]], results: Path) -> None:
    """Keep the records, and the page about them beside them."""
    lines = [f"{json.dumps(key)}: {json.dumps(record, sort_keys=True)}" for key, record in sorted(found.items())]
    results.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    results.with_suffix(".md").write_text(page(found), encoding="utf-8")


def _key(animal: Animal, seed: int, *, faults: bool) -> str:
    return f"{animal.group}/{animal.name}/{seed}{'/faults' if faults else ''}"


def _show_exports(records: list[dict[str, Any]]) -> bool:
    """Print what came of the exports; whether an honest one was refused."""
    print_table([row for record in records for row in _rows(record)], header=_HEADER)
    alarms = [record for record in records if any(not each["passed"] for each in record.get("variants", {}).values())]
    click.echo(f"{len(alarms)} refused of {len(records)}")
    return bool(alarms)


def _show_faults(records: list[dict[str, Any]]) -> bool:
    """Print each fault that was missed, or found at another stage, and the score; whether one was missed."""
    tried = [(record, fault) for record in records for fault in record.get("faults", [])]
    missed = [(record, fault) for record, fault in tried if not fault["caught"]]
    elsewhere = [(record, fault) for record, fault in tried if fault["caught"] and not fault["right_stage"]]
    rows = [
        (record["name"], fault["fault"], verdict, fault["stage"] or "", ", ".join(fault["checks"]))
        for verdict, found in (("MISSED", missed), ("elsewhere", elsewhere))
        for record, fault in found
    ]
    print_table(rows, header=("network", "fault", "", "stage", "failed checks"))
    total, caught, right = score(records)
    click.echo(
        f"{caught} of {total} faults caught ({caught / total:.1%}), {right} at the right stage ({right / total:.1%}), "
        f"in {len(records)} networks"
    )
    return bool(missed)


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
