"""Times an export with int8, step by step, from a Keras file to a bundle with its report.

    python -m benchmarks.export.export_time my.keras PICTURES [--scaling unit] [--rounds 3]

Each round runs in its own process. Prints the medians, and the total with and without tf2onnx.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from signs_export.config import SCALINGS, ExportConfig, Scaling
from signs_runtime.commands.shared import print_json, print_table

CONVERSION = "Converting with tf2onnx"
START, OTHER = "Starting and loading the model", "Other: checks, pages, files"


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data")
@click.option("--scaling", type=click.Choice(SCALINGS))
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--once", is_flag=True, hidden=True)
def main(model: Path, data: str, scaling: Scaling | None, rounds: int, once: bool) -> None:
    """Time the export of MODEL, proved on DATA."""
    if once:
        print_json(export_once(model, data, scaling))
        return
    command = [
        sys.executable,
        "-m",
        "benchmarks.export.export_time",
        str(model),
        data,
        "--once",
        *(("--scaling", scaling) if scaling else ()),
    ]
    taken = []
    for _ in range(rounds):
        before = time.perf_counter()
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        taken.append({**json.loads(result.stdout), "whole": time.perf_counter() - before})
    medians = {step: statistics.median(each[step] for each in taken) for step in taken[0]}
    whole = medians.pop("whole")
    medians[START] += whole - sum(medians.values())  # Python's own start and end
    print_table([(step, f"{seconds:.1f} s") for step, seconds in medians.items()], header=("step", "median"))
    click.echo(f"\ntotal: {whole:.1f} s; without tf2onnx: {whole - medians[CONVERSION]:.1f} s")


def export_once(model: Path, data: str, scaling: Scaling | None) -> dict[str, float]:
    """Export like the command, and return the seconds of each step."""
    start = time.perf_counter()
    steps = {START: 0.0}

    @contextmanager
    def timed(step: str, total: int) -> Iterator[Callable[[int], None]]:
        before = time.perf_counter()
        yield lambda done: None
        steps[step] = steps.get(step, 0.0) + time.perf_counter() - before

    from signs_builder.commands.shared import start_keras

    start_keras()
    from signs_builder.data.sources import load_dataset
    from signs_builder.network.model_file import load_model
    from signs_export.export import export_bundle
    from signs_export.job import Job
    from signs_export.source.reference import examine

    reference = examine(load_model(model), scaling=scaling)
    dataset = load_dataset(data)
    steps[START] = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        config = ExportConfig(variants=("fp32", "int8"))
        export_bundle(Job(reference, dataset, config, timed, warn=lambda doubt: None), Path(folder, "bundle"))
    steps[OTHER] = time.perf_counter() - start - sum(steps.values())
    return steps


if __name__ == "__main__":
    main()
