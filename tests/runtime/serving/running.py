"""A real server in a process of its own."""

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..colours import LABELS, plain


def file_of(label: str) -> bytes:
    """A picture of this label, as a file."""
    file = io.BytesIO()
    Image.fromarray(plain(label)).save(file, "PNG")
    return file.getvalue()


def pixels(label: str = LABELS[0], **changes: object) -> dict[str, object]:
    """A request of the protocol, in JSON; changes are of its only input."""
    image = plain(label)[None]
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(image.shape), "data": image.ravel().tolist()}
    return {"inputs": [{**tensor, **changes}]}


COMMAND = [sys.executable, "-c", "from signs_runtime.commands.signs import signs; signs()", "serve"]


@dataclass
class Server:
    """`signs serve` on a free port, for as long as the context lasts."""

    process: "subprocess.Popen[str]"
    port: int

    @classmethod
    def start(cls, bundle: Path, *words: object) -> "Server":
        command = [*COMMAND, str(bundle), "--port", "0", *map(str, words)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = ""
        while (found := re.search(r"at http://127\.0\.0\.1:(\d+)\.", said)) is None:
            line = process.stderr.readline()
            assert line, f"it ended: {said}"
            said += line
        return cls(process, int(found[1]))

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *raised: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:  # Any: JSON, or text
        """One request on a connection of its own: the status and the document."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = response.headers.get("content-type") == "application/json"
        return response.status, json.loads(content) if is_json else content.decode(errors="replace")

    def wait_until_ready(self) -> "Server":
        for _ in range(400):
            if self.ask("GET", "/v2/health/ready")[0] == 200:
                return self
            time.sleep(0.05)
        raise AssertionError("not ready after 20 seconds")

    def memory(self) -> float:
        """Resident memory in MB; 0 where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return 0.0
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmRSS:"))
        return int(line.split()[1]) / 1000

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        os.kill(self.process.pid, number)
        return self.process.wait(20)
