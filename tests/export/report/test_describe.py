"""The report's document says what the manifest says."""

from pathlib import Path
from typing import Any

from signs_runtime.bundle.folder import open_bundle


def test_the_document_agrees_with_the_manifest_and_names_no_paths(bundle: Path, document: dict[str, Any]) -> None:
    manifest = open_bundle(bundle).manifest
    assert {record.path for record in manifest.run.documents} == {
        "report.html",
        "report.json",
        "MODEL_CARD.md",
        "junit.xml",
    }
    assert document["golden_pictures"] == manifest.golden.pictures
    assert document["model"]["labels"] == list(manifest.labels)
    for variant, sealed in zip(document["variants"], manifest.variants, strict=True):
        assert variant["file"] == vars(sealed.file)
        assert (variant["test"]["correct"], variant["test"]["total"]) == tuple(vars(sealed.test_accuracy).values())
        assert variant["proof"]["max_difference"] == sealed.parity.max_difference
        assert sum(pair["pictures"] for pair in variant["test"]["confusion"]) == 24
        right = [pair["pictures"] for pair in variant["test"]["confusion"] if pair["shows"] == pair["said"]]
        assert sum(right) == variant["test"]["correct"]
        assert sum(each["correct"] for each in variant["test"]["per_label"].values()) == variant["test"]["correct"]
        assert all(each["file"].count("/") == 1 for each in variant["pictures"])
