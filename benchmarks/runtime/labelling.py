"""Compares ways to label many pictures: `signs predict --csv`, `signs predict -o`, and `--engine ray` on 1 and 2 hosts.

    python -m benchmarks.runtime.labelling BUNDLE [--count 100000] [--rounds 1]

The pictures are JPEGs of drawn hands: `--distinct` of them, each under many names (hard links). Each candidate is a
process of its own, from its start to its end, and must give every picture the label that `--csv` gave. Memory is the
sum over all of a candidate's processes. Two virtual hosts have half of the cores each. Last comes a calculation: what
ten million pictures take on more hosts like this one, from what was measured here; what a short job costs is taken off.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset
from PIL import Image

from signs_builder.data.hands import draw_hands
from signs_runtime.commands.shared import print_table

PREDICT = [str(Path(sys.executable).with_name("signs")), "predict"]
MANY = 10_000_000
FEW = 4_000  # pictures of a job that shows what every job costs


@dataclass(frozen=True)
class Run:
    """What one run of a candidate took."""

    seconds: float
    megabytes: float  # at the peak, of all its processes
    driver_seconds: float  # CPU time of the process that was started
    labels: dict[str, str]
    parts: dict[str, float]  # seconds of listing, labelling and summing up, where the command says so


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--distinct", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ways = {"--csv": 0, "-o": 0, "-o --engine ray, 1 host": 1, "-o --engine ray, 2 hosts": 2}
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        pictures = draw(Path(folder) / "pictures", arguments.count, arguments.distinct)
        for i in range(arguments.rounds):
            for way, hosts in ways.items():
                print(f"round {i + 1} of {arguments.rounds}: {way}", file=sys.stderr, flush=True)
                with cluster(hosts, cores):
                    runs[way].append(measure(arguments.bundle, pictures / "all", way, Path(folder) / f"out{i}{hosts}"))
        few = measure(arguments.bundle, pictures / "few", "-o --engine ray", Path(folder) / "few")
    plain = statistics.median(run.seconds for run in runs["--csv"])
    expected = runs["--csv"][0].labels
    rows = []
    for way, taken in runs.items():
        seconds = statistics.median(run.seconds for run in taken)
        same = sum(run.labels.get(picture) == label for run in taken for picture, label in expected.items())
        peak = max(run.megabytes for run in taken)
        speed = f"{arguments.count / seconds:,.0f}"
        labels = f"{same:,} of {len(taken) * len(expected):,}"
        rows.append((way, f"{seconds:.1f}", speed, f"{plain / seconds:.2f}", f"{peak:.0f}", labels))
    print_table(rows, ("way", "seconds", "pictures/s", "of --csv", "peak MB", "same labels"))
    print()
    calculate(runs["-o --engine ray, 1 host"][-1], arguments.count, few, cores)


def draw(folder: Path, count: int, distinct: int) -> Path:
    """`count` JPEGs, in folders of a thousand in the folder "all", and FEW of them in "few"."""
    images, labels = draw_hands(min(count, distinct), seed=0)
    made: list[Path] = []
    for i in range(count):
        path = folder / "all" / f"{i // 1000:04d}" / f"{labels[i % len(images)]}_{i:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < len(images):
            Image.fromarray(images[i]).save(path, quality=92)
            made.append(path)
        else:
            path.hardlink_to(made[i % len(made)])
    (folder / "few").mkdir()
    for i in range(min(count, FEW)):
        (folder / "few" / f"{i:07d}.jpg").hardlink_to(made[i % len(made)])
    return folder


@contextmanager
def cluster(hosts: int, cores: int) -> Iterator[None]:
    """A cluster of virtual hosts, if there are to be two or more."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    if hosts < 2:
        yield
        return
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": max(1, cores // hosts)})
    try:
        for _ in range(hosts - 1):
            started.add_node(num_cpus=max(1, cores // hosts))
        os.environ["RAY_ADDRESS"] = started.address
        yield
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        started.shutdown()


def measure(bundle: Path, pictures: Path, way: str, out: Path) -> Run:
    """Run one candidate from its start to its end."""
    options = ["--csv"] if way == "--csv" else ["--json", "-o", str(out)]
    if "ray" in way:
        options += ["--engine", "ray"]
    before = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen([*PREDICT, str(bundle), str(pictures), *options], stdout=said)
        watch = Watch(child.pid, below=os.getpid() if way.endswith("2 hosts") else child.pid)
        watch.start()
        code = child.wait()
        seconds = time.perf_counter() - before
        watch.end()
        if code:
            raise SystemExit(f"{way} ended with {code}")
        said.seek(0)
        if way == "--csv":
            labels = {row["picture"]: row["label"] for row in csv.DictReader(said)}
            return Run(seconds, watch.peak, watch.driver_seconds, labels, {})
        parts = json.load(said)["seconds"]
    table = pyarrow.dataset.dataset(out, format="parquet").to_table(columns=["picture", "label"])
    labels = dict(zip(table["picture"].to_pylist(), table["label"].to_pylist(), strict=True))
    return Run(seconds, watch.peak, watch.driver_seconds, labels, parts)


class Watch(threading.Thread):
    """Samples the memory (PSS) of all processes from `below` on, without this one, and a process's CPU time."""

    def __init__(self, pid: int, *, below: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._below, self._ended = pid, below, threading.Event()
        self.peak = self.driver_seconds = 0.0

    def run(self) -> None:
        while not self._ended.wait(0.5):
            self.peak = max(self.peak, sum(map(self._megabytes, self._processes())))
            fields = self._read(self._pid, "stat").rpartition(")")[2].split()
            if fields:
                self.driver_seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _processes(self) -> list[int]:
        parents: dict[int, int] = {}
        for path in Path("/proc").glob("[0-9]*"):
            pid = int(path.name)
            if fields := self._read(pid, "stat").rpartition(")")[2].split():
                parents[pid] = int(fields[1])
        found = {self._below}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {os.getpid()})

    @staticmethod
    def _read(pid: int, name: str) -> str:
        try:
            return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
        except OSError:  # it has ended
            return ""

    def _megabytes(self, pid: int) -> float:
        lines = self._read(pid, "smaps_rollup").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def calculate(run: Run, count: int, few: Run, cores: int) -> None:
    """Print what ten million pictures take on more hosts: one host's figures, less those of a job of few pictures."""
    more = max(1, count - FEW)
    listing, labelling, summary = (
        max(0.0, run.parts[name] - few.parts[name]) / more for name in ("listing", "labelling", "summary")
    )
    start = few.seconds - FEW * (listing + labelling + summary)
    driver = max(0.0, run.driver_seconds - few.driver_seconds) / more  # listing and summing up included
    rows: list[tuple[Any, ...]] = []
    for hosts in (1, 10, 100, 1000):
        serial = start + MANY * (listing + summary)
        parallel = max(MANY * labelling / hosts, MANY * driver)
        limit = "workers" if MANY * labelling / hosts > MANY * driver else "the driver"
        total = serial + parallel
        core_hours = total * hosts * cores / 3600
        rows.append((f"{hosts}", f"{total / 60:,.1f}", f"{serial / total:.0%}", f"{core_hours:,.1f}", limit))
    print_table(rows, (f"hosts of {cores} cores", "minutes", "start, listing, summary", "core hours", "limited by"))
    most = f"{labelling / driver:,.0f}" if driver else "any number of"
    print(
        f"Calculated for {MANY:,} pictures, from {start:.0f} s to start, {1e6 * listing:.0f} us to list one, "
        f"{1e6 * labelling:.0f} us to label it on {cores} cores and {1e6 * summary:.1f} us to sum it up. The driver "
        f"uses {1e6 * driver:.0f} us of CPU for each, and so keeps at most {most} such hosts busy."
    )


if __name__ == "__main__":
    main()
