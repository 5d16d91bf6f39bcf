"""The options of `signs predict`, in two groups: which model runs and how, and jobs that write Parquet files."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signs_runtime.commands.options import batch_size_option, device_option, threads_option, variant_option
from signs_runtime.commands.shared import gathered

if TYPE_CHECKING:
    from signs_runtime.classifier import Classifier


@dataclass(frozen=True)
class ModelOptions:
    """Which model runs, and how."""

    variant: str | None
    device: str
    threads: int | None
    batch: int | None
    threshold: float | None

    def open(self, bundle: Path) -> "Classifier":
        """The classifier that these options name."""
        from signs_runtime.classifier import Classifier

        return Classifier(
            bundle, variant=self.variant, device=self.device, threads=self.threads, threshold=self.threshold
        )


@dataclass(frozen=True)
class JobOptions:
    """Options of a job that writes Parquet files."""

    output: str | None = None
    resume: bool = False
    engine: str | None = None
    column: str | None = None
    block: int | None = None
    cpus: int | None = None

    def check(self, threads: int | None) -> None:
        """Refuse options that the engine does not have. Raises click.UsageError."""
        if self.engine and threads:
            raise click.UsageError("--threads is for this machine; on a cluster, pass --cpus-per-worker.")
        if self.cpus and not self.engine:
            raise click.UsageError("--cpus-per-worker is for clusters; pass --threads, or add --engine ray.")


model_options = gathered(
    "model",
    ModelOptions,
    (
        variant_option,
        device_option,
        threads_option,
        batch_size_option,
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1),
            help='Answer "unsure" below this probability.  [default: the bundle\'s own, or 0]',
        ),
    ),
)
job_options = gathered(
    "job",
    JobOptions,
    (
        click.option("-o", "--output", help="Folder for Parquet files with a row per picture; local, s3:// or gs://."),
        click.option("--resume", is_flag=True, help="Continue the job in -o: label only what has no rows yet."),
        click.option("--engine", type=click.Choice(["ray"]), help="Label on a Ray cluster, not on this machine alone."),
        click.option("--column", help="Column of Parquet files with the pictures.  [default: the one with bytes]"),
        click.option(
            "--block-size",
            "block",
            type=click.IntRange(min=1),
            show_default="2,000",
            help="Pictures in one Parquet file, and in one worker's turn.",
        ),
        click.option(
            "--cpus-per-worker",
            "cpus",
            type=click.IntRange(min=1),
            show_default="1",
            help="Cores of each worker of a cluster.",
        ),
    ),
)


def bar(pictures: int) -> Any:  # Any: click's ProgressBar
    """A progress bar on stderr, if that is a terminal."""
    return click.progressbar(length=pictures, label="Labelling", file=sys.stderr, hidden=not sys.stderr.isatty())
