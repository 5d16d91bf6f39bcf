"""A real bundle around a tiny model, made with numpy and the runtime's own manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from colours import LABELS, SIZE, plain, record
from PIL import Image
from tiny_onnx import colour_classifier

from signs_runtime.input_spec import InputSpec
from signs_runtime.manifest import (
    SCHEMA,
    Accuracy,
    Budget,
    Golden,
    Manifest,
    Paired,
    Parity,
    Provenance,
    Variant,
    dump_manifest,
    parse_manifest,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE))
    images = np.stack([plain(label) for label in LABELS])
    scores = 0.1 * images.reshape(3, -1, 3).mean(axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    np.savez(folder / "golden.npz", images=images, probabilities=probabilities)
    manifest = Manifest(
        schema=SCHEMA,
        labels=LABELS,
        input=InputSpec(*SIZE),
        variants=(
            Variant(
                "fp32",
                record(folder, "fp32.onnx"),
                "float32",
                1e-5,
                Budget(1.0, 1e-5, None),
                Parity(3, (1, 2), 1e-7, 1e-8, 3),
                Accuracy(3, 3),
                Paired(3, 0, 0),
                speed=None,
                in_float=(),
            ),
        ),
        golden=Golden(record(folder, "golden.npz"), 3),
        documents=(),
        provenance=Provenance("colours", "0" * 64, {"test": 3}, "0" * 64, "none", None, "pytest", {"numpy": "2"}),
    )
    (folder / "manifest.json").write_text(dump_manifest(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Changes a bundle as an attacker who knows the format would: every digest is consistent again."""

    def reseal(folder: Path, **changes: object) -> None:
        manifest = parse_manifest((folder / "manifest.json").read_bytes())
        variant = replace(manifest.variants[0], file=record(folder, "fp32.onnx"))
        golden = replace(manifest.golden, file=record(folder, "golden.npz"))
        changed = replace(manifest, **{"variants": (variant,), "golden": golden, **changes})
        (folder / "manifest.json").write_text(dump_manifest(changed), encoding="utf-8")

    return reseal


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one plain picture a colour, of another size than the model's."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for label in LABELS:
        Image.fromarray(plain(label, (30, 40))).save(folder / f"{label}.png")
    return folder
