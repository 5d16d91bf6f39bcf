"""Compares all runtimes on one Keras model, in one table: milliseconds, start, memory, size and labels.

    python -m benchmarks.peers my.keras path/to/pictures --scaling unit [--pictures OTHERS] [--write docs]

Each candidate runs in its own process, in interleaved rounds; times are medians. Labels are compared to Keras's, on the
test pictures or on those of --pictures. The peers run in `.venv-peers`, which `make peers` creates.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.limit import limit_of
from benchmarks.peers.page import write_page
from signs_builder.data.dataset import Split
from signs_builder.data.sources import load_dataset
from signs_runtime.commands.shared import print_table
from signs_runtime.pictures.find import find_pictures
from signs_runtime.pictures.input_spec import InputSpec

WORKER = Path(__file__).with_name("worker.py")
PEERS = Path(".venv-peers/bin/python")
CELLS = ((2, 1), (1, 1), (2, 16), (1, 16))  # threads, batch
SECONDS = 0.7  # of a round
PROCESSES = 3  # of each candidate, one after the other: memory layout alone changes a process's speed by a tenth
STARTS = 3
CALIBRATION = 200


@dataclass(frozen=True)
class Candidate:
    """A runtime with a model file."""

    name: str
    precision: str  # of its weights
    kind: str  # one of `worker.KINDS`
    file: Path
    python: Path
    others: tuple[Path, ...] = ()  # files that belong to it

    @property
    def bytes(self) -> int:
        return sum(each.stat().st_size for each in (self.file, *self.others))


@dataclass
class Measured:
    """What was measured of a candidate; times in ms by cell, "threads x batch"."""

    name: str
    precision: str
    bytes: int
    start: float = 0.0  # seconds from the start of the process to the first answer
    peak_memory: int = 0  # bytes, at the first answer
    median: dict[str, float] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)  # the 95th percentile
    same_label: int = 0
    mean_difference: float = 0.0  # of a probability from Keras's
    pictures: int = 0


class Process:
    """The process of a candidate; it ends with the context."""

    def __init__(self, candidate: Candidate, threads: int, spec: InputSpec) -> None:
        words = [candidate.kind, candidate.file, threads, spec.height, spec.width]
        command = [str(candidate.python), str(WORKER), *map(str, words)]
        self._begun = time.perf_counter()
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed by __exit__
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._said, text=True)
        self.peak_memory = int(self._hear()["peak_memory"])
        self.start = time.perf_counter() - self._begun

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()
        self._said.close()

    def ask(self, *words: object) -> Any:  # Any: JSON
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            sys.exit(f"{self._process.args!r} ended:\n{self._said.read()[-2000:]}")
        return json.loads(line)


def candidates(bundle: Path, peers: Path) -> list[Candidate]:
    """All candidates, by precision of the weights."""
    own = Path(sys.executable)
    ours = {name: bundle / f"{name}.onnx" for name in ("fp32", "int8", "int8-gemm")}
    xml = {name: (peers / f"{name}.xml", (peers / f"{name}.bin",)) for name in ("openvino", "nncf")}
    every = [
        Candidate("signs-edge", "int8", "signs", ours["int8"], own),
        Candidate("signs-edge, int8-gemm", "int8", "signs", ours["int8-gemm"], own),
        Candidate("signs-edge, device openvino", "int8", "signs_openvino", ours["int8"], PEERS),
        Candidate("LiteRT", "int8", "litert", peers / "int8.tflite", PEERS),
        Candidate("OpenVINO, NNCF", "int8", "openvino", xml["nncf"][0], PEERS, xml["nncf"][1]),
        Candidate("OpenVINO on our file", "int8", "openvino", ours["int8"], PEERS),
        Candidate("onnxruntime on our file", "int8", "onnxruntime", ours["int8"], own),
        Candidate("onnxruntime, quantize_static", "int8", "onnxruntime", peers / "quantize_static.onnx", own),
        Candidate("signs-edge", "fp32", "signs", ours["fp32"], own),
        Candidate("signs-edge, device openvino", "fp32", "signs_openvino", ours["fp32"], PEERS),
        Candidate("LiteRT", "fp32", "litert", peers / "fp32.tflite", PEERS),
        Candidate("OpenVINO", "fp32", "openvino", xml["openvino"][0], PEERS, xml["openvino"][1]),
        Candidate("onnxruntime on tf2onnx's file", "fp32", "onnxruntime", peers / "tf2onnx.onnx", own),
        Candidate("TensorFlow, traced", "fp32", "tensorflow", peers / "keras.keras", own),
        Candidate("Keras predict", "fp32", "keras", peers / "keras.keras", own),
        Candidate("OpenVINO, its own choice", "own", "openvino_auto", xml["openvino"][0], PEERS, xml["openvino"][1]),
    ]
    return [each for each in every if each.file.exists()]  # int8 may have been left out


def measure(those: list[Candidate], spec: InputSpec, rounds: int, images: NDArray[np.uint8]) -> list[Measured]:
    """Time all candidates in every cell, in interleaved rounds, and compare their labels to Keras's."""
    found = [Measured(each.name, each.precision, each.bytes) for each in those]
    starts: list[list[float]] = [[] for _ in those]
    for round_ in range(1 + STARTS):
        for i, each in enumerate(those):
            with Process(each, 2, spec) as process:
                if round_ == 0:  # the first start may fill a runtime's cache
                    continue
                starts[i].append(process.start)
                found[i].peak_memory = max(found[i].peak_memory, process.peak_memory)
    for one, taken in zip(found, starts, strict=True):
        one.start = statistics.median(taken)
    answers = _answers(those, spec, images)
    (keras,) = (given for each, given in zip(those, answers, strict=True) if each.kind == "keras")
    for one, given in zip(found, answers, strict=True):
        one.pictures, one.same_label = len(images), int((given.argmax(axis=1) == keras.argmax(axis=1)).sum())
        one.mean_difference = float(np.abs(given - keras).mean())
    samples: dict[str, list[list[tuple[float, float]]]] = {_cell(*cell): [[] for _ in those] for cell in CELLS}
    for _ in range(PROCESSES):
        for threads in sorted({threads for threads, _ in CELLS}):
            with ExitStack() as stack:
                processes = [stack.enter_context(Process(each, threads, spec)) for each in those]
                for batch in (batch for own, batch in CELLS if own == threads):
                    _time_cell(batch, processes, samples[_cell(threads, batch)], rounds)
    for cell, of_cell in samples.items():
        for one, own in zip(found, of_cell, strict=True):
            one.median[cell] = statistics.median(median for median, _ in own)
            one.late[cell] = statistics.median(late for _, late in own)
        shown = ", ".join(f"{one.name} {one.precision} {one.median[cell]:.2f}" for one in found)
        print(f"{cell}: {shown}", file=sys.stderr)
    return found


