"""A bundle behind Ray Serve: the server's own answers, and an update while requests come."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from signs_runtime.bundle.folder import open_bundle

from ..clusters import free_port, ray_alone
from ..colours import LABELS, SIZE
from ..tiny_onnx import colour_classifier
from .running import file_of

pytest.importorskip("ray.serve")
pytestmark = pytest.mark.skipif(sys.modules.get("fcntl", "") is None, reason="Ray itself needs what is hidden here")

# One process serves, and reads from its input with which bundle to go on.
SERVER = """
import sys
import ray
from ray import serve
from signs_runtime.serving.ray_serve import application
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"port": int(sys.argv[1])})
for line in sys.stdin:
    try:
        serve.run(application(line.strip(), max_replicas=1), name="signs")
        print("serving", flush=True)
    except Exception as error:
        print("failed", error, flush=True)
serve.shutdown()
ray.shutdown()
"""


def test_an_update_loses_no_request_and_each_answer_names_its_bundle(
    bundle: Path, reseal: Callable[..., None], tmp_path: Path
) -> None:
    other, bad = tmp_path / "other" / "bundle", tmp_path / "bad" / "bundle"
    shutil.copytree(bundle, other)
    reseal(other, provenance=replace(open_bundle(bundle).manifest.provenance, data="others"))
    shutil.copytree(bundle, bad)
    (bad / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(bad)
    old, new = (open_bundle(each).manifest.digest[:12] for each in (bundle, other))
    port = free_port()
    address = f"http://127.0.0.1:{port}/predict"

    def ask(label: str) -> tuple[str, str, str]:
        request = urllib.request.Request(address, file_of(label), method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            said = json.load(response)
        return label, said["label"], said["version"]

    command = [sys.executable, "-c", SERVER, str(port)]
    pipe, is_updated = subprocess.PIPE, threading.Event()
    with (
        ray_alone(),
        (tmp_path / "errors.txt").open("w") as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True) as server,
    ):

        def go_on_with(folder: Path) -> str:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{folder}\n")
            server.stdin.flush()
            while not (said := server.stdout.readline()).startswith(("serving", "failed")):
                assert said, (tmp_path / "errors.txt").read_text()
            return said

        try:
            assert go_on_with(bundle) == "serving\n"
            answers: list[tuple[str, str, str]] = []

            def keep_asking() -> None:
                i = 0
                while not is_updated.is_set() or len(answers) < 1000:
                    try:
                        answers.append(ask(LABELS[i % 3]))
                    except Exception as error:
                        answers.append(("lost", repr(error), ""))
                    i += 1

            clients = [threading.Thread(target=keep_asking, daemon=True) for _ in range(4)]
            for client in clients:
                client.start()
            updated = go_on_with(other)
            is_updated.set()
            for client in clients:
                client.join()
            assert updated == "serving\n"
            assert Counter(answers).keys() == {(label, label, each) for label in LABELS for each in (old, new)}
            assert ask("red") == ("red", "red", new)
            assert go_on_with(bad).startswith("failed")  # it cannot prove itself, so the old one goes on
            assert ask("red") == ("red", "red", new)
        finally:
            is_updated.set()
            try:
                server.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                server.kill()
    assert server.returncode == 0
