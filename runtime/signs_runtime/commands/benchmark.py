"""The command `signs benchmark`."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from signs_runtime.commands.options import bundle_argument
from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.engine.session import PROVIDERS
from signs_runtime.errors import EXIT_PARITY


@click.command(cls=Command)
@bundle_argument
@click.option(
    "--variant", "variants", multiple=True, show_default="all", help="Variant to measure; repeat it for several."
)
@click.option(
    "--device",
    type=click.Choice(list(PROVIDERS)),
    default="cpu",
    show_default=True,
    help="Device to run on; fails if it is unavailable.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    show_default="1, and as many as this process may use",
    help="Number of threads; repeat it for several.",
)
@click.option(
    "--batch-size",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 16),
    show_default=True,
    help="Pictures in one run of the model; repeat it for several.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How often each setting is timed; the median counts.",
)
@json_option
def benchmark(
    bundle: Path,
    variants: tuple[str, ...],
    device: str,
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    rounds: int,
    as_json: bool,
) -> None:
    """Measure BUNDLE on this device: speed, start, memory, and whether it answers as Keras did.

    Every variant runs in its own process, and the processes take turns. Times cover the model alone, not the reading
    of pictures. Nothing is saved: `signs tune` finds the fastest setting and saves it. Exit code 3 means that a variant
    does not answer as Keras did, 1 that one does not start.
    """
    from signs_runtime.bundle.folder import open_bundle
    from signs_runtime.engine.device import this_device
    from signs_runtime.engine.import_check import check_import
    from signs_runtime.placement.benchmark import BenchmarkConfig, thread_counts
    from signs_runtime.placement.benchmark import benchmark as measure

    check_import()
    config = BenchmarkConfig(variants, device, threads, batches, rounds)
    cells = len(thread_counts(config)) * len(set(batches))
    manifest = open_bundle(bundle).manifest
    count = len(set(variants) or manifest.variants) * cells * rounds
    with click.progressbar(length=count, label="Timing", file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
        found = measure(bundle, config, on_done=progress.update)
    here = this_device(device)
    passed = all(each.passed for each in found)
    exit_code = 0 if passed else EXIT_PARITY if any(each.wrong for each in found) else 1
    if as_json:
        of_each = [asdict(each) for each in found]
        print_json({"passed": passed, "digest": manifest.digest, "machine": asdict(here), "variants": of_each})
        sys.exit(exit_code)
    print_table(
        [
            (
                each.variant,
                f"{each.bytes / 1e6:.1f} MB",
                "" if each.seconds is None else f"{each.seconds:.2f} s",
                "unknown" if each.peak_memory is None else f"{each.peak_memory / 1e6:.0f} MB",
                ("passed: " if each.passed else "FAILED: ") + each.says,
            )
            for each in found
        ],
        header=("variant", "file", "start", "memory", "golden pictures"),
    )
    click.echo()
    print_table(
        [
            (
                each.variant,
                str(timing.threads),
                str(timing.batch),
                f"{timing.median:.2f} ms",
                f"{timing.late:.2f} ms",
                f"{1000 / timing.median:.0f}",
            )
            for each in found
            for timing in each.timings
        ],
        header=("variant", "threads", "batch", "per picture", "95% within", "pictures per second"),
    )
    click.echo(f"\n{here.cpu}, onnxruntime {here.onnxruntime}, {device}")
    sys.exit(exit_code)
