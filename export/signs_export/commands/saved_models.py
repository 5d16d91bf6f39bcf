"""Recognizes the Keras models that this project saved next to a bundle, so that it replaces no others."""

import hashlib
import json
from pathlib import Path

from signs_builder.disk import written_whole
from signs_builder.errors import ModelError
from signs_builder.network.model_file import load_model, weights_sha256
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import read_manifest
from signs_runtime.errors import BundleError

NOTED = "saved_models.json"  # in the training's folder: the SHA-256 of each model that this project saved


def check_ours(path: Path, bundle: Path, training: Path) -> None:
    """Raise ExportError if `path` is a Keras model that this project did not save.

    The model is ours if the folder `training` lists its digest, or if `bundle` was made from its weights.
    """
    if not path.is_file() or _digest(path) in _noted(training) or _has_weights_of(path, bundle):
        return  # `check_output` refuses anything that is not a file
    raise ExportError(
        f"{path} would be replaced, but this command did not save it: its weights are neither in "
        f"{training.name}/{NOTED} nor those of the bundle {bundle.name}/. Move it away, or choose another -o."
    )


def note_ours(path: Path, training: Path) -> None:
    """Record in the training's folder that this project saved a model file, whatever its name."""
    noted = sorted({*_noted(training), _digest(path)})
    with written_whole(training / NOTED) as partial:
        partial.write_bytes(f"{json.dumps(noted, indent=2)}\n".encode())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted(training: Path) -> set[str]:
    try:
        noted = json.loads((training / NOTED).read_bytes())
    except (OSError, ValueError):
        return set()
    return {each for each in noted if isinstance(each, str)} if isinstance(noted, list) else set()


def _has_weights_of(path: Path, bundle: Path) -> bool:
    try:
        made_of = read_manifest(bundle).provenance.model_sha256
        return weights_sha256(load_model(path)) == made_of
    except (BundleError, ModelError):
        return False
