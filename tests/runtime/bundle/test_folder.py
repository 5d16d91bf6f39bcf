"""A bundle is opened whole or not at all."""

import hashlib
import io
import json
import os
import shutil
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signs_runtime import BundleFormatError, BundleNotFoundError, BundleTamperedError, Classifier, InputSpec, verify
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.golden import dump_golden
from signs_runtime.bundle.manifest import OLDEST_SCHEMA, SCHEMA, FileRecord, dump_manifest, parse_manifest, seals_of
from signs_runtime.bundle.strict_json import MAX_JSON_BYTES

from ..colours import LABELS, SIZE, plain, record
from ..picture_files import picture_files
from ..tiny_onnx import colour_classifier


def rewrite(bundle: Path, change: Callable[[Any], None]) -> None:
    """Change the manifest's JSON and seal it again, so that only the content can be refused."""
    raw = json.loads((bundle / "manifest.json").read_text())
    del raw["seal"], raw["run_seal"]
    change(raw)
    (bundle / "manifest.json").write_text(json.dumps({**raw, **seals_of(raw)}))


def test_a_manifest_is_read_as_it_was_written(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    assert dump_manifest(parse_manifest(text.encode())) == text


def test_no_bundle_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="run build-and-export first"):
        Classifier(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no manifest\.json"):
        Classifier(tmp_path)


@pytest.mark.parametrize("name", ["fp32.onnx", "golden.npz"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleNotFoundError, match=name):
        Classifier(bundle)


def test_a_flipped_bit_in_the_model_is_refused(bundle: Path, cache: Path) -> None:
    path = bundle / "fp32.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleTamperedError, match=r"fp32\.onnx"):
        Classifier(bundle)


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused(bundle: Path) -> None:
    path = bundle / "manifest.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        for bit in (1, 32):
            changed = bytearray(whole)
            changed[position] ^= bit
            if changed[position : position + 1].isspace() and whole[position : position + 1].isspace():
                continue  # white space between tokens carries nothing
            path.write_bytes(changed)
            with pytest.raises((BundleFormatError, BundleTamperedError)):
                open_bundle(bundle)


def test_a_file_of_another_size_is_refused_before_it_is_read(bundle: Path) -> None:
    with (bundle / "golden.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleTamperedError, match=r"golden\.npz has"):
        Classifier(bundle)


def test_the_same_weights_exported_again_have_the_same_digest_and_damage_is_found_all_the_same(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    again = replace(manifest, run=replace(manifest.run, created="2030-01-01T00:00:00+00:00", command="another"))
    assert again.digest == manifest.digest != replace(manifest, labels=("red", "green", "other")).digest
    text = dump_manifest(manifest)
    assert f'"seal": "{manifest.digest}"' in text
    (bundle / "manifest.json").write_text(text.replace("pytest", "pyfest"))
    with pytest.raises(BundleTamperedError, match="changed after it was sealed"):
        open_bundle(bundle)


def test_an_unknown_schema_is_refused_by_its_number(bundle: Path) -> None:
    rewrite(bundle, lambda raw: raw.update(schema=1))
    with pytest.raises(BundleFormatError, match=f"schema 1, but this runtime reads {OLDEST_SCHEMA} to {SCHEMA}"):
        Classifier(bundle)


@pytest.mark.parametrize("path", ["../outside.onnx", "/etc/passwd", "sub/fp32.onnx", "..", "", "a\\b", ".hidden"])
def test_a_path_that_leaves_the_folder_is_refused(bundle: Path, path: str) -> None:
    shutil.copy(bundle / "fp32.onnx", bundle.parent / "outside.onnx")
    rewrite(bundle, lambda raw: raw["variants"][0]["file"].update(path=path))
    with pytest.raises(BundleFormatError, match="plain file name"):
        Classifier(bundle)


def test_files_may_be_links_as_caches_and_mounted_volumes_lay_them_out(bundle: Path) -> None:
    blobs = bundle.parent / "blobs"
    blobs.mkdir()
    for file in list(bundle.iterdir()):
        shutil.move(file, blobs / file.name)
        file.symlink_to(Path("..", "blobs", file.name))
    assert Classifier(bundle).labels == LABELS
    assert verify(bundle).passed
    (blobs / "fp32.onnx").write_bytes((blobs / "fp32.onnx").read_bytes()[::-1])
    with pytest.raises(BundleTamperedError, match="not the file that was sealed"):
        Classifier(bundle, cache=False)
    (blobs / "fp32.onnx").unlink()
    with pytest.raises(BundleNotFoundError, match=r"is a link to .*cp -rL"):
        Classifier(bundle)


def add_document(bundle: Path, content: bytes, reseal: Callable[..., None]) -> Path:
    """Seal a document with the bundle, as an export does."""
    document = bundle / "MODEL_CARD.md"
    document.write_bytes(content)
    run = open_bundle(bundle).manifest.run
    reseal(bundle, run=replace(run, documents=(record(bundle, document.name),)))
    return document


def test_documents_that_git_gave_other_line_endings_stop_no_prediction_and_are_named_by_the_proof(
    bundle: Path, reseal: Callable[..., None]
) -> None:
    document = add_document(bundle, b"# A card\n\nof two lines\n", reseal)
    document.write_bytes(document.read_bytes().replace(b"\n", b"\r\n"))
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"\n", b"\r\n"))
    assert Classifier(bundle).labels == LABELS
    with pytest.raises(BundleTamperedError, match=r"other line endings.*core\.autocrlf"):
        verify(bundle)
    document.unlink()
    assert Classifier(bundle).labels == LABELS
    with pytest.raises(BundleNotFoundError, match="is missing"):
        verify(bundle)


@pytest.mark.parametrize("lone", [False, True])
def test_what_was_opened_is_what_runs_though_the_bundle_be_replaced(
    bundle: Path, reseal: Callable[..., None], lone: bool
) -> None:
    running = Classifier(bundle / "fp32.onnx" if lone else bundle, cache=False, threads=2)
    other = bundle.with_name("other")
    shutil.copytree(bundle, other)
    (other / "fp32.onnx").write_bytes(colour_classifier(tuple(reversed(LABELS)), SIZE))
    reseal(other, labels=tuple(reversed(LABELS)))
    bundle.rename(bundle.with_name("old"))
    other.rename(bundle)
    outcomes = running.stream([plain(label) for label in LABELS] * 10)
    assert [outcome.prediction.label for outcome in outcomes] == list(LABELS) * 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.pop("labels"), "must hold"),
        (lambda raw: raw.update(surprise=1), "must hold"),
        (lambda raw: raw.update(labels=["one"]), "two or more different labels"),
        (lambda raw: raw.update(labels=["a", "a", "b"]), "two or more different labels"),
        (lambda raw: raw.update(labels="abc"), "labels must be"),
        (lambda raw: raw.update(variants=[]), "no variant"),
        (lambda raw: raw["input"].update(height=10**6), "each side has 1 to"),
        (lambda raw: raw["input"].update(height=-8), "height must be int"),
        (lambda raw: raw["input"].update(height=True), "height must be int"),
        (lambda raw: raw["input"].update(colour="GBR"), "colour must be"),
        (lambda raw: raw["input"].update(colour="BGR"), "is of schema 5, but the manifest claims schema 4"),
        (lambda raw: raw["input"].update(resize="box"), "is of schema 5, but the manifest claims schema 4"),
        (lambda raw: raw["input"].update(fit="crop"), "is of schema 5, but the manifest claims schema 4"),
        (lambda raw: raw["input"].update(exif="ignored"), "is of schema 5, but the manifest claims schema 4"),
        (lambda raw: raw.update(schema=5), "is of schema 4, but the manifest claims schema 5"),
        (lambda raw: raw["variants"][0].update(tolerance="wide"), "tolerance must be float"),
        (lambda raw: raw["variants"][0].update(budget={"agreement": None}), "budget must hold"),
        (lambda raw: raw["golden"]["file"].update(sha256="xyz"), "not a SHA-256"),
        (lambda raw: raw["golden"].update(pictures=0), "no golden pictures"),
        (lambda raw: raw.update(labels=["a", "b", "\x1b[31mc"]), "must be str"),
        (lambda raw: raw["run"].update(command="\ud800"), "must be str"),
        (lambda raw: raw["run"].update(command="x" * 100_000), "holds 100,000 items or characters"),
        (lambda raw: raw["provenance"].update(versions={"\x1b[31m": "1"}), "a key of manifest.json: provenance"),
        (lambda raw: raw["variants"][0]["file"].update(bytes=2**31), "claims 2,147,483,648 bytes; at most"),
        (lambda raw: raw["golden"]["file"].update(bytes=2**28), "claims 268,435,456 bytes; at most"),
        (lambda raw: raw["golden"].update(pictures=10**6), "golden pictures exceed the limit of"),
        (lambda raw: raw["run"].update(documents=[raw["golden"]["file"]]), "a file or a variant twice"),
        (lambda raw: raw.update(variants=raw["variants"] * 2), "a file or a variant twice"),
        (lambda raw: raw.update(variants=raw["variants"] * 65), "more than 64 variants"),
        (lambda raw: raw.update(labels=[str(i) for i in range(100_001)]), "labels holds 100,001 items"),
        (lambda raw: raw.update({"y" * 10**5: 1}), "must hold"),
        (lambda raw: raw.update(input="z" * 10**5), "must hold"),
        (lambda raw: raw["variants"][0]["file"].update(path="a" * 201), "plain file name"),
    ],
)
def test_a_manifest_that_this_project_would_not_write_is_refused(
    bundle: Path, change: Callable[[Any], None], words: str
) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleFormatError, match=words) as caught:
        open_bundle(bundle)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b'{"schema": 3, "schema": 3}',
        b'{"schema": NaN}',
        b'{"schema": 4, "x": 1e999}',
        b"[" * 100_000,
        b'{"schema": ' + b"9" * 10_000 + b"}",
        b'{"schema": ' + b"9" * 5_000_000 + b"}",
        b'{"schema": %d, "x": ' % SCHEMA + b"[" * 900 + b"]" * 900 + b"}",
        b'{"schema": "' + b"x" * 5_000_000 + b'"}',
        b'{"' + b"x" * 5_000_000 + b'": 1, "' + b"x" * 5_000_000 + b'": 1}',
        b'{"schema": %d, "labels": [' % SCHEMA + b"{}," * 2_700_000 + b"{}]}",
        b" " * (MAX_JSON_BYTES + 1),
    ],
    ids=[
        *("empty", "list", "bare", "bytes", "twice", "nan", "infinite", "deep", "huge", "quadratic", "nested", "long"),
        *("long and twice", "many", "large"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused_in_time_and_in_few_words(bundle: Path, text: bytes) -> None:
    (bundle / "manifest.json").write_bytes(text)
    start = time.process_time()
    with pytest.raises((BundleFormatError, BundleTamperedError)) as caught:
        open_bundle(bundle)
    assert time.process_time() - start < 5
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["manifest.json", "fp32.onnx", "golden.npz"])
def test_what_is_no_regular_file_is_refused_without_waiting(bundle: Path, name: str) -> None:
    path = bundle / name
    whole = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleFormatError, match="not a regular file"):
        Classifier(bundle)
    path.unlink()
    path.mkdir()
    with pytest.raises(BundleNotFoundError, match="cannot be read"):
        Classifier(bundle)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(BundleFormatError, match="not a regular file"):
        Classifier(bundle)
    path.unlink()
    path.write_bytes(whole)
    open_bundle(bundle)


