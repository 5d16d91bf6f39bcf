"""Fuzzes the doors through which bytes from outside come in, with atheris: `python -m tests.fuzz.fuzz --seconds 600`.

A finding is an exception that is no SignsError, a dead process, more than 5 s or more than 1 GiB. Its input is kept.
Runs add up: the corpus that was found and the counts stay in the folder of `--work`.
"""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import click

from .board import BOARD_BYTES, Numbers
from .doors import DOORS, Door

ROOT = Path(__file__).parents[2]
_SLICE = 120  # seconds of one process: a fresh one has no memory that earlier cases left behind
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass
class Stats:
    """What was done at a door so far, over all runs."""

    cases: int = 0
    seconds: float = 0.0  # of CPU
    coverage: int = 0  # edges of instrumented Python code
    corpus: int = 0  # inputs that showed something new
    starts: int = 0  # of processes
    peak_memory: int = 0  # bytes of RSS
    slowest: float = 0.0  # seconds of CPU
    findings: dict[str, int] = field(default_factory=dict)  # what happened -> how often

    @property
    def rate(self) -> float:
        """Cases in a second."""
        return self.cases / self.seconds if self.seconds else 0.0


class Runner:
    """Runs the processes of one door, one after the other."""

    def __init__(self, door: Door, work: Path, stats: Stats) -> None:
        self.door, self.folder, self.stats = door, work / door.name, stats
        self.corpus, self.findings = self.folder / "corpus", self.folder / "findings"
        for each in (self.corpus, self.findings):
            each.mkdir(parents=True, exist_ok=True)

    def run(self, seconds: float) -> None:
        """Fuzz until this door's processes have used so much CPU in this run."""
        end = self.stats.seconds + seconds
        while (left := end - self.stats.seconds) > 1:
            before = self.stats.seconds
            self.one_process(max(2, min(_SLICE, int(left))))
            if self.stats.seconds - before < 0.01:
                raise click.ClickException(f"the fuzzer of {self.door.name} does not start: see {self.folder / 'log'}")

    def one_process(self, seconds: int) -> None:
        board, log = self.folder / "board", self.folder / "log"
        board.write_bytes(bytes(BOARD_BYTES))
        seed = self.stats.starts + int(time.time()) % 10**6 + 1
        with log.open("wb") as output:
            command = ["-m", "tests.fuzz.worker", self.door.name, str(board), str(self.corpus), str(seconds), str(seed)]
            process = subprocess.run(
                [sys.executable, "-X", "faulthandler", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        numbers, text = Numbers(board), log.read_text(errors="replace")
        stats = self.stats
        stats.starts += 1
        stats.cases += numbers.cases
        stats.seconds += numbers.seconds
        stats.peak_memory = max(stats.peak_memory, numbers.peak)
        if numbers.slowest > stats.slowest:
            stats.slowest = numbers.slowest
            (self.folder / "slowest").write_bytes(numbers.slowest_input)
        if reached := _COVERAGE.findall(text):
            stats.coverage = max(stats.coverage, int(reached[-1][0]))
        stats.corpus = len(list(self.corpus.iterdir()))
        if process.returncode:
            self.keep(numbers.input, text, process.returncode)

    def keep(self, data: bytes, text: str, code: int) -> None:
        """Write a finding down: its input, and the end of what the process said."""
        what = _summary(text, code)
        self.stats.findings[what] = self.stats.findings.get(what, 0) + 1
        name = sha256(data).hexdigest()[:16]
        (self.findings / name).write_bytes(data)
        (self.findings / f"{name}.txt").write_text(f"{what}\n\n{text[-8000:]}", errors="replace")


def _summary(text: str, code: int) -> str:
    """What a process died of, in a line: a native signal before a Python exception."""
    for pattern in (r"Uncaught Python exception: ===\n([^\n]{1,200})", r"ERROR: libFuzzer: ([^\n]{1,100})"):
        if found := re.search(pattern, text):
            return re.sub(r"0x[0-9a-f]+|\d{4,}", "#", found[1])
    return f"exit code {code}"


@click.command()
@click.option("--seconds", type=click.IntRange(min=4), default=60, show_default=True, help="CPU time over all doors.")
@click.option("--door", "names", type=click.Choice(list(DOORS)), multiple=True, help="Only this one; may be repeated.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Doors at once.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("fuzz"), show_default=True, help="What is kept.")
@click.option("--stats", "stats_file", type=click.Path(path_type=Path), help="[default: stats.json in there]")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def fuzz(seconds: int, names: tuple[str, ...], jobs: int, work: Path, stats_file: Path | None, as_json: bool) -> None:
    """Fuzz what reads pictures and bundles; exit code 1 where there are findings."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    stats_file = stats_file or work / "stats.json"
    known = json.loads(stats_file.read_text()) if stats_file.exists() else {}
    stats = {name: Stats(**known.get(name, {})) for name in DOORS}
    doors = [DOORS[name] for name in names or DOORS]
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(Runner(door, work, stats[door.name]).run, seconds / len(doors)) for door in doors]
        try:
            for each in runs:
                each.result()
        finally:
            _write(stats_file, json.dumps({name: asdict(each) for name, each in stats.items()}, indent=2) + "\n")
    total = Stats(
        cases=sum(each.cases for each in stats.values()),
        seconds=sum(each.seconds for each in stats.values()),
        coverage=sum(each.coverage for each in stats.values()),
        corpus=sum(each.corpus for each in stats.values()),
        starts=sum(each.starts for each in stats.values()),
        peak_memory=max(each.peak_memory for each in stats.values()),
        slowest=max(each.slowest for each in stats.values()),
        findings={f"{name}: {what}": n for name, each in stats.items() for what, n in each.findings.items()},
    )
    if as_json:
        click.echo(json.dumps({name: asdict(each) for name, each in {**stats, "total": total}.items()}, indent=2))
    else:
        _print_table({**stats, "total": total})
    sys.exit(1 if total.findings else 0)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _print_table(stats: dict[str, Stats]) -> None:
    click.echo(
        f"{'door':10}{'cases':>12}{'CPU s':>9}{'/s':>7}{'edges':>8}{'corpus':>8}{'MiB':>6}{'slowest s':>11}  findings"
    )
    for name, each in stats.items():
        click.echo(
            f"{name:10}{each.cases:>12,}{each.seconds:>9.0f}{each.rate:>7.0f}{each.coverage:>8,}{each.corpus:>8,}"
            f"{each.peak_memory / 2**20:>6.0f}{each.slowest:>11.2f}  {sum(each.findings.values())}"
        )
    for what, n in stats["total"].findings.items():
        click.echo(f"{n} x {what}")


if __name__ == "__main__":
    fuzz()
