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
    """Parse a number of bytes, such as 150000000 or 150M."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", value.lower())
    if found is None:
        raise click.BadParameter(f"{value!r} is not a size; use bytes, or a number with k, M or G, such as 150M.")
    return int(float(found[1]) * _UNITS[found[2]])


@click.command(cls=Command)
@bundle_argument
@click.option("--variant", "variants", multiple=True, show_default="all", help="Variant to try; repeat it for several.")
@click.option(
    "--device",
    "devices",
    type=click.Choice(list(PROVIDERS)),
    multiple=True,
    show_default="all",
    help="Device to try; repeat it for several.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    show_default="1, 2, 4, ... up to as many as this process may use",
    help="Number of threads to try; repeat it for several.",
)
@click.option(
    "--max-memory",
    type=size,
    help="Memory that a whole process may take, such as 150M; settings that take more are ruled out.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    show_default="bursts, one picture right after the other",
    help="Tune for pictures that come one at a time, this many per second, such as 0.5.",
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
    """Find the fastest proved way to run BUNDLE on this device, and save it for every later start.

    Every variant, device and number of threads must first answer the golden pictures as Keras did. Those that pass are
    timed side by side. This takes about a minute and replaces an earlier result. `signs info BUNDLE` shows which
    setting a start then chooses. Bursts are timed apart from pictures that come one at a time, as from a camera
    (--rate), because waiting threads fall asleep.
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
    """Print a table of all settings with the winner marked, and what later starts will use."""
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
        click.echo("\nThe result was not saved: the cache folder cannot be written to. `signs doctor` shows why.")
        return
    click.echo(f"\nFrom now on, unset options take {_in_words(winner)}; streams run in batches of {profile.batch}.")
    alone = min(
        (each for each in profile.measured if each.passed and each.lone_milliseconds is not None),
        key=lambda each: each.lone_milliseconds or 0.0,
        default=winner,
    )
    if profile.rate is None and _setting(alone) != _setting(winner):
        click.echo(
            f"For pictures that come one at a time, as from a camera, {_in_words(alone)} is faster; "
            "use --rate to tune for them."
        )


def _setting(each: "Measurement") -> tuple[str, str, str]:
    return each.variant, each.device, str(each.threads)


def _in_words(each: "Measurement") -> str:
    return f"{each.variant} on {each.device} with {each.threads} thread{'s' if each.threads > 1 else ''}"


def _milliseconds(taken: float | None) -> str:
    return "not timed" if taken is None else f"{taken:.2f} ms"


def _bar(times: float) -> str:
    """Draw how many times as long as the fastest this takes."""
    return "█" * max(1, round(4 * min(times, 6.0)))
