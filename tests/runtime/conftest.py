"""A real bundle around a tiny model, made with numpy and the runtime's own manifest."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from signs_runtime.bundle.golden import GoldenPictures, dump_golden
from signs_runtime.bundle.manifest import (
    OLDEST_SCHEMA,
    Budget,
    Golden,
    Manifest,
    Parity,
    Precision,
    Provenance,
    Run,
    Variant,
    dump_manifest,
    parse_manifest,
)
from signs_runtime.figures import Accuracy, Paired
from signs_runtime.pictures.input_spec import InputSpec
from signs_runtime.pictures.read import read_image

from .colours import LABELS, SIZE, plain, record
from .picture_files import picture_files
from .tiny_onnx import colour_classifier


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE))
    images = np.stack([plain(label) for label in LABELS])
    scores = 0.1 * images.reshape(3, -1, 3).mean(axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    files = picture_files()
    golden = GoldenPictures(
        images=images,
        probabilities=(powers / powers.sum(axis=1, keepdims=True)).astype(np.float32),
        labels=LABELS,
        files=files,
        file_images=np.stack([read_image(io.BytesIO(file), InputSpec(*SIZE)) for file in files]),
    )
    (folder / "golden.npz").write_bytes(dump_golden(golden))
    manifest = Manifest(
        schema=OLDEST_SCHEMA,
        labels=LABELS,
        input=InputSpec(*SIZE),
        variants=(
            Variant(
                "fp32",
                record(folder, "fp32.onnx"),
                "float32",
                1e-5,
                Budget(1.0, 1e-5, None),
                Parity(3, (1, 2), 1e-7, 1e-7, 1e-8, 3),
                Accuracy(3, 3),
                Paired(3, 0, 0),
                in_float=(),
            ),
        ),
        golden=Golden(record(folder, "golden.npz"), 3),
        provenance=Provenance("colours", "0" * 64, {"test": 3}, "0" * 64, "none", None, {"numpy": "2"}),
        run=Run("2026-01-01T00:00:00+00:00", "pytest", speeds={}, peak_memory={"fp32": 10**8}, documents=()),
    )
    (folder / "manifest.json").write_text(dump_manifest(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Changes a bundle as an attacker who knows the format would: every digest is consistent again."""

    def reseal(folder: Path, **changes: Any) -> None:  # Any: fields of a Manifest
        manifest = parse_manifest((folder / "manifest.json").read_bytes())
        variants = tuple(replace(each, file=record(folder, each.file.path)) for each in manifest.variants)
        golden = replace(manifest.golden, file=record(folder, "golden.npz"))
        changed = replace(manifest, **{"variants": variants, "golden": golden, **changes})
        (folder / "manifest.json").write_text(dump_manifest(changed), encoding="utf-8")

    return reseal


@pytest.fixture
def three_variants(bundle: Path, reseal: Callable[..., None]) -> Path:
    """The bundle with two copies of its model, which a device need not answer as exactly."""
    (first,) = parse_manifest((bundle / "manifest.json").read_bytes()).variants
    variants = [first]
    others: tuple[tuple[str, Precision], ...] = (("int8", "int8"), ("fp16", "float16"))
    for name, precision in others:
        shutil.copy(bundle / "fp32.onnx", bundle / f"{name}.onnx")
        file = record(bundle, f"{name}.onnx")
        variants.append(replace(first, name=name, precision=precision, file=file, tolerance=1e-3))
    reseal(bundle, variants=tuple(variants))
    return bundle


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the tests, not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "signs-edge"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one plain picture a colour, of another size than the model's."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for label in LABELS:
        Image.fromarray(plain(label, (30, 40))).save(folder / f"{label}.png")
    return folder
