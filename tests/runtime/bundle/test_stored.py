"""Bundles that were sealed when their schema was new open and answer as they did then: no runtime leaves one behind."""

from pathlib import Path

import numpy as np
import pytest

from signs_runtime import Classifier, InputSpec
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.manifest import OLDEST_SCHEMA, SCHEMA, dump_manifest
from signs_runtime.device_proof import verify

from ..colours import LABELS, plain

STORED = Path(__file__).with_name("stored")
DIGESTS = {
    4: "10cbde8d8f26706eab7af937de45c48cec02462951ccd087bb0fa6343ff5e3f8",
    5: "211500e48d42cf8e37aabac60e285dc2f7018a9c671daaf77572ceacefee888f",
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
