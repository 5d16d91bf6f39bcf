"""Knows the Keras models that this project saved beside a bundle, so that it replaces no other."""

import hashlib
import json
from pathlib import Path

from signs_builder.disk import written_whole
from signs_builder.errors import ModelError
from signs_builder.network.model_file import load_model, weights_sha256
from signs_export.errors import ExportError
from signs_runtime.bundle.folder import read_manifest
from signs_runtime.errors import BundleError

NOTED = "saved_models.json"  # in the training's folder: the SHA-256 of each file that a training of ours saved


def check_ours(path: Path, bundle: Path, training: Path) -> None:
    """Refuse to replace a Keras model of another's; `bundle` and `training` are the folders beside it.

    It is ours if the training's folder notes its bytes, or if the bundle was made of its weights. Raises ExportError.
    """
    if not path.is_file() or _digest(path) in _noted(training) or _has_weights_of(path, bundle):
        return  # what is no file, `check_output` refuses
    raise ExportError(
        f"{path} is there and would be replaced, but this command did not save it: neither {training.name}/{NOTED} nor "
        f"a bundle {bundle.name}/ knows its weights. Move it away, or choose another -o."
    )


def note_ours(path: Path, training: Path) -> None:
    """Note in the training's folder that a file, under whatever name, is a model of ours."""
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
