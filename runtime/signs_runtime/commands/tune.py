"""The command `signs tune`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.engine.session import PROVIDERS

if TYPE_CHECKING:
    from signs_runtime.placement.profiles import Measurement
    from signs_runtime.placement.tune import Tuning

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
@click.option(
    "--max-memory",
    type=size,
    help="Only settings that fit into this memory, such as 150M, counted for a whole process.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    show_default="bursts, one picture after the other",
    help="The number of pictures a second that this device sees. Tunes for pictures that come one at a time.",
)
@json_option
def tune(
    bundle: Path,
    variants: tuple[str, ...],
    devices: tuple[str, ...],
    threads: tuple[int, ...],
    max_memory: int | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Find the fastest proved way to run BUNDLE on this device, and keep it for every later start.

    Every variant, device and number of threads must first answer the golden pictures as Keras did. Those that pass are
    timed side by side. This takes less than a minute and replaces an earlier result. `signs info BUNDLE` shows what a
    start then chooses. Bursts and pictures that come one at a time, as from a camera, are timed separately, because
    waiting threads fall asleep (--rate).
    """
    from signs_runtime.engine.import_check import check_import
    from signs_runtime.placement.tune import TuneConfig, to_json
    from signs_runtime.placement.tune import tune as find

    check_import()
    config = TuneConfig(variants or None, devices or None, threads or None, max_memory, rate)
    with click.progressbar(length=100, label="Tuning", file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
        steps = {"first look": (0, 50), "rounds": (50, 30), "batches": (80, 20)}

        def on_step(step: str, done: int, total: int) -> None:
            before, share = steps[step]
            progress.update(before + share * done // total - progress.pos)

        tuning = find(bundle, config, on_step=on_step)
    if as_json:
        print_json(to_json(tuning))
        return
    _show(tuning)


def _show(tuning: "Tuning") -> None:
    """A table of all settings, the winner marked, and what follows from it."""
    winner, profile = tuning.winner, tuning.profile
    fastest = winner.time(profile.rate) or 0.0
    print_table(
        [
            (
                "->" if _setting(each) == _setting(winner) else "",
                *_setting(each),
                _milliseconds(each.milliseconds),
                _milliseconds(each.lone_milliseconds),
                "" if (taken := each.time(profile.rate)) is None else _bar(taken / fastest),
                "unknown" if each.peak_memory is None else f"{each.peak_memory / 1e6:.0f} MB",
                ("passed: " if each.passed else "FAILED: ") + each.says,
            )
            for each in profile.measured
        ],
        header=("", "variant", "device", "threads", "in a burst", "alone", "", "memory", "golden pictures"),
    )
    if not tuning.is_kept:
        click.echo("\nNothing was kept: the cache folder cannot be written to; `signs doctor` says why.")
        return
    click.echo(
        f"\nFrom now on, what is left open is {_in_words(winner)}; streams take {profile.batch} pictures at once."
    )
    alone = min(
        (each for each in profile.measured if each.passed and each.lone_milliseconds is not None),
        key=lambda each: each.lone_milliseconds or 0.0,
        default=winner,
    )
    if profile.rate is None and _setting(alone) != _setting(winner):
        click.echo(f"For pictures that come alone, as a camera's do, {_in_words(alone)} is faster: see --rate.")


def _setting(each: "Measurement") -> tuple[str, str, str]:
    return each.variant, each.device, str(each.threads)


def _in_words(each: "Measurement") -> str:
    return f"{each.variant} on {each.device} with {each.threads} thread{'s' if each.threads > 1 else ''}"


def _milliseconds(taken: float | None) -> str:
    return "not timed" if taken is None else f"{taken:.2f} ms"


def _bar(times: float) -> str:
    """How many times the fastest's time, drawn."""
    return "█" * max(1, round(4 * min(times, 6.0)))
