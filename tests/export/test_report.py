"""The report: one document, and a page and a card that say what it says, whatever the labels are called."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_export.config import ExportConfig
from signs_export.export import seal_model
from signs_export.gate.compare import report_at_once
from signs_export.gate.evidence import Evidence
from signs_export.int8.saturation import Saturation
from signs_export.int8.variant import Int8
from signs_export.report.curves import BOTTOM, LEFT, RIGHT, TOP, learning_curves
from signs_export.report.document import describe, dump_report
from signs_export.report.page import model_card, report_page
from signs_export.source.reference import Reference
from signs_export.variants import Made
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.manifest import Budget, FileRecord, Provenance, Speed
from signs_runtime.bundle.strict_json import parse_json

HOSTILE = "</td><script>alert(1)</script>|`*_[x](http://evil.example)$&amp;"
CONFIG = ExportConfig(command="signs export 'a <b>.keras' pictures", golden_pictures=8, speed_rounds=1)
EPOCH = {"loss": 1.5, "accuracy": 0.5, "seconds": 1.0, "validation_loss": None, "validation_accuracy": None}
TRAINING: dict[str, Any] = {
    "config": {"batch_size": 32, "learning_rate": 0.001, "seed": 1, "patience": None, "augmentation": {"shift": 0.12}},
    "history": [{**EPOCH, "number": number} for number in range(1, 9)],
    "kept_epoch": 8,
    "stopped_early": False,
    "test": {
        "loss": 0.25,
        "correct": 22,
        "total": 24,
        "accuracy": 22 / 24,
        "interval_95": [0.74, 0.98],
        "per_class": {},
        "confusion": [[0]],
        "wrong": [],
        "shift_suite": {
            "mean_accuracy": 0.875,
            "shifts": {
                "dim light": {"correct": 21, "total": 24, "accuracy": 0.875, "interval_95": [0.69, 0.96]},
            },
        },
    },
}


class Page(HTMLParser):
    """A page's text, its tags and all that it would load or link to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def table_rows(card: str) -> Iterator[list[str]]:
    """The cells of a card's tables, with what is escaped as it was."""
    for line in card.splitlines():
        if line.startswith("|") and not line.startswith("|-"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            yield [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory, converted: onnx.ModelProto, reference: Reference, dataset: Dataset
) -> Path:
    folder = tmp_path_factory.mktemp("report") / "bundle"
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(converted, reference, dataset, folder, config, training=TRAINING)
    return folder


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = parse_json((bundle / "report.json").read_bytes(), "report.json")  # refuses NaN
    return parsed


def many_labels(
    converted: onnx.ModelProto, reference: Reference, evidence: Evidence, count: int, *, side: int = 300
) -> tuple[dict[str, Any], Evidence]:
    """The report on a classifier of `count` oddly named labels that flips 200 of 400 large, noisy pictures."""
    rng = np.random.default_rng(0)
    labels = tuple(f"{HOSTILE} {i}" for i in range(count))
    truth = np.arange(400) % count
    split = Split(np.zeros((count, 4, 4, 3), np.uint8), np.arange(count))
    expected = rng.dirichlet(np.full(count, 0.05), 400).astype(np.float32)
    files = tuple(Path(f"/home/somebody/pictures/{HOSTILE.replace('/', ':')}{i}.png") for i in range(400))
    images = rng.integers(0, 256, (400, side, side, 3), np.uint8)
    made_up = replace(
        evidence,
        labels=labels,
        files=files,
        images=images,
        truth=truth,
        is_test=np.arange(400) < 300,
        expected=expected,
    )
    given = expected.copy()
    given[::2] = np.roll(expected[::2], 1, axis=1)
    layers = {f"{HOSTILE} {i}": 0.1 / (i + 1) for i in range(300)}
    int8 = Int8(converted, converted, layers, [Saturation(layer, 40_000, 39_000) for layer in layers])
    made = [
        Made(
            name,
            FileRecord(f"{name}.onnx", "0" * 64, 10**6),
            report_at_once(name, made_up, given, "float32", Budget(0.99, 1e-5, None)),
            Speed(1.0, 2, size_only=True),
            10**8,
            int8 if name == "int8" else None,
        )
        for name in ("fp32", "int8", "fp16")
    ]
    dataset = Dataset(HOSTILE, labels, split, None, split)
    provenance = Provenance(HOSTILE, "0" * 64, dataset.counts, "0" * 64, "none", None, {"keras": "3"})
    document = describe(
        "bundle",
        converted,
        reference,
        dataset,
        made_up,
        made,
        provenance,
        command=CONFIG.command,
        golden_pictures=0,
        training=None,
        warnings=[HOSTILE],
    )
    return document, made_up


def test_the_page_loads_nothing_and_links_only_within_itself(bundle: Path) -> None:
    html = (bundle / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.sources
    assert all(source.startswith(("#", "data:image/jpeg;base64,")) for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"url\(|@import|https?:", html)
    targets = {source[1:] for source in page.sources if source.startswith("#")}
    assert targets <= set(re.findall(r'id="([^"]+)"', html))
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_the_page_says_the_numbers_of_the_document(bundle: Path, document: dict[str, Any]) -> None:
    text = Page((bundle / "report.html").read_text(encoding="utf-8")).text
    assert "Every variant answers as Keras does, within its budget." in text
    assert f"{document['model']['parameters']:,} parameters" in text
    assert document["data"]["sha256"] in text
    assert "96 train, 24 test pictures" in text
    for variant in document["variants"]:
        assert f"{variant['test']['correct']} of {variant['test']['total']}" in text
        assert all(f"{variant['proof'][key]:.1e}" in text for key in ("mean_difference", "max_difference"))
        assert variant["file"]["sha256"] in text
        assert all(check["says"] in text for check in variant["proof"]["checks"])
    for low, high in [document["keras"]["test"]["interval_95"]]:
        assert f"95%: {low:.1%} to {high:.1%}" in text
    assert "8 epochs" in text
    assert "87.5% right on average" in text
    assert "signs verify bundle" in text
    assert "signs parity MODEL.keras bundle --data PICTURES" in text
    assert CONFIG.command in text


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


def test_the_cards_numbers_are_the_manifests(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    rows = {row[0]: row for row in table_rows(card) if row[0] in ("fp32", "fp16") and len(row) == 8}
    tests = {row[0]: row for row in table_rows(card) if len(row) == 4}
    for variant in manifest.variants:
        row, (low, high) = rows[variant.name], variant.test_accuracy.interval
        assert row[1:3] == [variant.file.path, f"{variant.file.bytes / 1e6:.1f} MB"]
        assert row[3] == f"{manifest.run.peak_memory[variant.name] / 1e6:.1f} MB"
        assert row[5] == f"{variant.parity.same_label} of {variant.parity.pictures}"
        assert row[6:] == [f"{variant.parity.max_difference:.1e}", f"{variant.parity.mean_difference:.1e}"]
        assert tests[variant.name][1] == f"{variant.test_accuracy.correct} of {variant.test_accuracy.total}"
        assert tests[variant.name][3] == f"{low:.1%} to {high:.1%}"
    assert manifest.provenance.model_sha256 in card
    assert 'Classifier("bundle")' in card
    assert "Licence: not stated" in card


def test_a_failed_gate_is_said_and_what_was_missed(
    converted: onnx.ModelProto, reference: Reference, evidence: Evidence, tmp_path: Path
) -> None:
    document, made_up = many_labels(converted, reference, evidence, 6, side=32)
    page = Page(report_page(document, made_up.images, {each["name"]: () for each in document["variants"]}))
    assert document["failed"] == ["fp32", "int8", "fp16"]
    assert "fp32, int8, fp16 do not answer as Keras does: nothing was sealed." in page.text
    assert "Every variant answers" not in page.text
    missed = [check["name"] for check in document["variants"][0]["proof"]["checks"] if not check["passed"]]
    assert missed[:2] == ["agreement", "max difference"]
    assert "MODEL_CARD.md" not in page.text
    assert "signs verify" not in page.text


@pytest.mark.parametrize("count", [6, 200, 1000])
def test_hostile_names_stay_text_and_the_page_stays_small(
    converted: onnx.ModelProto, reference: Reference, evidence: Evidence, count: int
) -> None:
    document, made_up = many_labels(converted, reference, evidence, count)
    html = report_page(document, made_up.images, {each["name"]: () for each in document["variants"]})
    assert len(html.encode()) < 2e6
    page = Page(html)
    assert "script" not in page.tags
    assert HOSTILE in page.text  # as text, letter for letter
    assert html.count("<img ") <= 3 * 24 + 12
    json.loads(dump_report(document), parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    card = model_card(document)
    assert "<script" not in card.replace(r"\<", "")
    assert len({len(row) for row in table_rows(card)} - {4, 8}) == 0  # a pipe in a label is no new cell
    assert any(row[0].startswith(HOSTILE) for row in table_rows(card))


def test_learning_curves_lie_between_their_axes_and_show_validation_where_there_was_one() -> None:
    measured = {"loss": 2.3, "accuracy": 0.4, "validation_loss": 3.1, "validation_accuracy": 0.9}
    for history in ([measured], [measured, {**measured, "loss": 0.0}], [{**measured, "validation_loss": None}] * 50):
        numbered = [{**epoch, "number": number} for number, epoch in enumerate(history, 1)]
        loss, accuracy = learning_curves(numbered, 1)
        assert set(loss.lines) == ({"training"} if len(history) == 50 else {"training", "validation"})
        for curve in (loss, accuracy):
            assert curve.kept == LEFT
            assert len(curve.values) >= 3
            for points in curve.lines.values():
                assert len(points) == len(history)
                assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in points)
