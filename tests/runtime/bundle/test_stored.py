"""Bundles that were sealed when their schema was new open and answer as they did then: no runtime leaves one behind."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signs_runtime import Classifier, InputSpec
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.manifest import OLDEST_SCHEMA, SCHEMA, dump_manifest
from signs_runtime.device_proof import verify
from signs_runtime.errors import BundleFormatError, BundleTamperedError

from ..colours import LABELS, plain

STORED = Path(__file__).with_name("stored")
DIGESTS = {
    4: "10cbde8d8f26706eab7af937de45c48cec02462951ccd087bb0fa6343ff5e3f8",
    5: "211500e48d42cf8e37aabac60e285dc2f7018a9c671daaf77572ceacefee888f",
    6: "ca7750e672f2c4a7757b20fe2f5fc4448851f05194df36d3f8524d9db459b0da",
}


@pytest.mark.parametrize("schema", range(OLDEST_SCHEMA, SCHEMA + 1))
def test_a_bundle_of_each_schema_opens_proves_itself_and_answers(schema: int) -> None:
    folder = STORED / f"schema{schema}"
    manifest = open_bundle(folder).manifest
    assert (manifest.schema, manifest.digest) == (schema, DIGESTS[schema])
    assert dump_manifest(manifest).encode() == (folder / "manifest.json").read_bytes()
    assert verify(folder).passed
    classifier = Classifier(folder, cache=False)
    for label in LABELS:
        assert classifier.predict(plain(label, (30, 20))).found == (label,)


def test_what_a_schema_does_not_say_is_what_it_meant() -> None:
    before, after = (open_bundle(STORED / f"schema{schema}").manifest for schema in (4, 5))
    assert (before.input, before.kind, before.thresholds) == (InputSpec(8, 6), "single-label", ())
    assert after.input == InputSpec(8, 6, "BGR", "cv2-area", "pad", "ignored")
    assert (after.kind, after.thresholds) == ("multi-label", (0.5, 0.4, 0.5))
    assert Classifier(STORED / "schema5" / "fp32.onnx", cache=False).thresholds == after.thresholds
    grey = np.full((8, 6, 3), 90, np.uint8)
    assert Classifier(STORED / "schema5", cache=False).predict(grey).found == ()


def test_what_is_unsure_is_the_bundles_own_unless_it_is_said() -> None:
    before, after = (open_bundle(STORED / f"schema{schema}").manifest for schema in (5, 6))
    assert (before.temperature, before.unsure_below) == (1, 0)
    assert (after.temperature, after.unsure_below) == (2.5, 0.9)
    grey = np.full((8, 6, 3), 90, np.uint8)
    for path in (STORED / "schema6", STORED / "schema6" / "fp32.onnx"):
        assert Classifier(path, cache=False).predict(grey).label == "unsure"
        assert Classifier(path, threshold=0.0, cache=False).predict(grey).label in LABELS
        assert Classifier(path, threshold=0.99999, cache=False).predict(plain("red", (8, 6))).label == "unsure"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"unsure_below": 1.5}, "must be a probability"),
        ({"unsure_below": -0.1}, "must be a probability"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"labels": ("red", "green", "unsure")}, "unsure"),
        ({"temperature": 1.0, "unsure_below": 0.0}, "of schema 4"),
    ],
)
def test_what_no_export_says_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleFormatError, match=says):
        replace(open_bundle(STORED / "schema6").manifest, **changed)


def test_a_manifest_and_a_file_that_disagree_on_what_is_unsure_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(STORED / "schema6", tmp_path / "bundle")
    manifest = replace(open_bundle(folder).manifest, unsure_below=0.5)
    (folder / "manifest.json").write_text(dump_manifest(manifest))
    with pytest.raises(BundleTamperedError, match="disagree"):
        Classifier(folder, cache=False)
