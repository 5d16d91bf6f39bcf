"""The folders of `signs deploy ray-serve` are started as their README says, one after the other."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from signs_runtime import Classifier
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs
from tests.runtime.clusters import free_port, ray_alone
from tests.runtime.picture_files import picture_files

STORED = Path(__file__).parents[2] / "runtime/bundle/stored"
BIN = Path(sys.executable).parent

pytest.importorskip("ray.serve")


def run(folder: Path, *words: str) -> None:
    own = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_folder_serves_its_bundle_until_another_is_deployed(tmp_path: Path) -> None:
    port, dashboard = free_port(), free_port()
    (tmp_path / "picture").write_bytes(picture_files()[0])
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", picture_files()[0], method="POST")
    with ray_alone():
        ports = ["--port", str(free_port()), "--dashboard-port", str(dashboard)]
        ports += ["--ray-client-server-port", str(free_port())]
        try:
            run(tmp_path, "ray", "start", "--head", "--num-cpus", "2", *ports)
            for schema in ("schema5", "schema6"):
                folder, bundle = tmp_path / f"of.{schema}", STORED / schema
                result = CliRunner().invoke(signs, ["deploy", "ray-serve", str(bundle), "-o", str(folder)])
                assert result.exit_code == 0, result.output
                settings = folder / "serve.yaml"
                settings.write_text(settings.read_text().replace("port: 8000", f"port: {port}"))
                run(folder, "serve", "deploy", "serve.yaml", "-a", f"http://127.0.0.1:{dashboard}")
                version, said = open_bundle(bundle).manifest.digest[:12], {"version": ""}
                end = time.monotonic() + 120
                while said["version"] != version and time.monotonic() < end:
                    try:
                        with urllib.request.urlopen(request, timeout=30) as response:
                            said = json.load(response)
                    except OSError:
                        assert schema == "schema5"  # later, there is always one that answers
                    time.sleep(0.2)
                assert said["version"] == version
                assert said["label"] == Classifier(bundle).predict(tmp_path / "picture").label
        finally:
            stop()


def stop() -> None:
    """End the cluster of this test alone; `ray stop` would end all of this machine's."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"RAY_TMPDIR={os.environ['RAY_TMPDIR']}\0".encode() in path.read_bytes():
                pid = int(path.parent.name)
                if pid != os.getpid():
                    os.kill(pid, 9)
        except OSError:
            continue
