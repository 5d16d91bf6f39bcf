"""Several devices and several processes train to the weights that one gets."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from signs_builder.errors import StrategyError
from signs_builder.training.strategy import spread

SCRIPT = Path(__file__).with_name("spread_training.py")
ATOL = 5e-5  # measured 2.4e-7 with MirroredStrategy, 4.2e-6 with JAX, whose convolutions round otherwise


def start(weights: Path, strategy: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(weights), strategy],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = tmp_path_factory.mktemp("alone") / "weights.npz"
    finish(start(weights, "none"))
    return weights


def assert_same(one: Path, other: Path, devices: int, processes: int) -> None:
    a, b = np.load(one), np.load(other)
    assert (b["devices"], b["processes"]) == (devices, processes)
    for name in set(a.files) - {"devices", "processes"}:
        assert np.allclose(a[name], b[name], atol=ATOL, rtol=0), name


def test_two_devices_of_one_host_give_the_weights_of_one(alone: Path, tmp_path: Path) -> None:
    finish(start(tmp_path / "weights.npz", "mirrored"))
    assert_same(alone, tmp_path / "weights.npz", devices=2, processes=1)


def test_two_processes_on_loopback_give_the_weights_of_one(alone: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        start(
            tmp_path / "weights.npz",
            "data-parallel",
            KERAS_BACKEND="jax",
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    for process in processes:
        finish(process)
    assert_same(alone, tmp_path / "weights.npz", devices=2, processes=2)


@pytest.mark.parametrize(
    ("strategy", "words"), [("mirrored", "two devices or more"), ("data-parallel", "set KERAS_BACKEND=jax")]
)
def test_what_cannot_be_spread_is_refused(strategy: str, words: str) -> None:
    with pytest.raises(StrategyError, match=words), spread(strategy):
        pytest.fail("nothing to spread over")
