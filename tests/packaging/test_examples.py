"""What lies in examples/, run as it stands there. parity.yml is run by tests/parity/test_ci_job.py."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from signs_runtime.bundle.folder import open_bundle

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests/runtime/bundle/stored/schema6"


def test_the_camera_loop_labels_a_video(tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "hands.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(12):
        video.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    video.release()
    command = [sys.executable, str(ROOT / "examples/camera.py"), str(STORED)]
    result = subprocess.run([*command, str(tmp_path / "hands.avi")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    labels = [line.split()[0] for line in result.stdout.splitlines()]
    assert labels
    assert set(labels) <= set(open_bundle(STORED).manifest.labels) | {"unsure"}
    assert "frames a second" in result.stderr

    result = subprocess.run([*command, str(tmp_path / "none.avi")], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "No camera or video at" in result.stderr