def _cell(threads: int, batch: int) -> str:
    return f"{threads} x {batch}"


def _time_cell(batch: int, processes: list[Process], taken: list[list[tuple[float, float]]], rounds: int) -> None:
    """Time all of them `rounds` times, each time from another one on: who comes first may follow a heavy neighbour."""
    pairs = list(zip(taken, processes, strict=True))
    for round_ in range(rounds):
        first = round_ * len(pairs) // rounds
        for own, process in (*pairs[first:], *pairs[:first]):
            own.append(process.ask("run", batch, SECONDS))


def _answers(those: list[Candidate], spec: InputSpec, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    with tempfile.TemporaryDirectory() as folder:
        asked, given = Path(folder, "images.npy"), Path(folder, "answers.npy")
        np.save(asked, images)
        answers = []
        for each in those:
            with Process(each, 2, spec) as process:
                process.ask("answer", asked, given)
            answers.append(np.load(given))
    return answers


def _limits(bundle: Path) -> dict[str, dict[str, float]]:
    """The least time that a picture can take on this machine, in ms, by precision and cell."""
    limits: dict[str, dict[str, float]] = {}
    for name in ("int8", "fp32"):
        if not (bundle / f"{name}.onnx").exists():
            continue
        of_threads = {
            threads: limit_of(bundle / "fp32.onnx", bundle / f"{name}.onnx", threads, in_int8=name == "int8")
            for threads in {threads for threads, _ in CELLS}
        }
        limits[name] = {_cell(threads, batch): of_threads[threads].milliseconds(batch) for threads, batch in CELLS}
    return limits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--scaling", default="none")
    parser.add_argument("--pictures", type=Path, help="A folder of any pictures, to compare labels on.")
    parser.add_argument(
        "--folder", type=Path, default=Path("bench/peers"), help="Folder for the files; existing ones are used again."
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="Write peers.json, peers.md and peers.svg into this folder.")
    arguments = parser.parse_args()
    made_of = hashlib.sha256(arguments.model.read_bytes() + arguments.scaling.encode()).hexdigest()[:12]
    folder = arguments.folder / made_of
    bundle = folder / "bundle"
    folder.mkdir(parents=True, exist_ok=True)
    if not bundle.exists():
        signs = Path(sys.executable).with_name("signs")
        words = ["export", arguments.model, arguments.data, "--scaling", arguments.scaling, "--int8", "-o", bundle]
        subprocess.run([signs, *words], check=True)
    from signs_runtime.bundle.folder import open_bundle

    manifest = open_bundle(bundle).manifest
    spec = manifest.input
    dataset = load_dataset(arguments.data, model_given=True)
    if not (folder / "nncf.xml").exists():
        chosen = dataset.all_but_test
        np.save(folder / "calibration.npy", chosen.part(chosen.mixed()[:CALIBRATION]).images(spec))
        prepare = [sys.executable, "-m", "benchmarks.peers.prepare", "keras"]
        subprocess.run([*prepare, arguments.model, folder, arguments.scaling], check=True)
        subprocess.run([PEERS, WORKER.with_name("prepare.py"), "openvino", folder], check=True)
    compared = dataset.test
    if arguments.pictures is not None:
        files = find_pictures([arguments.pictures]).pictures
        compared = Split(files, np.zeros(len(files), np.int64))
    found = measure(candidates(bundle, folder), spec, arguments.rounds, compared.images(spec))
    limits = _limits(bundle)
    cells = list(found[0].median)
    print_table(
        [
            (
                f"{one.name} {one.precision}",
                *(f"{one.median[cell]:.2f}" for cell in cells),
                f"{one.start:.2f}",
                f"{one.peak_memory / 1e6:.0f}",
                f"{one.bytes / 1e6:.1f}",
                f"{one.same_label} of {one.pictures}",
                f"{one.mean_difference:.1e}",
            )
            for one in found
        ]
        + [
            (f"the machine's limit {name}", *(f"{own[cell]:.2f}" for cell in cells), "", "", "", "", "")
            for name, own in limits.items()
        ],
        header=(
            "candidate",
            *(f"{cell} ms" for cell in cells),
            "start s",
            "peak MB",
            "file MB",
            "Keras's label",
            "difference",
        ),
    )
    if arguments.write is not None:
        size = f"{spec.height}x{spec.width}"
        every = [asdict(one) for one in found]
        document = {"data": dataset.name, "size": size, "candidates": every, "limits": limits}
        write_page(document, arguments.write)


if __name__ == "__main__":
    main()
