"""A page and a card that say what the document says, whatever the labels are called."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import onnx
import pytest

from signs_builder.data.dataset import Dataset, Split
from signs_export.convert.convert import convert
from signs_export.export import seal_model
from signs_export.gate.evidence import Evidence
from signs_export.job import Job
from signs_export.report.document import dump_report
from signs_export.report.page import model_card, report_page
from signs_export.source.reference import Reference, examine
from signs_runtime.bundle.folder import open_bundle

from ..networks import hands
from .made_up import CONFIG, HOSTILE, many_labels


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
    assert "signs parity MODEL.keras bundle PICTURES" in text
    assert CONFIG.command in text


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
    page = Page(report_page(document, made_up.images, {each.name: () for each in document.variants}))
    assert document.failed == ("fp32", "int8", "fp16")
    assert "fp32, int8, fp16 do not answer as Keras does: nothing was sealed." in page.text
    assert "Every variant answers" not in page.text
    missed = [check.name for check in document.variants[0].proof.checks if not check.passed]
    assert missed[:2] == ["agreement", "max difference"]
    assert "MODEL_CARD.md" not in page.text
    assert "signs verify" not in page.text


@pytest.mark.parametrize("count", [6, 200, 1000])
def test_hostile_names_stay_text_and_the_page_stays_small(
    converted: onnx.ModelProto, reference: Reference, evidence: Evidence, count: int
) -> None:
    document, made_up = many_labels(converted, reference, evidence, count)
    html = report_page(document, made_up.images, {each.name: () for each in document.variants})
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


def test_a_page_shows_odd_names_as_text(straight: keras.Model, tmp_path: Path) -> None:
    pictures = hands(96, 24)
    labels = ("<b>0", "1", "2", "3", "4", '"&')
    files = Split(pictures.test.pictures, pictures.test.labels).files(tmp_path / "files", list("012345"))
    names = [f"<i>{i}".encode() + b"\xff.png" for i in range(len(files))]
    odd = [file.rename(file.with_name(os.fsdecode(name))) for file, name in zip(files, names, strict=True)]
    split = Split(odd, pictures.test.labels)
    dataset = Dataset("<u>hands", labels, split, None, split)
    reference = examine(straight)
    config = replace(CONFIG, variants=("fp32", "fp16"))
    seal_model(convert(reference, labels, config), Job(reference, dataset, config), tmp_path / "bundle")
    page = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert not any(tag in page for tag in ("<b>0", "<i>", "<u>"))
    assert "&lt;i&gt;" in page
