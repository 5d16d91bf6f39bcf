"""A training that is killed goes on to the same end, and a checkpoint is whole or refused."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from signs_builder.errors import DiskFullError, ModelError
from signs_builder.training.checkpoint import Checkpoint
from signs_builder.training.state import Epoch, State

SCRIPT = Path(__file__).with_name("killed_training.py")
FIRST, SECOND = Epoch(1, 2.5, 0.25, 1.5), Epoch(2, 1.5, 0.5, 1.5, 1.75, 0.5)
STEPS = 12  # an epoch of killed_training.py


def start(folder: Path, how: str, last: int = 0) -> subprocess.Popen[str]:
    """Train; at the `last` step, where there is one, it waits to be killed."""
    folder.mkdir(exist_ok=True)
    files = (folder / "checkpoint.npz", folder / "result.npz")
    command = [sys.executable, str(SCRIPT), *map(str, files), how, str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def train_and_kill(folder: Path, how: str, steps: int) -> None:
    process = start(folder, how, steps)
    assert process.stdout is not None
    taken = (line for line in process.stdout if line == "Training step\n")
    for _ in range(steps):
        next(taken)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_run_killed_three_times_mid_epoch_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = start(tmp_path / "unbroken", "start")
    unbroken.communicate(timeout=300)
    assert unbroken.returncode == 0

    moments = np.random.default_rng().integers(1, STEPS, 3)  # another three each time
    killed = tmp_path / "killed"
    train_and_kill(killed, "start", int(moments[0]))  # in the first epoch: nothing was saved yet
    assert not (killed / "checkpoint.npz").exists()
    train_and_kill(killed, "resume", 2 * STEPS + int(moments[1]))
    # A resumed run reports the steps that it need not take again at once, as one.
    train_and_kill(killed, "resume", 1 + 2 * STEPS + int(moments[2]))
    last = start(killed, "resume")
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert output.count("Training step") < 1 + 3 * STEPS, "the epochs before the kill were trained again"

    a, b = np.load(tmp_path / "unbroken" / "result.npz"), np.load(killed / "result.npz")
    assert a["history"].shape == (6, 3)
    assert a.files == b.files
    for name in a.files:
        assert np.array_equal(a[name], b[name]), f"{name}, killed after {moments}"


def small_model() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
    return model


def variables_of(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def test_a_checkpoint_brings_back_weights_and_optimizer(tmp_path: Path) -> None:
    model, other = small_model(), small_model()
    checkpoint = Checkpoint(tmp_path / "run" / "checkpoint.npz", {"seed": 1, "labels": ("a", "b")})
    checkpoint.save(model, State([FIRST], 1, [np.ones(3)]))
    state = checkpoint.restore(other)
    assert state is not None
    assert (state.epochs, state.best_epoch) == ([FIRST], 1)
    for one, two in zip(
        (*model.variables, *model.optimizer.variables), (*other.variables, *other.optimizer.variables), strict=True
    ):
        assert np.array_equal(one.numpy(), two.numpy())
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.npz"]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    model = small_model()
    Checkpoint(tmp_path / "c.npz", {"seed": 1, "epochs": 9, "light": {"low": 1, "high": 2}}).save(model, State([]))
    with pytest.raises(ModelError, match=r"Different are:\n  epochs was 9, is 10\n  light.high was 2, is 3$"):
        Checkpoint(tmp_path / "c.npz", {"seed": 1, "epochs": 10, "light": {"low": 1, "high": 3}}).restore(model)


def test_a_new_training_does_not_overwrite_an_interrupted_one(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.npz", {})
    checkpoint.save(small_model(), State([]))
    with pytest.raises(ModelError, match="--resume"):
        checkpoint.check(small_model(), resume=False)
    half_written = tmp_path / ".c.123.npz"  # by a process that was killed
    half_written.touch()
    checkpoint.check(small_model(), resume=True)
    assert not half_written.exists()


@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    checkpoint = Checkpoint(tmp_path / "c.npz", {})
    checkpoint.save(small_model(), State([]))
    content = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "text": b"no checkpoint"}[damage])
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.restore(small_model())


def test_a_full_disk_keeps_the_epoch_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "c.npz", {})
    checkpoint.save(small_model(), State([FIRST]))

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DiskFullError, match="still holds the epoch before"):
        checkpoint.save(small_model(), State([FIRST, SECOND]))
    state = checkpoint.restore(small_model())
    assert state is not None
    assert len(state.epochs) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
