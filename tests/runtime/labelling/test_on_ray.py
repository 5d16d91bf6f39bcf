"""`signs predict --engine ray`: the plain command's rows, also where workers, hosts and the driver are killed."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..clusters import kill, processes, ray_alone
from .jobs import colour_of, draw, label, rows, started, summary

pytest.importorskip("pyarrow")
pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.modules.get("fcntl", "") is None, reason="Ray itself needs what is hidden here")

WORKER = b"ray::_Worker"


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with ray_alone():
        yield


def finished(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def wait_for(out: Path, files: int, child: "subprocess.Popen[str]") -> None:
    while finished(out) < files:
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)


def check_rows(out: Path, many: Path) -> None:
    """Every picture once, with its label."""
    found = rows(out)
    assert Counter(row["picture"] for row in found) == Counter(map(str, many.rglob("*.png")))
    assert all(row["label"] == colour_of(row["picture"]) for row in found)
    assert not list(out.glob(".*"))


def test_killed_workers_cost_their_blocks_once_more(bundle: Path, tmp_path: Path) -> None:
    many, out, rng = draw(tmp_path / "many", 1800), tmp_path / "out", random.Random(0)
    arguments = (bundle, many, "-o", out, "--engine", "ray", "--block-size", 6, "--batch-size", 1, "--json")
    with started(*arguments) as child:
        for _ in range(3):
            wait_for(out, finished(out) + rng.randrange(3, 20), child)
            while not any(map(kill, reversed(processes(WORKER, child.pid)))):
                assert child.poll() is None, child.communicate()
        said, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert '"labelled_now": 1800' in said  # a lost block counts once
    check_rows(out, many)


def test_two_hosts_share_a_job_and_one_may_go(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    many, out = draw(tmp_path / "many", 3000), tmp_path / "out"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        arguments = (bundle, many, "-o", out, "--engine", "ray", "--block-size", 6, "--batch-size", 1)
        with started(*arguments) as child:
            wait_for(out, 5, child)  # then the driver is killed
        end = time.monotonic() + 60
        while processes(WORKER, os.getpid()):  # whose workers end with it
            assert time.monotonic() < end
            time.sleep(0.05)
        written = finished(out)
        with started(*arguments, "--resume", "--json") as child:
            while len(processes(WORKER, os.getpid())) < 2:  # one on each host
                assert child.poll() is None, child.communicate()
                time.sleep(0.01)
            wait_for(out, finished(out) + 20, child)
            cluster.remove_node(second)
            said, errors = child.communicate(timeout=180)
        assert child.returncode == 0, errors
        assert f'"labelled_now": {3000 - 6 * written}' in said
        check_rows(out, many)
    finally:
        cluster.shutdown()


def test_a_block_that_ends_every_worker_ends_the_job_and_is_named(bundle: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # delivers nothing, so that its block takes a while
    many, out = draw(tmp_path / "many", 4), tmp_path / "out"
    with started(bundle, many, tmp_path / "pipe.png", "-o", out, "--engine", "ray", "--block-size", 2) as child:
        while child.poll() is None:
            if finished(out) == 2:
                for pid in processes(WORKER + b".label", child.pid):
                    kill(pid)
            time.sleep(0.02)
        _, errors = child.communicate()
    assert (child.returncode, "Block 2 has ended 3 workers" in errors, "pipe.png" in errors) == (1, True, True), errors
    assert finished(out) == 2


def test_what_a_cluster_cannot_do_is_explained(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = draw(tmp_path / "many", 3)
    for options, words in (
        (("--device", "cuda", "--cpus-per-worker", 1000), "No host of the cluster has 1000 CPUs and a GPU"),
        (("--threads", 2), "--cpus-per-worker"),
    ):
        with started(bundle, many, "-o", tmp_path / words[:5], "--engine", "ray", *options) as child:
            assert words in child.communicate()[1]
            assert child.returncode in (1, 2)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with started(bundle, many, "-o", tmp_path / "out", "--engine", "ray") as child:
        errors = child.communicate()[1]
    assert (child.returncode, "Traceback" in errors, "RAY_ADDRESS" in errors) == (1, False, True), errors


def test_a_single_model_file_is_resumed_without_the_cluster(bundle: Path, tmp_path: Path) -> None:
    many, out = draw(tmp_path / "many", 12), tmp_path / "out"
    with started(bundle / "fp32.onnx", many, "-o", out, "--engine", "ray", "--block-size", 5) as child:
        assert child.wait() == 0
    (out / "part-000001.parquet").unlink()
    result = label(bundle / "fp32.onnx", many, "-o", out, "--resume", "--json")
    assert (result.exit_code, summary(result)["labelled_now"]) == (0, 5), result.output
    check_rows(out, many)
