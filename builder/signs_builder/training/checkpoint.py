"""Keeps a training's state after each epoch in one file, so that a run killed at any moment goes on to the same end."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from signs_builder.disk import check_room, written_whole
from signs_builder.errors import DiskFullError, ModelError
from signs_builder.training.state import Epoch, State

Json = dict[str, Any]  # Any: JSON


class Checkpoint:
    """The file with the state of one run; `identity` says which run: its settings, its data, its network."""

    def __init__(self, path: Path, identity: Json) -> None:
        self.path = path
        self.identity: Json = json.loads(json.dumps(identity))  # as it will be read back

    def check(self, model: keras.Model, *, resume: bool) -> None:
        """Before a training: refuse to overwrite an interrupted one. Raises ModelError and DiskFullError."""
        if self.path.exists() and not resume:
            raise ModelError(
                f"{self.path} holds an interrupted training. Continue it with --resume, or delete the file."
            )
        for stale in self.path.parent.glob(f".{self.path.stem}.*.npz"):  # half-written by a process that was killed
            stale.unlink()
        check_room(self.path.parent, 8 * 4 * int(model.count_params()))  # weights and two moments, twice, and the best

    def save(self, model: keras.Model, state: State) -> None:
        """Write the state to a temporary sibling and rename it. Raises DiskFullError; the file before is kept."""
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
            kept = f"{self.path} still holds the epoch before" if self.path.exists() else "there is none before it"
            raise DiskFullError(
                f"The checkpoint of epoch {len(state.epochs)} cannot be written ({error}); {kept}. "
                "Make room and continue with --resume."
            ) from error

    def restore(self, model: keras.Model) -> State | None:
        """Put the state back into a compiled model, or give None where no epoch was completed. Raises ModelError."""
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
                raise ModelError(f"The checkpoint {self.path} is another network's; delete it and train again.")
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return State([Epoch(**each) for each in said["epochs"]], said["best_epoch"], groups["best"] or None)

    def remove(self) -> None:
        """Delete the file, once its training is done and saved."""
        self.path.unlink(missing_ok=True)

    def _compare(self, saved: Json) -> None:
        changed = sorted(key for key in {*saved, *self.identity} if saved.get(key) != self.identity.get(key))
        if changed:
            differences = "; ".join(f"{key} was {saved.get(key)!r}, is {self.identity.get(key)!r}" for key in changed)
            raise ModelError(
                f"{self.path} is of a training with other settings: {differences}. Resume with the same command and "
                "data, or delete the file to train anew."
            )


def _array(variable: keras.Variable) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(variable))