def test_a_name_that_no_system_takes_is_no_bundle(tmp_path: Path) -> None:
    for name in ("x" * 5000, "x\0y"):
        with pytest.raises(BundleNotFoundError, match="No bundle"):
            open_bundle(tmp_path / name)


def test_a_digest_is_checked_without_the_file_in_memory(bundle: Path) -> None:
    path = bundle / "large.html"
    with path.open("wb") as file:
        file.truncate(64 * 2**20)  # zeros that take no room on the disk
    digest = hashlib.sha256(bytes(64 * 2**20)).hexdigest()
    opened = open_bundle(bundle)
    tracemalloc.start()
    opened.check(FileRecord("large.html", digest, 64 * 2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20
    with pytest.raises(BundleTamperedError, match="not the file that was sealed"):
        opened.check(FileRecord("large.html", "0" * 64, 64 * 2**20))
    with pytest.raises(BundleTamperedError, match="67,108,864 bytes, but was sealed with 9"):
        opened.check(FileRecord("large.html", digest, 9))
    with pytest.raises(BundleNotFoundError, match="missing"):
        opened.check(FileRecord("none.html", digest, 9))


def test_a_file_that_grew_since_the_bundle_was_opened_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    with (bundle / "golden.npz").open("ab") as file:
        file.write(bytes(10**6))
    for look in (opened.read, opened.check):
        with pytest.raises(BundleTamperedError):
            look(opened.manifest.golden.file)


def test_golden_pictures_are_read_as_they_were_written(bundle: Path) -> None:
    golden = open_bundle(bundle).golden()
    assert dump_golden(golden) == (bundle / "golden.npz").read_bytes()
    assert golden.labels == LABELS
    assert golden.files == picture_files()
    assert golden.file_images.shape == (3, 8, 6, 3)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        ({"images": np.zeros((3, 9, 9, 3), np.uint8)}, "golden images must be uint8"),
        ({"probabilities": np.zeros((3, 3))}, "golden probabilities must be float32"),
        ({"labels": np.array(["red", "green"])}, "golden labels must be"),
        ({"labels": np.array([1, 2, 3])}, "golden labels must be"),
        ({"labels": np.array(["red", "green", "\x1b[31m"])}, "without control characters"),
        ({"labels": np.array(["red", "red", "green"])}, "different labels"),
        ({"file_images": np.zeros((2, 8, 6, 3), np.uint8)}, "golden file_images must be"),
        ({"file_sizes": np.array([10, 10, 10])}, "do not add up"),
        ({"file_sizes": np.array([2**62, 2**62, -(2**63)])}, "do not add up"),
        (
            {
                "files": np.zeros(0, np.uint8),
                "file_sizes": np.zeros(0, np.int64),
                "file_images": np.zeros((0, 8, 6, 3), np.uint8),
            },
            "do not add up",
        ),
        ({"images": np.array([print], dtype=object)}, "not a file of golden pictures"),  # a pickle, which is not run
    ],
)
def test_golden_arrays_of_another_kind_are_refused(
    bundle: Path, reseal: Callable[..., None], array: dict[str, np.ndarray], words: str
) -> None:
    with np.load(bundle / "golden.npz") as golden:
        arrays = dict(golden)
    np.savez(bundle / "golden.npz", **{**arrays, **array})
    reseal(bundle)
    with pytest.raises(BundleFormatError, match=words):
        open_bundle(bundle).golden()


