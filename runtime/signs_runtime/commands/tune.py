"""The command `signs tune`."""

import re
import sys
from pathlib import Path

import click

from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.engine.session import PROVIDERS

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def size(value: str) -> int:
    """Read bytes, as 150000000 or 150M."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value.lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is no size; give bytes, or a number with k, M or G, such as 150M.")
    return int(float(found[1]) * _UNITS[found[2]])


@click.command(cls=Command)
@bundle_argument
@click.option(
    "--variant", "variants", multiple=True, show_default="all", help="Only this variant; may be given several times."
)
@click.option(
    "--device",
    "devices",
    type=click.Choice(list(PROVIDERS)),
    multiple=True,
    show_default="all",
    help="Only this device; may be given several times.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    show_default="1, 2, 4, ... and all that are allowed",
    help="Only this many threads; may be given several times.",
)
@click.option("--max-memory", type=size, help="Only what fits, such as 150M: a whole process with the model in it.")
@json_option
def tune(
    bundle: Path,
    variants: tuple[str, ...],
    devices: tuple[str, ...],
    threads: tuple[int, ...],
    max_memory: int | None,
    as_json: bool,
) -> None:
    """Find the fastest proved way to run BUNDLE on this device, and keep it for every later start.

    Every variant, device and number of threads must first answer the golden pictures as Keras did; what passes is timed
    side by side. Takes less than a minute, and replaces what was kept before. `signs info BUNDLE` shows what a start
    then chooses.
    """
    from signs_runtime.placement.tune import TuneConfig, to_json
    from signs_runtime.placement.tune import tune as find

    config = TuneConfig(variants or None, devices or None, threads or None, max_memory)
    with click.progressbar(length=100, label="Tuning", file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
        steps = {"first look": (0, 50), "rounds": (50, 30), "batches": (80, 20)}

        def on_step(step: str, done: int, total: int) -> None:
            before, share = steps[step]
            progress.update(before + share * done // total - progress.pos)

        tuning = find(bundle, config, on_step=on_step)
    if as_json:
        print_json(to_json(tuning))
        return
    fastest = tuning.winner.milliseconds or 0.0
    print_table(
        [
            (
                "->"
                if each.variant == tuning.winner.variant
                and (each.device, each.threads) == (tuning.winner.device, tuning.winner.threads)
                else "",
                each.variant,
                each.device,
                str(each.threads),
                "not timed" if each.milliseconds is None else f"{each.milliseconds:.2f} ms",
                "" if each.milliseconds is None else _bar(each.milliseconds / fastest),
                "unknown" if each.peak_memory is None else f"{each.peak_memory / 1e6:.0f} MB",
                ("passed: " if each.passed else "FAILED: ") + each.says,
            )
            for each in tuning.profile.measured
        ],
        header=("", "variant", "device", "threads", "a picture", "", "memory", "golden pictures"),
    )
    winner = tuning.winner
    click.echo(
        f"\nFrom now on, what is left open is {winner.variant} on {winner.device} with {winner.threads} "
        f"thread{'s' if winner.threads > 1 else ''}; streams take {tuning.profile.batch} pictures at once."
        if tuning.is_kept
        else "\nNothing was kept: the cache folder cannot be written to; `signs doctor` says why."
    )


def _bar(times: float) -> str:
    """How many times the fastest's time, drawn."""
    return "█" * max(1, round(4 * min(times, 6.0)))
