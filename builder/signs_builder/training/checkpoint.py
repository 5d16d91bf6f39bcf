"""Saves a training's state after each epoch in one file. A run killed at any moment can resume to the same result."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.disk import check_room, written_whole
from signs_builder.errors import DiskFullError, ModelError, list_first
from signs_builder.training.state import Epoch, State

Json = dict[str, Any]  # Any: JSON


class Checkpoint:
    """The file with the state of one run. `identity` holds the run's settings, data and network."""

    def __init__(self, path: Path, identity: Json) -> None:
        self.path = path
        self.identity: Json = json.loads(json.dumps(identity))  # as JSON will return it

    def check(self, model: keras.Model, *, resume: bool) -> None:
        """Check before a training that it overwrites none and has space. Raises ModelError and DiskFullError."""
        if self.path.exists() and not resume:
            raise ModelError(
                f"{self.path} holds an interrupted training. Continue it with --resume, or delete the file."
            )
        for stale in self.path.parent.glob(f".{self.path.stem}.*.npz"):  # left half-written by a killed process
            stale.unlink()
        check_room(
            self.path.parent, 8 * 4 * int(model.count_params())
        )  # weights and two moments, twice, and the best weights

    def save(self, model: keras.Model, state: State) -> None:
        """Save the state, whole or not at all. Raises DiskFullError and then keeps the previous file."""
        arrays: dict[str, Any] = {f"model/{i}": _array(variable) for i, variable in enumerate(model.variables)}
        arrays |= {f"optimizer/{i}": _array(variable) for i, variable in enumerate(model.optimizer.variables)}
        arrays |= {f"best/{i}": weights for i, weights in enumerate(state.best_weights or [])}
        said = {
            "identity": self.identity,
            "epochs": [asdict(epoch) for epoch in state.epochs],
            "best_epoch": state.best_epoch,
        }
        try:
            with written_whole(self.path) as partial:
                np.savez(partial, state=np.array(json.dumps(said)), **arrays)
        except OSError as error:
            kept = (
                f"{self.path} still holds the epoch before" if self.path.exists() else "there is no earlier checkpoint"
            )
            raise DiskFullError(
                f"The checkpoint of epoch {len(state.epochs)} cannot be written ({error}); {kept}. "
                "Free some space and continue with --resume."
            ) from error

    def restore(self, model: keras.Model) -> State | None:
        """Restore the state into a compiled model; None if no epoch was completed. Raises ModelError."""
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                said = json.loads(str(file["state"]))
                groups: dict[str, list[NDArray[Any]]] = {
                    group: [file[f"{group}/{i}"] for i in range(sum(name.startswith(f"{group}/") for name in file))]
                    for group in ("model", "optimizer", "best")
                }
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"The checkpoint {self.path} is damaged ({error}); delete it and train again.") from error
        self._compare(said["identity"])
        model.optimizer.build(model.trainable_variables)
        for variables, values in (
            (model.variables, groups["model"]),
            (model.optimizer.variables, groups["optimizer"]),
        ):
            if len(variables) != len(values):
                raise ModelError(f"The checkpoint {self.path} belongs to another network; delete it and train again.")
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return State([Epoch(**each) for each in said["epochs"]], said["best_epoch"], groups["best"] or None)

    def remove(self) -> None:
        """Delete the file, after its training is finished and saved."""
        self.path.unlink(missing_ok=True)

    def _compare(self, saved: Json) -> None:
        was, is_ = _flat(saved), _flat(self.identity)
        changed = sorted(key for key in {*was, *is_} if was.get(key) != is_.get(key))
        if changed:
            differences = list_first([f"{key} was {was.get(key)!r}, is {is_.get(key)!r}" for key in changed])
            raise ModelError(
                f"{self.path} belongs to a training with other settings. Resume with the same command and data, or "
                f"delete the file to start again. Different are:{differences}"
            )


def _flat(settings: Json) -> Json:
    """Settings without nesting: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: Json = {}
    for key, value in settings.items():
        inner = _flat(value) if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{name}": each for name, each in inner.items()}
    return flat


def _array(variable: keras.Variable) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(variable))
