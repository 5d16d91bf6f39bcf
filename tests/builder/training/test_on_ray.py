"""examples/train_on_ray.py: a training on two hosts that goes on when one of its processes is killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from signs_builder.data.dataset import Split
from signs_builder.data.hands import LABELS, draw_hands
from tests.runtime.clusters import kill, processes, ray_alone

pytest.importorskip("ray")
pytest.importorskip("jax")

EXAMPLE = Path(__file__).parents[3] / "examples/train_on_ray.py"


@pytest.mark.skipif(not os.environ.get("SIGNS_SLOW"), reason="SIGNS_SLOW is not set: this test takes four minutes")
def test_a_killed_process_costs_an_epoch_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))  # the second start is a quick one
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    for name, count, seed in (("train_signs", 36, 0), ("test_signs", 12, 1)):
        Split(*draw_hands(count, seed=seed)).files(tmp_path / "data" / name, LABELS)
    model = tmp_path / "model.keras"
    options = ["--width", "0.05", "--epochs", "6", "--recipe", "course", "--hosts", "2", "--json"]
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "data"), "-o", str(model), *options]
    checkpoint, pipe = tmp_path / "model.training", subprocess.PIPE
    with ray_alone():
        child = subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True)
        try:
            while not (checkpoint / "checkpoint.npz").exists():
                assert child.poll() is None, child.communicate()
                time.sleep(0.05)
            assert kill(processes(b"ray::Host", child.pid)[-1])
            _, errors = child.communicate(timeout=300)
        finally:
            child.kill()
    assert child.returncode == 0, errors
    assert "Continuing with --resume" in errors
    assert keras.models.load_model(model).output_shape == (None, 6)
    history = json.loads((checkpoint / "training.json").read_text())["history"]
    assert len(history) == 6
