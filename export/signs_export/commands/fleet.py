"""The commands `signs fleet ...`: many devices at once."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from signs_runtime.commands.shared import Command, json_option, print_json, print_table
from signs_runtime.errors import EXIT_PARITY


@click.group()
def fleet() -> None:
    """Sum up what many devices found."""


@fleet.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="The bundle that every device should have; devices with another one count as failed.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page.")
@json_option
def report(folder: Path, bundle: Path | None, html: Path | None, as_json: bool) -> None:
    """Sum up the files in FOLDER that devices wrote with `signs verify --json` and `signs benchmark --json`.

    Give each device a folder of its own, or a file named after it. How the files get here is yours to choose: devices
    send nothing by themselves. Exit codes: 0 all passed, 1 an error with an explanation, 3 a device failed or has
    another bundle.
    """
    from signs_builder.disk import written_whole
    from signs_export.errors import ExportError
    from signs_export.fleet.devices import read_fleet
    from signs_export.fleet.page import fleet_page
    from signs_runtime.bundle.folder import open_bundle

    if not folder.is_dir():
        raise ExportError(f"{folder} is not a folder. Name the folder with the devices' JSON files.")
    expected = None if bundle is None else open_bundle(bundle).manifest.digest
    found = read_fleet(folder)
    if not found.devices:
        raise ExportError(f"{folder} has no file from `signs verify --json` or `signs benchmark --json`.")
    if html is not None:
        with written_whole(html) as partial:
            partial.write_text(fleet_page(found, expected), encoding="utf-8")
    others = [] if expected is None else found.others(expected)
    failed = [each for each in found.devices if not each.passed]
    if as_json:
        print_json(
            {
                "passed": not failed and not others,
                "devices": [asdict(each) for each in found.devices],
                "failed": [each.name for each in failed],
                "with_another_bundle": [each.name for each in others],
                "by_cpu": [asdict(each) for each in found.spreads()],
            }
        )
    else:
        bundles = [(digest or "unknown", str(count), str(bad)) for digest, count, bad in found.digests()]
        print_table(bundles, header=("bundle", "devices", "failed"))
        click.echo()
        print_table(
            [
                (
                    each.cpu,
                    each.variant,
                    str(each.devices),
                    str(each.failed),
                    "not timed" if each.milliseconds is None else "{:.2f}, {:.2f}, {:.2f}".format(*each.milliseconds),
                    "not proved" if each.max_difference is None else f"{each.max_difference:.1e}",
                )
                for each in found.spreads()
            ],
            header=("cpu", "variant", "devices", "failed", "ms: least, median, most", "largest difference"),
        )
        click.echo()
        for each in failed:
            click.echo("\n  ".join([f"{each.name} failed:", *each.failures]))
        if others:
            click.echo(f"With another bundle: {', '.join(each.name for each in others)}")
    if failed or others:
        sys.exit(EXIT_PARITY)
