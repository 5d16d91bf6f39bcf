"""The device's own proof finds what digests cannot: what was altered and sealed again, and a device that errs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from signs_runtime import (
    BundleTamperedError,
    Classifier,
    OptionError,
    Verification,
    VerificationError,
    verify,
)
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.bundle.golden import GoldenPictures, dump_golden
from signs_runtime.commands.signs import signs

from .colours import LABELS, SIZE
from .picture_files import picture_files
from .tiny_onnx import colour_classifier

BLUNT = colour_classifier(LABELS, SIZE, sharpness=0.01)


def failed(verification: Verification) -> dict[str, str]:
    """The checks that did not pass, with their words."""
    return {check.name: check.says for check in verification.checks if not check.passed}


def alter_golden(bundle: Path, change: Callable[[GoldenPictures], GoldenPictures]) -> None:
    (bundle / "golden.npz").write_bytes(dump_golden(change(open_bundle(bundle).golden())))


def permute_answers(golden: GoldenPictures) -> GoldenPictures:
    return replace(golden, probabilities=np.roll(golden.probabilities, 1, axis=1))


def test_a_whole_bundle_passes_and_every_check_says_so(three_variants: Path) -> None:
    verification = verify(three_variants)
    assert verification.passed
    assert [check.name for check in verification.checks] == ["digests", "labels", "pictures", "answers"]
    assert [(each.variant, each.same_label, each.pictures) for each in verification.variants] == [
        (name, 3, 3) for name in ("fp32", "int8", "fp16")
    ]
    assert verification.variants[0].max_difference <= 1e-6
    (alone,) = verify(three_variants, variant="int8").variants
    assert alone.variant == "int8"


def test_another_model_fails_though_every_digest_fits(bundle: Path, reseal: Callable[..., None]) -> None:
    (bundle / "fp32.onnx").write_bytes(BLUNT)
    reseal(bundle)
    words = failed(verify(bundle))
    assert words.keys() == {"answers"}
    assert "the model does not give the golden answers" in words["answers"]
    assert "golden picture 1: Keras red (1.0000), this device red (0.8" in words["answers"]
    assert "tolerance 1.0e-05" in words["answers"]


def test_one_altered_variant_of_several_is_named(three_variants: Path, reseal: Callable[..., None]) -> None:
    (three_variants / "int8.onnx").write_bytes(BLUNT)
    reseal(three_variants)
    verification = verify(three_variants)
    assert [each.passed for each in verification.variants] == [True, False, True]
    assert "this device: fp32, fp16 answered as Keras did" in failed(verification)["answers"]


def test_altered_golden_answers_are_told_by_variants_that_agree(
    three_variants: Path, reseal: Callable[..., None]
) -> None:
    alter_golden(three_variants, permute_answers)
    reseal(three_variants)
    verification = verify(three_variants)
    assert [each.same_label for each in verification.variants] == [0, 0, 0]
    assert "all variants agree with each other, but differ from the golden answers" in failed(verification)["answers"]


def test_variants_that_all_fail_each_in_its_own_way_blame_the_device_or_the_files(
    three_variants: Path, reseal: Callable[..., None]
) -> None:
    for i, name in enumerate(("fp32", "int8", "fp16")):
        (three_variants / f"{name}.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01 + 0.005 * i))
    reseal(three_variants)
    assert "differ from each other" in failed(verify(three_variants))["answers"]


def test_a_golden_answer_altered_by_little_fails_without_a_flip(bundle: Path, reseal: Callable[..., None]) -> None:
    alter_golden(bundle, lambda golden: replace(golden, probabilities=golden.probabilities + np.float32(1e-4)))
    reseal(bundle)
    verification = verify(bundle)
    assert verification.variants[0].same_label == 3
    assert failed(verification).keys() == {"answers"}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("green", "red", "blue"), "permuted after the proof: output 0 was 'red' and is now 'green', output 1 was"),
        (("red", "green", "violet"), "renamed after the proof: output 2 was 'blue' and is now 'violet'"),
    ],
)
def test_labels_altered_in_the_manifest_and_in_the_model_fail(
    bundle: Path, reseal: Callable[..., None], labels: tuple[str, ...], words: str
) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(labels, SIZE))
    reseal(bundle, labels=labels)
    assert words in failed(verify(bundle))["labels"]


def test_labels_altered_in_the_manifest_alone_or_in_the_model_alone_fail(
    bundle: Path, reseal: Callable[..., None]
) -> None:
    altered = ("green", "red", "blue")
    reseal(bundle, labels=altered)
    words = failed(verify(bundle))
    assert "permuted" in words["labels"]
    assert "disagree on the labels" in words["answers"]
    (bundle / "fp32.onnx").write_bytes(colour_classifier(altered, SIZE))
    reseal(bundle, labels=LABELS)
    words = failed(verify(bundle))
    assert words.keys() == {"answers"}
    assert "disagree on the labels" in words["answers"]


@pytest.mark.parametrize("content", [b"no model", colour_classifier(LABELS, SIZE, sharpness=float("nan"))])
def test_a_model_that_gives_no_answers_fails(bundle: Path, reseal: Callable[..., None], content: bytes) -> None:
    (bundle / "fp32.onnx").write_bytes(content)
    reseal(bundle)
    verification = verify(bundle)
    assert verification.variants[0].same_label == 0
    assert failed(verification).keys() == {"answers"}


def read_nearest(image: Image.Image, size: tuple[int, int], *_: object) -> Image.Image:
    return image.transform(size, Image.Transform.AFFINE, (image.width / size[0], 0, 0, 0, image.height / size[1], 0))


@pytest.mark.parametrize(
    ("owner", "name", "other", "words"),
    [
        (Image.Image, "transpose", lambda image, _: image, "file 1 of 3 (JPEG, 36x24, RGB)"),
        (Image.Image, "resize", read_nearest, "file 1 of 3 (JPEG, 36x24, RGB)"),
        (Image, "alpha_composite", lambda _, image: image, "file 3 of 3 (PNG, 36x24, RGBA)"),
    ],
    ids=["no turn", "another filter", "no white behind"],
)
def test_a_pillow_that_reads_pictures_otherwise_fails(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, other: object, words: str
) -> None:
    monkeypatch.setattr(owner, name, other)
    said = failed(verify(bundle))
    assert said.keys() == {"pictures"}
    assert words in said["pictures"]
    assert "this device reads pictures differently from training" in said["pictures"]


def test_a_picture_file_that_cannot_be_read_here_fails(bundle: Path, reseal: Callable[..., None]) -> None:
    alter_golden(bundle, lambda golden: replace(golden, files=(picture_files()[0], b"unknown", picture_files()[2])))
    reseal(bundle)
    assert "cannot read golden picture file 2" in failed(verify(bundle))["pictures"]


def test_pixels_that_differ_by_rounding_pass(bundle: Path, reseal: Callable[..., None]) -> None:
    alter_golden(bundle, lambda golden: replace(golden, file_images=np.maximum(golden.file_images, 1) - 1))
    reseal(bundle)
    assert verify(bundle).passed


def test_every_file_is_checked_not_only_the_one_that_runs(bundle: Path) -> None:
    path = bundle / "golden.npz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleTamperedError, match=r"golden\.npz"):
        verify(bundle)


def test_the_command_ends_with_3_and_the_words_whatever_was_altered(bundle: Path, reseal: Callable[..., None]) -> None:
    alter_golden(bundle, permute_answers)
    (bundle / "fp32.onnx").write_bytes(colour_classifier(("a", "b", "c"), SIZE))
    reseal(bundle, labels=("a", "b", "c"))
    result = CliRunner().invoke(signs, ["verify", str(bundle)])
    assert result.exit_code == 3
    assert "Copy the bundle again from its source" in result.stderr
    assert "renamed after the proof" in result.stderr
    assert "does not give the golden answers" in result.stderr


def test_the_first_start_on_a_device_proves_a_bundle_and_the_second_remembers(
    three_variants: Path, reseal: Callable[..., None], cache: Path
) -> None:
    proofs = cache / "proofs"
    Classifier(three_variants)
    assert not proofs.exists()
    Classifier(three_variants, verify=True)
    (proof,) = proofs.iterdir()
    written = proof.stat().st_mtime_ns
    Classifier(three_variants, verify=True)
    assert [each.stat().st_mtime_ns for each in proofs.iterdir()] == [written]
    Classifier(three_variants, variant="int8", verify=True)
    assert len(list(proofs.iterdir())) == 2
    alter_golden(three_variants, permute_answers)
    reseal(three_variants)
    with pytest.raises(VerificationError, match="does not give the golden answers") as caught:
        Classifier(three_variants, verify=True)
    assert caught.value.exit_code == 3
    assert not caught.value.verification.passed
    assert len(list(proofs.iterdir())) == 2  # a failure is not remembered


def test_a_proof_does_not_depend_on_where_the_bundle_lies_and_when_it_was_made(
    bundle: Path, reseal: Callable[..., None], cache: Path
) -> None:
    Classifier(bundle, verify=True)
    copy = shutil.copytree(bundle, bundle.with_name("copy"))
    reseal(copy, run=replace(open_bundle(copy).manifest.run, created="2030-01-01T00:00:00+00:00"))
    Classifier(copy, verify=True)
    assert len(list((cache / "proofs").iterdir())) == 1


def test_a_damaged_memory_is_none(bundle: Path, cache: Path) -> None:
    Classifier(bundle, verify=True)
    (proof,) = (cache / "proofs").iterdir()
    text = proof.read_text()
    proof.write_bytes(b"\xff")
    Classifier(bundle, verify=True)
    assert proof.read_text() == text


def test_a_cache_that_cannot_be_written_to_is_no_error(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert Classifier(bundle, verify=True).labels == LABELS


def test_a_model_file_alone_has_nothing_to_be_verified_with(bundle: Path) -> None:
    with pytest.raises(OptionError, match="without golden pictures"):
        Classifier(bundle / "fp32.onnx", verify=True)
