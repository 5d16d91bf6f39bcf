"""Chromium on a site that a test serves; tests skip where there is none."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of a folder, for as long as the context lasts."""
    handler = functools.partial(_Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def browser() -> Iterator[Any]:  # Any: playwright's Browser
    """A headless Chromium with a camera that shows a moving picture."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None or shutil.which("npm") is None:
        pytest.skip("needs Chromium, and npm")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield chromium
        chromium.close()


def opened(page: Any, address: str) -> None:  # Any: playwright's Page
    """Go there, and wait until the model is proved, or not."""
    page.goto(address)
    page.wait_for_selector("#state[data-state=passed], #state[data-state=failed]", timeout=120_000)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
        """Say nothing."""
