"""Compares `signs serve` with a plain loop over `predict`: pictures a second, latencies, memory over many requests.

    python -m benchmarks.runtime.serving BUNDLE PICTURES [--clients 8] [--requests 10000]

Rounds of the loop and of the clients take turns; each is a process of its own. The clients send whole files, each on
one connection, and share the cores with the server. Then they send `--requests` more: every answer must be the loop's,
and the server's memory is read before and after.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from signs_runtime.commands.shared import print_table
from signs_runtime.pictures.find import find_pictures

LOOP = """
import json, sys, time
from pathlib import Path
from signs_runtime import Classifier
bundle, seconds, *files = sys.argv[1:]
classifier = Classifier(bundle)
for file in files[:20]: classifier.predict(file)
labels = {file: classifier.predict(file).label for file in files}
taken, i, end = [], 0, time.perf_counter() + float(seconds)
while (before := time.perf_counter()) < end:
    classifier.predict(files[i % len(files)])
    taken.append(time.perf_counter() - before)
    i += 1
print(json.dumps([taken, labels]))
"""
CLIENTS = """
import json, sys, threading, time
from http.client import HTTPConnection
port, clients, seconds, *files = sys.argv[1:]
contents = [open(file, "rb").read() for file in files]
taken, wrong = [], []
def ask(start):
    connection, i, end = HTTPConnection("127.0.0.1", int(port)), start, time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        before = time.perf_counter()
        connection.request("POST", "/predict", contents[i % len(files)])
        response = connection.getresponse()
        response.read()
        taken.append(time.perf_counter() - before)
        if response.status != 200: wrong.append(response.status)
        i += 1
def watched(i):
    try: ask(i)
    except Exception as error: wrong.append(repr(error))
threads = [threading.Thread(target=watched, args=(i,)) for i in range(int(clients))]
for each in threads: each.start()
for each in threads: each.join()
print(json.dumps([taken, wrong]))
"""


class Server:
    """`signs serve` on a free port."""

    def __init__(self, bundle: Path) -> None:
        command = [str(Path(sys.executable).with_name("signs")), "serve", str(bundle), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        found = re.search(r":(\d+)\. ", said)
        if found is None:
            sys.exit(said + self.process.stderr.read())
        self.port = int(found[1])
        while http_get(self.port, "/v2/health/ready") != 200:
            time.sleep(0.1)

    def memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1000


def http_get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    return connection.getresponse().status


def run(code: str, *words: object) -> tuple[list[float], object]:
    """The seconds of each picture, and what else the process says."""
    command = [sys.executable, "-c", code, *map(str, words)]
    taken, other = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return taken, other


def ask_all(port: int, files: Sequence[Path], labels: dict[str, str], count: int, clients: int) -> int:
    """Send `count` requests from several threads; the number that did not get the loop's answer."""
    right = [0] * clients
    contents = [file.read_bytes() for file in files]

    def ask(own: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for i in range(own, count, clients):
            connection.request("POST", "/predict", contents[i % len(files)])
            response = connection.getresponse()
            answer = json.loads(response.read())
            right[own] += answer.get("label") == labels[str(files[i % len(files)])]

    threads = [threading.Thread(target=ask, args=(own,)) for own in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return count - sum(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    files = find_pictures(arguments.pictures).pictures
    server = Server(arguments.bundle)
    try:
        found: dict[str, list[list[float]]] = {"loop over predict": [], f"{arguments.clients} clients": []}
        labels: dict[str, str] = {}
        for _ in range(arguments.rounds):
            taken, said = run(LOOP, arguments.bundle, arguments.seconds, *files)
            assert isinstance(said, dict)
            labels = said
            found["loop over predict"].append(taken)
            taken, refused = run(CLIENTS, server.port, arguments.clients, arguments.seconds, *files)
            if refused:
                sys.exit(f"refused: {refused}")
            found[f"{arguments.clients} clients"].append(taken)
        before = server.memory()
        wrong = ask_all(server.port, files, labels, arguments.requests, arguments.clients)
        after = server.memory()
    finally:
        server.process.terminate()
    rows, rates = [], []
    for name, rounds in found.items():
        # A loop's pictures follow each other; clients overlap.
        rate = statistics.median(len(each) / arguments.seconds for each in rounds)
        rates.append(rate)
        every = sorted(one for each in rounds for one in each)
        p50, p99 = (1000 * every[int(share * len(every))] for share in (0.5, 0.99))
        rows.append((name, f"{rate:.0f}", f"{p50:.2f} ms", f"{p99:.2f} ms", f"{rate / rates[0]:.2f}"))
    print_table(rows, header=("", "pictures a second", "p50", "p99", "of the loop"))
    print(f"{arguments.requests:,} more requests: {wrong} wrong answers; memory {before:.0f} MB, then {after:.0f} MB")


if __name__ == "__main__":
    main()
