"""Measures the first and second visit to a web page: seconds to the proof and to the first label, and bytes received.

    python -m benchmarks.runtime.web_start BUNDLE PICTURE [--megabits 20]

Builds the page of BUNDLE and opens it in headless Chromium: with an empty cache, then with what its service worker has
stored. Needs npm and Chromium.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from signs_export.deploy.web import WebConfig, deploy_web
from signs_runtime.commands.shared import print_table
from tests.export.deploy.browser import browser, opened, served

_KEPT = """async () => { await navigator.serviceWorker.ready; navigator.serviceWorker.controller
    || await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', () => done())) }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--variant", help="default: int8 if the bundle has it")
    parser.add_argument("--megabits", type=float, default=0, help="megabits a second from the server; 0: no limit")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {"first visit": [], "second visit": []}
    sent: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as work, browser() as chromium:
        site = Path(work, "site")
        deploy_web(arguments.bundle, site, WebConfig(arguments.variant))
        for _ in range(arguments.rounds):
            context = chromium.new_context()
            with served(site) as address:
                for visit, found in seconds.items():
                    page = context.new_page()
                    received = _slowed(context, page, arguments.megabits)
                    found.append(_visit(page, address, arguments.picture))
                    sent[visit] = sum(received)
                    page.evaluate(_KEPT)
                    page.close()
            context.close()
        whole = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"The page's folder: {whole / 1e6:.1f} MB.")
    rows = [
        (visit, *(f"{statistics.median(each):.2f}" for each in zip(*found, strict=True)), f"{sent[visit] / 1e6:.1f}")
        for visit, found in seconds.items()
    ]
    print_table(rows, header=("", "proved, s", "first label, s", "MB received by the page"))


def _visit(page: Any, address: str, picture: Path) -> tuple[float, float]:  # Any: playwright's Page
    """Seconds from opening the address to the proof, and to the label of a picture chosen right after it."""
    start = time.perf_counter()
    opened(page, address)
    proved = time.perf_counter() - start
    if page.get_attribute("#state", "data-state") != "passed":
        raise SystemExit(page.inner_text("#state"))
    page.set_input_files("#file", picture)
    page.wait_for_selector("#answer:not([hidden])")
    return proved, time.perf_counter() - start


def _slowed(context: Any, page: Any, megabits: float) -> list[int]:  # Any: playwright's BrowserContext and Page
    """Limit a page to `megabits` a second; returns a list to which the bytes it receives are added."""
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    if megabits:
        limits = {
            "offline": False,
            "latency": 40,
            "downloadThroughput": megabits * 125_000,
            "uploadThroughput": 125_000,
        }
        session.send("Network.emulateNetworkConditions", limits)
    received: list[int] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    return received


if __name__ == "__main__":
    main()