def zipped(content: bytes, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive whose members are all this."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name in ("images", "probabilities", "labels", "files", "file_sizes", "file_images"):
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + content


@pytest.mark.parametrize(
    "content",
    [
        b"not an archive",
        zipped(npy((10**12,))),
        zipped(npy((10**7,), bytes(10**7))),
        zipped(npy((1,), b"a"), zipfile.ZIP_STORED)[:-12]
        + b"\xff\xff"
        + zipped(npy((1,), b"a"), zipfile.ZIP_STORED)[-10:],
        zipped(b"\x93NUMPY\1\0\x10\0{'descr': " + b"-" * 9000 + b"1", zipfile.ZIP_STORED),
        zipped(b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((("),
        zipped(b"no array"),
        npy((3,), b"abc"),
    ],
    ids=[
        *("not an archive", "claims a terabyte", "unpacks to much", "many members", "a deep expression"),
        *("broken header", "no array", "no archive"),
    ],
)
def test_a_hostile_golden_file_is_refused(bundle: Path, reseal: Callable[..., None], content: bytes) -> None:
    (bundle / "golden.npz").write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleFormatError, match="not a file of golden pictures"):
        open_bundle(bundle).golden()


def test_a_golden_label_that_is_no_character_is_refused(bundle: Path, reseal: Callable[..., None]) -> None:
    content = (bundle / "golden.npz").read_bytes()
    (bundle / "golden.npz").write_bytes(broken := content.replace("r".encode("utf-32-le"), b"\xff\xff\x11\0", 1))
    assert broken != content
    path = bundle / "golden.npz"
    with zipfile.ZipFile(path) as archive:
        members = {}
        for info in archive.infolist():
            info.CRC = None  # type: ignore[assignment]  # it does not fit any more
            members[info.filename] = archive.open(info).read()
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    reseal(bundle)
    with pytest.raises(BundleFormatError, match="an invalid character"):
        open_bundle(bundle).golden()


def test_labels_that_the_model_does_not_know_are_refused_though_every_digest_fits(
    bundle: Path, reseal: Callable[..., None]
) -> None:
    reseal(bundle, labels=("green", "red", "blue"))
    with pytest.raises(BundleTamperedError, match="disagree on the labels"):
        Classifier(bundle)


def test_an_input_that_the_model_does_not_know_is_refused(bundle: Path, reseal: Callable[..., None]) -> None:
    spec = open_bundle(bundle).manifest.input
    reseal(bundle, input=replace(spec, resize="nearest"))
    with pytest.raises(BundleTamperedError, match="or the input"):
        Classifier(bundle)
    assert spec == InputSpec(8, 6)
