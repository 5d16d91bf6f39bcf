"""The device's own proof finds what digests cannot: files that were altered and sealed again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colours import LABELS, SIZE
from tiny_onnx import colour_classifier

from signs_runtime import BundleTamperedError, verify


def test_a_whole_bundle_passes(bundle: Path) -> None:
    (result,) = verify(bundle)
    assert result.passed
    assert (result.variant, result.pictures, result.same_label) == ("fp32", 3, 3)
    assert result.max_difference <= 1e-6


def test_another_model_fails_though_every_digest_fits(bundle: Path, reseal: Callable[..., None]) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(bundle)
    (result,) = verify(bundle)
    assert not result.passed
    assert result.max_difference > result.tolerance


def test_other_golden_answers_fail_though_every_digest_fits(bundle: Path, reseal: Callable[..., None]) -> None:
    with np.load(bundle / "golden.npz") as golden:
        images, probabilities = golden["images"], golden["probabilities"]
    np.savez(bundle / "golden.npz", images=images, probabilities=np.roll(probabilities, 1, axis=1))
    reseal(bundle)
    (result,) = verify(bundle)
    assert not result.passed
    assert result.same_label == 0


def test_an_answer_that_is_not_a_number_fails(bundle: Path, reseal: Callable[..., None]) -> None:
    (bundle / "fp32.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=float("nan")))
    reseal(bundle)
    (result,) = verify(bundle)
    assert not result.passed


def test_every_file_is_checked_not_only_the_one_that_runs(bundle: Path) -> None:
    path = bundle / "golden.npz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleTamperedError, match=r"golden\.npz"):
        verify(bundle)
